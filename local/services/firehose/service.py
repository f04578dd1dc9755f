"""What the folder of Firehose declares to the local cloud."""

from __future__ import annotations

from local.parts import Service
from local.services.firehose.resources import KINDS
from local.services.firehose.rights import NEEDS
from local.services.firehose.streams import Streams

SERVICE = Service(parts={"streams": Streams}, kinds=KINDS, needs=NEEDS)
