"""Decides whether a training run starts, and pins the versions of everything it will read."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from core.arrival import Arrival
from core.errors import StorageError
from core.id_samples import Table
from lambdas.plan.holding import find_hold
from lambdas.plan.memory import Memory, Note
from lambdas.plan.notices import Notice, shorten, write_notice
from lambdas.plan.objects import Objects, ObjectVersion, digest_versions, list_objects

NO_MODEL = "none"
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
    arrival: Arrival
    table: Table


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
    """What the state machine does next: `wait`, `skip`, `hold` or `train`.

    A notice, where there is one, is sent whatever the action is. `unread` has a sentence for each
    of the first files under `data/` that are not read; `reason` ends with them.
    """

    action: str
    reason: str
    run: str = ""
    model_uri: str = ""
    channels: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    notice: Notice | None = None
    unread: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the state's result."""
        result: dict[str, Any] = {"action": self.action, "reason": self.reason}
        if self.action == "train":
            result |= {
                "run": self.run,
                "channels": [dict(channel) for channel in self.channels],
                "hyperparameters": dict(self.hyperparameters),
            }
        if self.unread:
            result["unread"] = list(self.unread)
        return result if self.notice is None else {**result, "notice": asdict(self.notice)}


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

    def read_start(self, version: ObjectVersion, limit: int) -> bytes:
        """Return at most so many bytes of one version, from its first."""
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
    """Decide, and if it is to train, copy the pinned inputs and write `plan.json`."""
    turn = _take_turn(request, executions)
    if turn is not None:
        return turn
    objects = list_objects(storage)
    memory = Memory.read(storage)
    decision = _decide(request, settings, objects, memory, storage, registry, serving)
    notice, noted = _tell(request, settings, objects, memory, decision)
    if noted != memory:
        noted.write(storage)
    unread = shorten([found.sentence for found in objects.unread])
    reason = "; not read: ".join([decision.reason, *unread])
    return replace(decision, reason=reason, notice=notice, unread=unread)


def _tell(
    request: Request, settings: Settings, objects: Objects, memory: Memory, decision: Decision
) -> tuple[Notice | None, Memory]:
    """Write what people were not told yet, and what to remember of this run."""
    me = request.execution
    noted = memory.note_unread(objects.unread, me)
    held = ""
    if decision.action == "hold":
        state = digest_versions((), _fingerprint(objects, settings), decision.reason)
        if not memory.has_told_hold(state, me):
            held, noted = decision.reason, replace(noted, held=Note(state, me))
    elif decision.action == "train":
        noted = replace(noted, tried=Note(objects.tables_digest, me))
    untold = [found.sentence for found in memory.untold(objects.unread, me)]
    return write_notice(settings.deployment, me, held=held, unread=untold), noted


def _decide(
    request: Request,
    settings: Settings,
    objects: Objects,
    memory: Memory,
    storage: Storage,
    registry: Registry,
    serving: Serving,
) -> Decision:
    """Decide by what lies in the bucket, and prepare the run if it is to train."""
    if not objects.tables:
        return Decision("skip", "there is no training data under data/ yet")
    fingerprint = _fingerprint(objects, settings)
    if not request.force:
        if registry.newest_fingerprint() == fingerprint:
            return Decision(
                "skip", "nothing changed: data, code and settings are those of the newest model"
            )
        if request.trigger == "data" and memory.has_tried(objects.tables_digest, request.execution):
            # What came is no table, and the last run on these tables failed: nothing to try anew.
            return Decision(
                "skip",
                "nothing changed: the tables under data/ are those of the last run; to run again: "
                "python -m ops train",
            )
    champion = serving.model_uri()
    trained = _plan_of(champion, settings, storage)
    if request.trigger == "drift" and not request.force:
        hold = _hold_drift_run(request, settings, storage, objects.labelled, _inputs_of(trained))
        if hold is not None:
            return hold
    same = trained.get("settings_digest") == settings.settings_digest
    misfit = find_hold(
        objects.tables,
        _inputs_of(trained) if same else set(),
        storage,
        arrival=settings.arrival,
        table=settings.table,
    )
    if misfit is not None:
        return Decision("hold", misfit)
    return _prepare(request, settings, storage, objects, fingerprint, champion)


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


def _fingerprint(objects: Objects, settings: Settings) -> str:
    lines = [f"{version.key} {version.version_id}" for version in objects.inputs]
    lines += [settings.source_uri, settings.settings_digest]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _hold_drift_run(
    request: Request,
    settings: Settings,
    storage: Storage,
    labelled: Sequence[ObjectVersion],
    known: set[tuple[str, str]],
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
    new = [version for version in labelled if (version.key, version.version_id) not in known]
    rows = sum(storage.count_rows(version) for version in new)
    if rows < settings.min_new_labels:
        return Decision(
            "skip",
            f"waiting for labels: {rows} of {settings.min_new_labels} labelled rows since the"
            " champion",
        )
    return None


def _plan_of(champion: str, settings: Settings, storage: Storage) -> Mapping[str, Any]:
    """Return the plan of the run that trained the champion, as far as we know it."""
    prefix = f"s3://{settings.bucket}/models/"
    if not champion.startswith(prefix):
        return {}
    run = champion.removeprefix(prefix).split("/")[0]
    document = storage.read(f"runs/{run}/plan.json")
    return {} if document is None else dict(json.loads(document))


def _inputs_of(document: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return key and version id of what a plan pinned."""
    return {(entry["key"], entry["version_id"]) for entry in document.get("inputs", ())}


def _prepare(
    request: Request,
    settings: Settings,
    storage: Storage,
    objects: Objects,
    fingerprint: str,
    champion: str,
) -> Decision:
    run = _run_name(request, settings, fingerprint)
    for version in objects.inputs:
        storage.copy(version, f"runs/{run}/data/{version.key}")
    document = {
        "run": run,
        "trigger": request.trigger,
        "reason": request.reason,
        "now": request.now.isoformat(),
        "execution": request.execution,
        "fingerprint": fingerprint,
        "inputs": [asdict(version) for version in objects.inputs],
        "unread": [{"key": found.version.key, "reason": found.reason} for found in objects.unread],
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
    try:
        found = json.loads(raw or b"null")
        return found if found and found["refuted"] else None
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{CLAIM} is not what the monitor writes: restore an earlier version of it, or delete "
            "it; the monitor writes it again with the next labels"
        ) from error


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
