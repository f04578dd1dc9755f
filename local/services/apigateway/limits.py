"""What callers may use of an API: keys and usage plans, rates, quotas."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from local.clock import Clock
from local.services.apigateway.messages import Refused, Request
from local.services.apigateway.routes import Route


@dataclass
class Bucket:
    """A token bucket: `rate` tokens a second, at most `burst` saved up."""

    rate: float
    burst: float
    tokens: float
    at: float

    def take(self, now: float) -> bool:
        """Take one token if there is one."""
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Limits:
    """Hold one API's rates and quotas."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, ...], Bucket] = {}
        self._used: Counter[tuple[str, str, str]] = Counter()

    def throttle(self, request: Request, route: Route, stage: Any, plan: Any) -> None:
        """Hold the stage's and the plan's rates; the plan's quota too."""
        now = time.monotonic()
        limits: list[tuple[tuple[str, ...], float, float]] = []
        if plan is not None and plan.throttle:
            limits.append(
                (
                    ("plan", plan.id, request.api_key_id),
                    float(plan.throttle.get("rateLimit", 10000)),
                    float(plan.throttle.get("burstLimit", 5000)),
                )
            )
        encoded = route.path.replace("/", "~1")
        for where in (f"{encoded}/{route.method}", "*/*"):
            settings = stage.method_settings.get(where)
            if settings and "throttlingRateLimit" in settings:
                limits.append(
                    (
                        ("stage", request.stage, route.path, route.method),
                        float(settings["throttlingRateLimit"]),
                        float(settings["throttlingBurstLimit"]),
                    )
                )
                break
        with self._lock:
            for key, rate, burst in limits:
                bucket = self._buckets.get(key)
                if bucket is None or (bucket.rate, bucket.burst) != (rate, burst):
                    bucket = self._buckets[key] = Bucket(rate, burst, burst, now)
                if not bucket.take(now):
                    raise Refused("THROTTLED")
            if plan is not None and plan.quota:
                self._spend(request, plan)

    def _spend(self, request: Request, plan: Any) -> None:
        day = self._clock.utc()
        period = {
            "DAY": f"{day:%Y-%m-%d}",
            "WEEK": "{}-{}".format(*day.isocalendar()[:2]),
            "MONTH": f"{day:%Y-%m}",
        }[plan.quota.get("period", "MONTH")]
        spent = (plan.id, request.api_key_id, period)
        if self._used[spent] >= int(plan.quota["limit"]):
            raise Refused("QUOTA_EXCEEDED")
        self._used[spent] += 1


def find_plan(request: Request, backend: Any, api_id: str) -> Any:
    """Find the usage plan under which an API key may call this stage."""
    value = request.header("x-api-key")
    for key in backend.keys.values():
        if key.value != value or not value or not key.enabled:
            continue
        for plan in backend.get_usage_plans(key.id):
            stages = [(item["apiId"], item["stage"]) for item in plan.api_stages]
            if (api_id, request.stage) in stages:
                request.api_key, request.api_key_id = value, key.id
                return plan
    raise Refused("INVALID_API_KEY")
