"""What the folder of CloudWatch Logs declares to the local cloud."""

from __future__ import annotations

from local.parts import Service
from local.services.logs.events import Logs
from local.services.logs.resources import KINDS

SERVICE = Service(parts={"logs": Logs}, kinds=KINDS)
