"""What the local cloud has of AWS Budgets."""

from __future__ import annotations

from local.parts import Service
from local.services.budgets.resources import KINDS

SERVICE = Service(kinds=KINDS)
