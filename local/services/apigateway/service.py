"""What the local cloud has of API Gateway."""

from __future__ import annotations

from local.parts import Service
from local.services.apigateway.gateway import Gateway
from local.services.apigateway.resources import KINDS

SERVICE = Service(parts={"gateway": Gateway}, kinds=KINDS)
