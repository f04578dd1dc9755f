"""What the folder of SNS declares to the local cloud."""

from __future__ import annotations

from local.parts import Service
from local.services.sns.resources import KINDS
from local.services.sns.rights import NEEDS

SERVICE = Service(kinds=KINDS, needs=NEEDS)
