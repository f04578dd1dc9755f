"""What the folder of SageMaker declares to the local cloud."""

from __future__ import annotations

from local.parts import Service
from local.services.sagemaker.jobs import Jobs
from local.services.sagemaker.registry import Registry
from local.services.sagemaker.resources import KINDS
from local.services.sagemaker.rights import NEEDS

SERVICE = Service(parts={"registry": Registry, "jobs": Jobs}, kinds=KINDS, needs=NEEDS)
