"""What the local cloud has of CloudWatch Logs."""

from __future__ import annotations

from local.parts import Service
from local.services.logs.events import Logs
from local.services.logs.resources import KINDS

SERVICE = Service(parts={"logs": Logs}, kinds=KINDS)
