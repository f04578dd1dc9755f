"""Moves the serving stack's one parameter and keeps the registry's account of it.

A model package carries what became of it in its customer metadata: ``promotion`` is one of
``started``, ``live``, ``replaced``, ``superseded``, ``rolled_back``, ``failed`` and ``withdrawn``;
``promotion_time`` is the time of the event that made it so, ``promotion_reason`` says why and
``live_since`` since when it last took all traffic. Each step may be repeated: queues deliver at
least once.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from core.errors import DeliveryError

NO_MODEL = "none"
# How the serving stack moves traffic: as [serving] traffic_shift says, or all of it at once.
GRADUAL = "gradual"
AT_ONCE = "at_once"
# Of the update requests that promotions make, as in promote-7-0123456789abcdef.
REQUEST_PREFIX = "promote-"
# CustomerMetadataProperties: AWS allows 256 characters a value.
VALUE_LIMIT = 256
DESCRIPTION_LIMIT = 1024

COMPLETE = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})
ROLLED_BACK = frozenset({"UPDATE_ROLLBACK_COMPLETE", "IMPORT_ROLLBACK_COMPLETE"})
FAILED = frozenset({"UPDATE_FAILED", "UPDATE_ROLLBACK_FAILED"})
OUTCOMES = COMPLETE | ROLLED_BACK | FAILED


class StackBusyError(DeliveryError):
    """Another update of the serving stack is under way; ask again later."""


@dataclass(frozen=True)
class Package:
    """A version in the model registry, as far as delivery cares."""

    arn: str
    version: int
    status: str
    description: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def model_uri(self) -> str:
        """Return the bundle's folder, always with its trailing slash; empty when unknown."""
        uri = self.properties.get("model_uri", "")
        return uri if not uri or uri.endswith("/") else f"{uri}/"

    @property
    def promotion(self) -> str:
        """Return what became of the package, or nothing."""
        return self.properties.get("promotion", "")


@dataclass(frozen=True)
class Stack:
    """The serving stack's status, the model that its parameter names, how its traffic moves."""

    status: str
    model_uri: str
    shift: str = GRADUAL

    @property
    def busy(self) -> bool:
        """Say whether an update, a rollback or a clean-up is under way."""
        return self.status.endswith("_IN_PROGRESS")


@dataclass(frozen=True)
class Outcome:
    """What was done about one message, in one line, and how many promotions turned out failed."""

    message: str
    failures: int = 0


class Registry(Protocol):
    """The model package group."""

    def get(self, arn: str) -> Package:
        """Return one package; raises ``DeliveryError`` when it does not exist."""
        ...

    def packages(self) -> Sequence[Package]:
        """Return all packages, newest first."""
        ...

    def record(self, package: Package) -> None:
        """Write the package's status, description and properties."""
        ...


class Serving(Protocol):
    """The serving stack."""

    def describe(self) -> Stack:
        """Return the stack's state."""
        ...

    def point_to(self, model_uri: str, token: str, shift: str) -> None:
        """Start the update to another model; raises ``StackBusyError`` or ``DeliveryError``."""
        ...

    def cancel(self) -> None:
        """Cancel the update under way; the stack rolls back to the model before."""
        ...

    def failure(self, token: str) -> str:
        """Return the first reason for which the update with this token failed."""
        ...


class Versions(Protocol):
    """The published versions of the predict function."""

    def published(self) -> Sequence[int]:
        """Return the numbers of all versions."""
        ...

    def in_use(self) -> Sequence[int]:
        """Return the versions that an alias gives traffic to."""
        ...

    def delete(self, number: int) -> None:
        """Delete one version."""
        ...


def handle_message(message: Mapping[str, Any], registry: Registry, serving: Serving) -> Outcome:
    """Act on one EventBridge event from the queue."""
    detail = message.get("detail") or {}
    match message.get("detail-type"):
        case "SageMaker Model Package State Change":
            arn = detail["ModelPackageArn"]
            return Outcome(promote(arn, message["time"], registry, serving))
        case "CloudFormation Stack Status Change":
            return settle(
                detail["status-details"]["status"],
                detail.get("client-request-token") or "",
                message["time"],
                registry,
                serving,
            )
        case other:
            raise DeliveryError(f"the promote queue carries an event of a kind unknown: {other!r}")


def promote(arn: str, time: str, registry: Registry, serving: Serving) -> str:
    """Point the serving stack to an approved package, unless something newer is live.

    ``time`` is the approval's, ISO 8601. Raises ``StackBusyError`` while another update runs.
    """
    package = registry.get(arn)
    if package.status != "Approved":
        return f"version {package.version} is {package.status} by now: nothing to promote"
    if time < package.properties.get("promotion_time", ""):
        return f"version {package.version}: an approval already acted on"
    if not package.model_uri:
        raise DeliveryError(f"version {package.version} does not say where its bundle is")
    stack = serving.describe()
    if stack.busy:
        if package.promotion == "started":
            return f"version {package.version} is on its way already"
        raise StackBusyError(f"the serving stack is {stack.status}")
    if stack.status not in COMPLETE | ROLLED_BACK:
        raise DeliveryError(
            f"the serving stack is {stack.status} and takes no update: repair or redeploy it,"
            " then redrive the dead-letter queue"
        )
    if stack.model_uri == package.model_uri:
        if package.promotion != "live":
            _mark_live(package, time, registry)
        return f"version {package.version} is live already"
    if package.promotion == "started":
        # The event is of our own record of the attempt, which has ended another way: starting it
        # again before that is settled would put a model that was rolled back on its way once more.
        raise StackBusyError(f"what became of version {package.version} is not recorded yet")
    live = _package_at(stack.model_uri, registry)
    if live is not None and live.version > package.version:
        # The registry sends an event for every write, ours too: writing again would never end.
        if package.promotion not in ("superseded", "replaced"):
            _record(package, registry, "superseded", time, f"version {live.version} is live")
        return f"version {package.version} is older than version {live.version}, which is live"
    return _start(package, time, "approved", registry, serving)


def settle(status: str, token: str, time: str, registry: Registry, serving: Serving) -> Outcome:
    """Write the outcome of an update of the serving stack back on the package it promoted."""
    if status not in OUTCOMES:
        return Outcome(f"the serving stack is {status}: no outcome yet")
    packages = registry.packages()
    started = [package for package in packages if package.promotion == "started"]
    ours = [package for package in packages if _is_attempt(package, token, time)]
    stack = serving.describe()
    if not ours and (stack.busy or token.startswith(REQUEST_PREFIX)):
        return Outcome(f"the serving stack is {status}: not the outcome of a promotion under way")
    settled = []
    failures = 0
    for package in ours or started:
        if status in COMPLETE and package.model_uri == stack.model_uri:
            _mark_live(package, time, registry, token)
            settled.append(f"version {package.version} is live")
        else:
            outcome = "failed" if status in FAILED else "rolled_back"
            reason = serving.failure(token or package.properties["promotion_token"]) or status
            _record(
                package,
                registry,
                outcome,
                time,
                reason,
                status="Rejected",
                promotion_token=token or package.properties["promotion_token"],
            )
            settled.append(f"version {package.version} {outcome}: {reason}")
            failures += 1
    if not settled:
        return Outcome(f"the serving stack is {status}: no promotion was under way")
    return Outcome("; ".join(settled), failures)


def restore_shift(time: str, serving: Serving) -> bool:
    """Let the next release move traffic gradually, and say whether that needed an update.

    A rollback moves it at once. An update under way is left alone: a promotion restores this by
    itself, and after any other the question is asked again.
    """
    stack = serving.describe()
    if stack.shift == GRADUAL or stack.busy:
        return False
    serving.point_to(stack.model_uri, _token(0, f"{time} restore"), GRADUAL)
    return True


def prune(versions: Versions, keep: int) -> list[int]:
    """Delete old function versions, and return which; raises ``DeliveryError``.

    What an alias gives traffic to stays, whatever is newer (a release under way), the version
    before it and ``keep`` more. Nothing is lost with the others: rolling back publishes a version
    anew from the model's bundle.
    """
    used = versions.in_use()
    if not used:
        return []
    older = sorted((n for n in versions.published() if n < min(used)), reverse=True)
    doomed = older[1 + keep :]
    for number in doomed:
        versions.delete(number)
    return doomed


def _is_attempt(package: Package, token: str, time: str) -> bool:
    """Say whether an update's token is that of this package's promotion, not settled yet.

    An outcome older than what is recorded is that of an earlier attempt, delivered once more.
    """
    if package.properties.get("promotion_token") == token:
        return package.promotion == "started"
    ours = token.startswith(f"{REQUEST_PREFIX}{package.version}-")
    return ours and time >= package.properties.get("promotion_time", "")


def roll_back(
    to: int | None, by: str, time: str, registry: Registry, serving: Serving
) -> dict[str, Any]:
    """Put an earlier version back, because a person asked for it.

    Without ``to`` it is the version that was live before this one. What is taken out loses its
    approval, so that no late message brings it back. A promotion still under way is cancelled.
    Traffic moves at once: the model was live before, and the one in its place is why it is wanted.
    """
    stack = serving.describe()
    packages = registry.packages()
    current = next((p for p in packages if p.model_uri == stack.model_uri), None)
    reason = f"rolled back by {by}"
    if stack.busy:
        # Once it cleans up, CloudFormation cancels no more: the update is as good as done.
        moving = stack.status == "UPDATE_IN_PROGRESS"
        if to is None and moving and current is not None and current.promotion == "started":
            serving.cancel()
            return {
                "status": "cancelled",
                "from": current.version,
                "to": None,
                "reason": f"{reason} while traffic was still moving",
            }
        raise StackBusyError(f"the serving stack is {stack.status}: try again when it is done")
    target = _target(to, current, packages)
    if target.model_uri == stack.model_uri:
        return {
            "status": "unchanged",
            "from": target.version,
            "to": target.version,
            "reason": f"version {target.version} is live already",
        }
    message = _start(target, time, reason, registry, serving, AT_ONCE)
    if current is not None and current.version > target.version:
        _record(current, registry, "withdrawn", time, reason, status="Rejected")
    return {
        "status": "started",
        "from": current.version if current else None,
        "to": target.version,
        "model_uri": target.model_uri,
        "reason": message,
    }


def _target(to: int | None, current: Package | None, packages: Sequence[Package]) -> Package:
    if to is not None:
        target = next((package for package in packages if package.version == to), None)
        if target is None:
            known = ", ".join(str(package.version) for package in packages) or "none"
            raise DeliveryError(f"there is no version {to}; there is {known}")
        if target.status != "Approved" and "live_since" not in target.properties:
            raise DeliveryError(
                f"version {to} is {target.status} and was never live: approve it instead"
            )
        return target
    earlier = [
        package
        for package in packages
        if "live_since" in package.properties
        and package.promotion == "replaced"
        and (current is None or package.version != current.version)
    ]
    if not earlier:
        raise DeliveryError("no version was live before this one: there is nothing to go back to")
    return max(earlier, key=lambda package: (package.properties["live_since"], package.version))


def _start(
    package: Package,
    time: str,
    reason: str,
    registry: Registry,
    serving: Serving,
    shift: str = GRADUAL,
) -> str:
    """Ask for the update, then record the attempt.

    In this order a refused update writes nothing: a write would be answered with another event,
    and that with another attempt. If the record is lost, the token in the outcome still names it.
    """
    token = _token(package.version, f"{package.arn} {time} {reason}")
    serving.point_to(package.model_uri, token, shift)
    _record(package, registry, "started", time, reason, promotion_token=token)
    return f"version {package.version} is on its way: {reason}"


def _token(version: int, what: str) -> str:
    """Name an update after the version that it promotes (0: none) and what asked for it."""
    return f"{REQUEST_PREFIX}{version}-{hashlib.sha256(what.encode()).hexdigest()[:16]}"


def _mark_live(package: Package, time: str, registry: Registry, token: str = "") -> None:
    """Record the package as live and whatever was live before as replaced.

    What is newer and yet replaced was rolled back: it loses its approval here at the latest.
    """
    known = package.properties
    _record(
        package,
        registry,
        "live",
        time,
        known.get("promotion_reason", ""),
        live_since=time,
        promotion_token=token or known.get("promotion_token", ""),
    )
    for other in registry.packages():
        if other.promotion != "live" or other.version == package.version:
            continue
        reason = f"by version {package.version}"
        if other.version < package.version:
            _record(other, registry, "replaced", time, reason)
        else:
            _record(other, registry, "withdrawn", time, reason, status="Rejected")


def _record(
    package: Package,
    registry: Registry,
    promotion: str,
    time: str,
    reason: str,
    *,
    status: str | None = None,
    **more: str,
) -> None:
    properties = {
        **package.properties,
        "promotion": promotion,
        "promotion_time": time,
        "promotion_reason": _fit(reason),
        **more,
    }
    description = package.description
    if status is not None:
        description = f"{promotion.replace('_', ' ')}: {reason}"[:DESCRIPTION_LIMIT]
    given = {key: value for key, value in properties.items() if value}
    registry.record(
        Package(package.arn, package.version, status or package.status, description, given)
    )


def _fit(value: str) -> str:
    """Bring a text to what a metadata value may hold: 256 letters, digits, spaces and _.:/=+-@."""
    kept = "".join(
        character if character.isalnum() or character in "_.:/=+-@" else " " for character in value
    )
    return " ".join(kept.split())[:VALUE_LIMIT].rstrip()


def _package_at(model_uri: str, registry: Registry) -> Package | None:
    if model_uri == NO_MODEL:
        return None
    return next((p for p in registry.packages() if p.model_uri == model_uri), None)
