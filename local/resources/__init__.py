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
from local.resources.base import KINDS, Kind, Made, Order, ResourceError

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
