"""What the local cloud has of IAM and STS; `Identity` is handed what all services declare."""

from __future__ import annotations

from local.parts import Service
from local.services.iam.resources import KINDS
from local.services.iam.rights import NEEDS

SERVICE = Service(kinds=KINDS, needs=NEEDS)
