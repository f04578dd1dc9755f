"""What the folder of ECR declares to the local cloud."""

from __future__ import annotations

from local.parts import Service
from local.services.ecr.resources import KINDS

SERVICE = Service(kinds=KINDS)
