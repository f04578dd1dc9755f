"""Functions that run: which version a name means, calls in both ways, concurrency, metrics."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moto.awslambda import models
from moto.awslambda.exceptions import LambdaClientError

from local.host import Host, Throttled
from local.parts import Part
from local.services.lambda_.destinations import report_outcome, send_message
from local.services.lambda_.invocation import (
    MAX_ASYNC_BYTES,
    MAX_SYNC_BYTES,
    Invocation,
    split_name,
)
from local.services.lambda_.packages import Packages
from local.services.lambda_.workers import Pool

if TYPE_CHECKING:
    from moto.awslambda.models import LambdaFunction

RETRY_SECONDS = (60.0, 120.0)  # AWS's waits before the two retries of an asynchronous event


class Functions(Part):
    """Every function's processes, and the way to call them."""

    def __init__(self, cloud: Host) -> None:
        super().__init__(cloud)
        self.highest: dict[str, int] = {}
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, ...], Pool] = {}
        self._in_flight: dict[str, int] = {}
        self._packages = Packages(cloud.folder)

    @property
    def runtime(self) -> Path:
        """Return the folder of packages that AWS's runtime itself provides."""
        return self._packages.runtime

    # -- versions -----------------------------------------------------------------------------

    def number(self, name: str, version: int) -> None:
        """Remember that a version's number is taken."""
        self.highest[name] = max(version, self.highest.get(name, 0))

    def _backend(self) -> Any:
        return models.lambda_backends[self._cloud.account][self._cloud.region]

    def resolve(self, name: str, qualifier: str | None = None) -> tuple[LambdaFunction, str]:
        """Return the function version that a name or ARN means now, and the ARN called by.

        An alias with weights is decided by lot, as AWS decides each call.
        """
        backend = self._backend()
        bare, _, inner = split_name(name)
        qualifier = inner or qualifier
        arn = f"arn:aws:lambda:{self._cloud.region}:{self._cloud.account}:function:{bare}"
        if qualifier:
            arn = f"{arn}:{qualifier}"
        if qualifier and qualifier != "$LATEST" and not qualifier.isdigit():
            alias = backend.get_alias(qualifier, bare)
            version = alias.function_version
            weights = (alias.routing_config or {}).get("AdditionalVersionWeights") or {}
            drawn = random.random()
            for other, weight in weights.items():
                if drawn < float(weight):
                    version = other
                    break
                drawn -= float(weight)
            return backend.get_function(bare, version), arn
        return backend.get_function(bare, qualifier), arn

    def provision(self, arn: str, count: int) -> None:
        """Start processes ahead of the calls, as provisioned concurrency does."""
        if count <= 0:
            return
        pool = self._pool(self.resolve(arn)[0])
        workers = [pool.take() for _ in range(min(count, self._cloud.processes))]
        for worker in workers:
            pool.give(worker)

    # -- calling ------------------------------------------------------------------------------

    def invoke(
        self,
        function: str,
        payload: bytes,
        *,
        qualifier: str | None = None,
        asynchronous: bool = False,
    ) -> Invocation:
        """Call a function; asynchronously, answer 202 at once and retry as AWS does."""
        payload = payload or b"{}"
        limit = MAX_ASYNC_BYTES if asynchronous else MAX_SYNC_BYTES
        if len(payload) > limit:
            raise LambdaClientError(
                "RequestTooLargeException",
                f"{len(payload)} byte payload is too large for the "
                f"{'Event' if asynchronous else 'RequestResponse'} invocation type "
                f"(limit {limit} bytes)",
            )
        try:
            json.loads(payload)
        except ValueError as error:
            raise LambdaClientError(
                "InvalidRequestContentException", f"Could not parse request body into json: {error}"
            ) from error
        version, arn = self.resolve(function, qualifier)
        request_id = str(uuid.uuid4())
        if not asynchronous:
            return self._run(version, arn, payload, request_id)
        self._cloud.clock.spawn(
            lambda: self._run_later(function, qualifier, payload, request_id),
            f"event {request_id}",
        )
        return Invocation(202, b"", None, str(version.version), request_id)

    def _run_later(self, name: str, qualifier: str | None, payload: bytes, request_id: str) -> None:
        settings: dict[str, Any] = {}
        latest = self._backend().get_function(split_name(name)[0])
        if latest.event_invoke_config:
            settings = latest.event_invoke_config[-1].config
        attempts = 1 + int(settings.get("MaximumRetryAttempts", 2))
        answer: Invocation | None = None
        for attempt in range(attempts):
            if attempt:
                self._cloud.clock.sleep(RETRY_SECONDS[min(attempt, 2) - 1])
            function, arn = self.resolve(name, qualifier)
            try:
                answer = self._run(function, arn, payload, request_id)
            except Throttled:
                continue
            if answer.error is None:
                report_outcome(
                    self._cloud, settings, "OnSuccess", arn, payload, answer, attempt + 1
                )
                return
        dead_letters = getattr(latest, "kept", {}).get("DeadLetterConfig", {}).get("TargetArn")
        if dead_letters:
            send_message(self._cloud, dead_letters, payload.decode())
        if answer is not None:
            report_outcome(self._cloud, settings, "OnFailure", arn, payload, answer, attempts)

    @contextlib.contextmanager
    def _admitted(self, function: LambdaFunction) -> Iterator[None]:
        """Hold one of the function's reserved places while it runs."""
        name = function.function_name
        latest = self._backend().get_function(name)
        reserved = latest.reserved_concurrency
        with self._lock:
            running = self._in_flight.get(name, 0)
            if reserved is not None and running >= int(reserved):
                raise Throttled("Rate Exceeded.")
            self._in_flight[name] = running + 1
        try:
            yield
        finally:
            with self._lock:
                self._in_flight[name] -= 1

    def _run(
        self, function: LambdaFunction, arn: str, payload: bytes, request_id: str
    ) -> Invocation:
        """Run one event in a worker; log it and measure it as Lambda does."""
        try:
            with self._cloud.clock.work(), self._admitted(function):
                pool = self._pool(function)
                worker = pool.take()
                try:
                    answer, seconds = worker.run(arn, payload, request_id)
                finally:
                    pool.give(worker)
        except Throttled:
            self._measure(function, arn, {"Throttles": 1.0, "Invocations": 0.0})
            raise
        errors = 0.0 if answer.error is None else 1.0
        self._measure(
            function,
            arn,
            {"Invocations": 1.0, "Errors": errors, "Duration": seconds * 1000, "Throttles": 0.0},
        )
        return answer

    def _measure(self, function: LambdaFunction, arn: str, values: Mapping[str, float]) -> None:
        name, version = function.function_name, str(function.version)
        sets: list[dict[str, str]] = [{"FunctionName": name}]
        _, _, qualifier = split_name(arn)
        if qualifier:
            sets.append({"FunctionName": name, "Resource": f"{name}:{qualifier}"})
            if version != qualifier:
                sets.append(
                    {
                        "FunctionName": name,
                        "Resource": f"{name}:{qualifier}",
                        "ExecutedVersion": version,
                    }
                )
        for dimensions in sets:
            for metric, value in values.items():
                if metric == "Invocations" and value == 0:
                    continue
                unit = "Milliseconds" if metric == "Duration" else "Count"
                self._cloud.metrics.put("AWS/Lambda", metric, dimensions, value, unit=unit)

    # -- workers ------------------------------------------------------------------------------

    def _pool(self, function: LambdaFunction) -> Pool:
        """Return the pool of exactly this code and configuration."""
        key = (
            function.function_name,
            str(function.version),
            function.code_digest,
            json.dumps(function.environment_vars, sort_keys=True),
            f"{function.handler}|{function.role}|{function.timeout}|{function.memory_size}",
        )
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                for other in [k for k in self._pools if k[:2] == key[:2]]:
                    self._pools.pop(other).retire()
                pool = self._pools[key] = Pool(self._cloud, self._packages, function)
        return pool

    def stop(self) -> None:
        """End every process."""
        with self._lock:
            pools = list(self._pools.values())
            self._pools.clear()
        for pool in pools:
            pool.retire()
        super().stop()
