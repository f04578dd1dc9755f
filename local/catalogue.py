"""The AWS services of the local cloud, in the order in which their parts start."""

from __future__ import annotations

from local.parts import Service
from local.resources import Kind
from local.rights import Rights
from local.services.apigateway import service as apigateway
from local.services.budgets import service as budgets
from local.services.cloudformation import service as cloudformation
from local.services.cloudwatch import service as cloudwatch
from local.services.codedeploy import service as codedeploy
from local.services.ecr import service as ecr
from local.services.events import service as events
from local.services.firehose import service as firehose
from local.services.iam import service as iam
from local.services.kms import service as kms
from local.services.lambda_ import service as lambda_
from local.services.logs import service as logs
from local.services.s3 import service as s3
from local.services.sagemaker import service as sagemaker
from local.services.sns import service as sns
from local.services.sqs import service as sqs
from local.services.ssm import service as ssm
from local.services.states import service as states

SERVICES: tuple[Service, ...] = (
    iam.SERVICE,
    kms.SERVICE,
    ssm.SERVICE,
    ecr.SERVICE,
    budgets.SERVICE,
    cloudformation.SERVICE,
    sns.SERVICE,
    lambda_.SERVICE,
    codedeploy.SERVICE,
    apigateway.SERVICE,
    cloudwatch.SERVICE,
    logs.SERVICE,
    firehose.SERVICE,
    events.SERVICE,
    s3.SERVICE,
    sagemaker.SERVICE,
    states.SERVICE,
    sqs.SERVICE,
)

# What the services declare, for the two that look across all of them: CloudFormation makes every
# resource type, IAM judges every call.
KINDS: dict[str, Kind] = {kind.type: kind() for service in SERVICES for kind in service.kinds}
RIGHTS = Rights(
    {name: judge for service in SERVICES for name, judge in service.needs.items()},
    {name: reader for service in SERVICES for name, reader in service.readers.items()},
)
