"""The resource types of the templates, each created through the public API of its service."""

from local.resources import (
    access,
    compute,
    delivery,
    machine_learning,
    messaging,
    observing,
    rest_api,
    storage,
)
from local.resources.base import Kind, Made, Order, ResourceError

__all__ = [
    "KINDS",
    "Kind",
    "Made",
    "Order",
    "ResourceError",
    "access",
    "compute",
    "delivery",
    "machine_learning",
    "messaging",
    "observing",
    "rest_api",
    "storage",
]

KINDS: dict[str, Kind] = {kind.type: kind() for kind in Kind.__subclasses__()}
