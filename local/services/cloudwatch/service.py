"""What the folder of CloudWatch declares to the local cloud."""

from __future__ import annotations

from local.parts import Service
from local.services.cloudwatch.metrics import Metrics
from local.services.cloudwatch.resources import KINDS

SERVICE = Service(parts={"metrics": Metrics}, kinds=KINDS)
