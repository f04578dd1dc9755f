"""What the folder of Lambda declares to the local cloud."""

from __future__ import annotations

from local.parts import Service
from local.services.lambda_.api import LambdaApi
from local.services.lambda_.functions import Functions
from local.services.lambda_.resources import KINDS
from local.services.lambda_.rights import NEEDS

SERVICE = Service(parts={"functions": Functions, "lambda_api": LambdaApi}, kinds=KINDS, needs=NEEDS)
