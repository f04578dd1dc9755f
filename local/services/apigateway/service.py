"""What the folder of API Gateway declares to the local cloud."""

from __future__ import annotations

from local.parts import Service
from local.services.apigateway.gateway import Gateway
from local.services.apigateway.resources import KINDS

SERVICE = Service(parts={"gateway": Gateway}, kinds=KINDS)
