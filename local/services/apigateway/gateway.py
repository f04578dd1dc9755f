"""API Gateway: an HTTP listener for each REST API, which serves what was deployed.

A stage serves its deployment's snapshot, as on AWS: a route changed without a new deployment is not
served. Signatures are verified with botocore; refusals carry API Gateway's own words and the
GatewayResponses that the template deploys.
"""

from __future__ import annotations

import threading
from typing import Any

from moto.apigateway.models import apigateway_backends

from local.host import Host
from local.parts import Part
from local.services.apigateway.api import Api
from local.services.apigateway.listener import Listener
from local.services.apigateway.routes import Snapshot, take_snapshot


class Gateway(Part):
    """The listeners of all REST APIs."""

    def __init__(self, cloud: Host) -> None:
        super().__init__(cloud)
        self.snapshots: dict[str, Snapshot] = {}
        self._listeners: dict[str, Listener] = {}
        self._lock = threading.Lock()
        self._port = cloud.api_port

    def api(self, api_id: str) -> Any:
        """Return moto's state of one API."""
        return self.backend().apis[api_id]

    def backend(self) -> Any:
        """Return moto's state of all APIs."""
        return apigateway_backends[self._cloud.account][self._cloud.region]

    def add(self, api_id: str) -> None:
        """Start the listener of an API; the first one takes the preferred port."""
        with self._lock:
            port, self._port = self._port, 0
            self._listeners[api_id] = Listener(Api(self._cloud, self, api_id), port)

    def remove(self, api_id: str) -> None:
        """Stop the listener of an API."""
        with self._lock:
            listener = self._listeners.pop(api_id, None)
        if listener is not None:
            listener.close()

    def stop(self) -> None:
        """Stop every listener."""
        for api_id in list(self._listeners):
            self.remove(api_id)
        super().stop()

    def url(self, api_id: str) -> str:
        """Return the URL of an API's stage (its only one, or its first)."""
        port = self._listeners[api_id].port
        stages = list(self.api(api_id).stages)
        return f"http://localhost:{port}/{stages[0] if stages else ''}"

    def urls(self) -> dict[str, str]:
        """Return the URL of each API."""
        return {api_id: self.url(api_id) for api_id in list(self._listeners)}

    def snapshot(self, api_id: str, deployment_id: str) -> None:
        """Keep the API as it stands, for the stages that will serve this deployment."""
        self.snapshots[deployment_id] = take_snapshot(self.api(api_id), deployment_id)
