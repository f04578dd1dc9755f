"""What the folder of KMS declares to the local cloud."""

from __future__ import annotations

from local.parts import Service
from local.services.kms.resources import KINDS
from local.services.kms.rights import NEEDS

SERVICE = Service(kinds=KINDS, needs=NEEDS)
