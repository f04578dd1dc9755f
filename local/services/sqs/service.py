"""What the folder of SQS declares to the local cloud."""

from __future__ import annotations

from local.parts import Service
from local.services.sqs.queues import Queues
from local.services.sqs.resources import KINDS
from local.services.sqs.rights import NEEDS

SERVICE = Service(parts={"queues": Queues}, kinds=KINDS, needs=NEEDS)
