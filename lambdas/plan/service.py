"""Decides whether a training run starts, and pins the versions of everything it will read."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

NO_MODEL = "none"
INPUT_PREFIXES = ("data/", "labelled/")
# Triggers that only say "there may be something new": a later execution sees it too.
SUPERSEDED_TRIGGERS = frozenset({"data", "schedule"})
DRIFT_MARKER = "runs/latest-drift.json"
CLAIM = "monitor/claim.json"
"""What labels say of the newest claim (lambdas/monitor/judging.py)."""
RUN_NAME_LIMIT = 63
CHANNEL_FOLDER = "/opt/ml/input/data"


@dataclass(frozen=True)
class Execution:
    """A running execution of the state machine; ``started`` is a time with its zone."""

    arn: str
    started: datetime


@dataclass(frozen=True)
class ObjectVersion:
    """One version of one object in the bucket; ``size`` in bytes."""

    key: str
    version_id: str
    etag: str
    size: int


@dataclass(frozen=True)
class Settings:
    """What the service needs of the function's environment."""

    deployment: str
    bucket: str
    source_uri: str
    settings_digest: str
    commit: str
    region: str
    min_new_labels: int
    cool_down: timedelta


@dataclass(frozen=True)
class Request:
    """One execution that asks whether to train."""

    execution: str
    now: datetime
    trigger: str
    force: bool = False
    reason: str = ""

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> "Request":
        """Read the state's input; raises ``KeyError`` or ``ValueError`` when it is not one."""
        given = event.get("input") or {}
        return cls(
            execution=event["execution"],
            now=datetime.fromisoformat(event["now"]),
            trigger=str(given.get("trigger", "manual")),
            force=bool(given.get("force", False)),
            reason=str(given.get("reason", "")),
        )

    @property
    def machine(self) -> str:
        """Return the state machine's ARN."""
        parts = self.execution.split(":")
        return ":".join([*parts[:5], "stateMachine", parts[6]])


@dataclass(frozen=True)
class Decision:
    """What the state machine does next: ``wait``, ``skip`` or ``train``."""

    action: str
    reason: str
    run: str = ""
    model_uri: str = ""
    channels: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    hyperparameters: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the state's result."""
        if self.action != "train":
            return {"action": self.action, "reason": self.reason}
        return {
            "action": self.action,
            "reason": self.reason,
            "run": self.run,
            "channels": [dict(channel) for channel in self.channels],
            "hyperparameters": dict(self.hyperparameters),
        }


class Executions(Protocol):
    """The state machine's executions."""

    def running(self, machine: str) -> Sequence[Execution]:
        """Return all running executions, this one among them."""
        ...

    def trigger(self, execution: str) -> str:
        """Return the trigger that an execution was started with."""
        ...


class Storage(Protocol):
    """The project's bucket."""

    def current_versions(self, prefix: str) -> Sequence[ObjectVersion]:
        """Return the newest version of each object under a prefix that is not deleted."""
        ...

    def copy(self, source: ObjectVersion, key: str) -> None:
        """Copy one version to another key."""
        ...

    def read(self, key: str) -> bytes | None:
        """Return an object, or nothing when there is none."""
        ...

    def write(self, key: str, body: bytes) -> None:
        """Write an object."""
        ...

    def count_rows(self, version: ObjectVersion) -> int:
        """Return the number of data rows of a gzipped CSV with a header."""
        ...


class Registry(Protocol):
    """The model package group."""

    def newest_fingerprint(self) -> str:
        """Return the fingerprint of the newest package, or nothing."""
        ...


class Serving(Protocol):
    """The serving stack."""

    def model_uri(self) -> str:
        """Return the live model's folder, or ``none``."""
        ...


def plan(
    request: Request,
    settings: Settings,
    executions: Executions,
    storage: Storage,
    registry: Registry,
    serving: Serving,
) -> Decision:
    """Decide, and if it is to train, copy the pinned inputs and write ``plan.json``."""
    turn = _take_turn(request, executions)
    if turn is not None:
        return turn
    inputs = [version for prefix in INPUT_PREFIXES for version in storage.current_versions(prefix)]
    inputs = sorted((i for i in inputs if i.size > 0), key=lambda version: version.key)
    if not any(version.key.startswith("data/") for version in inputs):
        return Decision("skip", "there is no training data under data/ yet")
    fingerprint = _fingerprint(inputs, settings)
    if not request.force and registry.newest_fingerprint() == fingerprint:
        return Decision(
            "skip", "nothing changed: data, code and settings are those of the newest model"
        )
    champion = serving.model_uri()
    if request.trigger == "drift" and not request.force:
        hold = _hold_drift_run(request, settings, storage, inputs, champion)
        if hold is not None:
            return hold
    return _prepare(request, settings, storage, inputs, fingerprint, champion)


def _take_turn(request: Request, executions: Executions) -> Decision | None:
    """Let one execution train at a time, the oldest first, and the newest for all that queue."""
    running = sorted(executions.running(request.machine), key=lambda e: (e.started, e.arn))
    arns = [execution.arn for execution in running]
    if request.execution not in arns:
        return None
    place = arns.index(request.execution)
    if request.trigger in SUPERSEDED_TRIGGERS:
        for later in running[place + 1 :]:
            if executions.trigger(later.arn) != "drift":
                return Decision("skip", f"superseded by {later.arn.rpartition(':')[2]}")
    if place > 0:
        return Decision("wait", f"{arns[0].rpartition(':')[2]} is still running")
    return None


def _fingerprint(inputs: Sequence[ObjectVersion], settings: Settings) -> str:
    lines = [f"{version.key} {version.version_id}" for version in inputs]
    lines += [settings.source_uri, settings.settings_digest]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _hold_drift_run(
    request: Request,
    settings: Settings,
    storage: Storage,
    inputs: Sequence[ObjectVersion],
    champion: str,
) -> Decision | None:
    """Hold a retraining after drift until it can help and has not just been tried."""
    marker = storage.read(DRIFT_MARKER)
    if marker is not None:
        latest = datetime.fromisoformat(json.loads(marker)["now"])
        ready = latest + settings.cool_down
        if request.now < ready:
            return Decision(
                "skip",
                f"cooling down until {ready.isoformat()}: the last retraining after drift was at"
                f" {latest.isoformat()}",
            )
    known = _inputs_of(champion, settings, storage)
    new = [
        version
        for version in inputs
        if version.key.startswith("labelled/") and (version.key, version.version_id) not in known
    ]
    rows = sum(storage.count_rows(version) for version in new)
    if rows < settings.min_new_labels:
        return Decision(
            "skip",
            f"waiting for labels: {rows} of {settings.min_new_labels} labelled rows since the"
            " champion",
        )
    return None


def _inputs_of(champion: str, settings: Settings, storage: Storage) -> set[tuple[str, str]]:
    """Return key and version id of what the champion was trained on, as far as we know it."""
    prefix = f"s3://{settings.bucket}/models/"
    if not champion.startswith(prefix):
        return set()
    run = champion.removeprefix(prefix).split("/")[0]
    document = storage.read(f"runs/{run}/plan.json")
    if document is None:
        return set()
    return {(entry["key"], entry["version_id"]) for entry in json.loads(document)["inputs"]}


def _prepare(
    request: Request,
    settings: Settings,
    storage: Storage,
    inputs: Sequence[ObjectVersion],
    fingerprint: str,
    champion: str,
) -> Decision:
    run = _run_name(request, settings, fingerprint)
    for version in inputs:
        storage.copy(version, f"runs/{run}/data/{version.key}")
    document = {
        "run": run,
        "trigger": request.trigger,
        "reason": request.reason,
        "now": request.now.isoformat(),
        "execution": request.execution,
        "fingerprint": fingerprint,
        "inputs": [asdict(version) for version in inputs],
        "champion": None if champion == NO_MODEL else champion,
        "refuted": _refuted_claim(storage),
        "commit": settings.commit,
        "source_uri": settings.source_uri,
        "settings_digest": settings.settings_digest,
    }
    storage.write(f"runs/{run}/plan.json", json.dumps(document, indent=2).encode())
    if request.trigger == "drift":
        marker = {"run": run, "now": request.now.isoformat()}
        storage.write(DRIFT_MARKER, json.dumps(marker).encode())
    folder = f"s3://{settings.bucket}/runs/{run}"
    channels = [
        _channel("training", f"{folder}/data/"),
        _channel("plan", f"{folder}/plan.json"),
        _channel("code", settings.source_uri),
    ]
    if champion != NO_MODEL:
        channels.append(_channel("champion", champion))
    archive = settings.source_uri.rpartition("/")[2]
    return Decision(
        "train",
        request.reason or f"started by {request.trigger}",
        run,
        f"s3://{settings.bucket}/models/{run}/output/model/",
        channels,
        {
            "sagemaker_program": "training/train.py",
            "sagemaker_submit_directory": f"{CHANNEL_FOLDER}/code/{archive}",
            "sagemaker_region": settings.region,
            "sagemaker_container_log_level": "20",
            "sagemaker_job_name": run,
        },
    )


def _refuted_claim(storage: Storage) -> dict[str, Any] | None:
    """Return the newest claim that labels have judged, if they have refuted it."""
    raw = storage.read(CLAIM)
    found = None if raw is None else json.loads(raw)
    return found if found and found["refuted"] else None


def _run_name(request: Request, settings: Settings, fingerprint: str) -> str:
    """Name the run after its time; the suffix is the same when Step Functions retries."""
    stamp = request.now.astimezone(UTC).strftime("%Y%m%d-%H%M%S")
    suffix = hashlib.sha256(f"{request.execution} {fingerprint}".encode()).hexdigest()[:6]
    name = f"{settings.deployment}-{stamp}-{suffix}"
    if len(name) > RUN_NAME_LIMIT:
        raise ValueError(f"the run's name {name!r} has more than {RUN_NAME_LIMIT} characters")
    return name


def _channel(name: str, uri: str) -> dict[str, Any]:
    """Return one entry of CreateTrainingJob's ``InputDataConfig``."""
    return {
        "ChannelName": name,
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": uri,
                "S3DataDistributionType": "FullyReplicated",
            }
        },
        "CompressionType": "None",
        "InputMode": "File",
    }
