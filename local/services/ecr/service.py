"""What the local cloud has of ECR."""

from __future__ import annotations

from local.parts import Service
from local.services.ecr.resources import KINDS

SERVICE = Service(kinds=KINDS)
