"""What the folder of CloudFormation declares to the local cloud."""

from __future__ import annotations

from local.parts import Service
from local.services.cloudformation.api import StacksApi
from local.services.cloudformation.resources import KINDS
from local.services.cloudformation.rights import NEEDS

SERVICE = Service(parts={"stacks_api": StacksApi}, kinds=KINDS, needs=NEEDS)
