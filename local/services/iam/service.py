"""What the folder of IAM and STS declares to the local cloud."""

from __future__ import annotations

from local.parts import Service
from local.services.iam.resources import KINDS
from local.services.iam.rights import NEEDS

SERVICE = Service(kinds=KINDS, needs=NEEDS)
