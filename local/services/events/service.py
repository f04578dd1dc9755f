"""What the folder of EventBridge declares to the local cloud."""

from __future__ import annotations

from local.parts import Service
from local.services.events.bus import Events
from local.services.events.resources import KINDS
from local.services.events.rights import NEEDS
from local.services.events.schedules import Schedules

SERVICE = Service(parts={"events": Events, "schedules": Schedules}, kinds=KINDS, needs=NEEDS)
