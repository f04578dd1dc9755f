"""The packaging of functions and of the training source into assets."""

from infra.assets.errors import AssetError
from infra.assets.packager import Asset, Packager
from infra.assets.targets import Target, container_target, host_target, lambda_target

__all__ = [
    "Asset",
    "AssetError",
    "Packager",
    "Target",
    "container_target",
    "host_target",
    "lambda_target",
]
