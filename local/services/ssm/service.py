"""What the folder of Systems Manager declares to the local cloud."""

from __future__ import annotations

from local.parts import Service
from local.services.ssm.resources import KINDS
from local.services.ssm.rights import NEEDS

SERVICE = Service(kinds=KINDS, needs=NEEDS)
