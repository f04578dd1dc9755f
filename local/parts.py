"""What a service's folder declares to the local cloud, and the base of the parts that run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.host import Host
from local.resources import Kind
from local.rights import Judge, Reader
from local.seams import Seams


class Part:
    """What the local cloud adds to moto for one service, from its start to its stop."""

    def __init__(self, cloud: Host) -> None:
        self._cloud = cloud
        self._seams = Seams()

    def start(self) -> None:
        """Put what is added in its place."""

    def stop(self) -> None:
        """End what runs and put moto back."""
        self._seams.close()


@dataclass(frozen=True)
class Service:
    """One AWS service: what runs, which resource types it has, what its calls need."""

    parts: Mapping[str, Callable[[Any], Part]] = field(default_factory=dict)
    """What runs, by the name of the cloud's attribute that holds it; each is given the cloud."""
    kinds: tuple[type[Kind], ...] = ()
    """The CloudFormation resource types."""
    needs: Mapping[str, Judge] = field(default_factory=dict)
    """What each call must be allowed, by `service:Operation`, or `service:*` for all of them."""
    readers: Mapping[str, Reader] = field(default_factory=dict)
    """How calls are read, for services with a request format of their own."""
