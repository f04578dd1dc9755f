"""What the folder of CodeDeploy declares to the local cloud."""

from __future__ import annotations

from local.parts import Service
from local.services.codedeploy.deployments import CodeDeploy
from local.services.codedeploy.resources import KINDS
from local.services.codedeploy.rights import NEEDS

SERVICE = Service(parts={"codedeploy": CodeDeploy}, kinds=KINDS, needs=NEEDS)
