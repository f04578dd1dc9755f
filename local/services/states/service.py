"""What the folder of Step Functions declares to the local cloud."""

from __future__ import annotations

from local.parts import Service
from local.services.states.machines import StateMachines
from local.services.states.resources import KINDS
from local.services.states.rights import NEEDS

SERVICE = Service(parts={"machines": StateMachines}, kinds=KINDS, needs=NEEDS)
