"""SageMaker's scikit-learn container, which training jobs run in."""

import importlib.metadata
import json

from aws_cdk import Aws, CfnMapping
from constructs import Construct

CONTAINER_VERSION = "1.9-0"


def read_registries() -> dict[str, str]:
    """Map each region to the account that holds SageMaker's scikit-learn image.

    The table ships as JSON with sagemaker-core, whose import would cost seconds.
    """
    distribution = importlib.metadata.distribution("sagemaker-core")
    path = distribution.locate_file("sagemaker/core/image_uri_config/sklearn.json")
    with open(str(path), encoding="utf-8") as file:
        versions = json.load(file)["training"]["versions"]
    return dict(sorted(versions[CONTAINER_VERSION]["registries"].items()))


class Container(Construct):
    """Name SageMaker's scikit-learn image in whatever region the stack is deployed to."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        """Make the mapping from region to registry."""
        super().__init__(scope, construct_id)
        registries = CfnMapping(
            self,
            "Registries",
            mapping={region: {"account": account} for region, account in read_registries().items()},
        )
        account = registries.find_in_map(Aws.REGION, "account")
        repository = "sagemaker-scikit-learn"
        registry = f"{account}.dkr.ecr.{Aws.REGION}.{Aws.URL_SUFFIX}"
        self.image = f"{registry}/{repository}:{CONTAINER_VERSION}-cpu-py3"
        self.repository_arn = (
            f"arn:{Aws.PARTITION}:ecr:{Aws.REGION}:{account}:repository/{repository}"
        )
