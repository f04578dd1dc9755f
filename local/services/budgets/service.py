"""What the folder of AWS Budgets declares to the local cloud."""

from __future__ import annotations

from local.parts import Service
from local.services.budgets.resources import KINDS

SERVICE = Service(kinds=KINDS)
