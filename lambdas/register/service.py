"""Gates a trained bundle and records it in the model registry."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from core.bundle import BASELINE, CONTRACT, EVALUATION, Bundle
from core.doubts import RaisedDoubt, read_doubts
from core.errors import BundleError
from lambdas.register.notice import write_notice

Status = Literal["Approved", "PendingManualApproval", "Rejected"]

# CustomerMetadataProperties: AWS allows 50 entries of 256 characters.
VALUE_LIMIT = 256
ENTRY_LIMIT = 50
DESCRIPTION_LIMIT = 1024
TOKEN_LIMIT = 36
PENDING: Status = "PendingManualApproval"
WAITS = "waits for a person: "


@dataclass(frozen=True)
class Request:
    """One finished training job."""

    run: str
    model_uri: str
    job_arn: str
    now: str

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> "Request":
        """Read the state's input; raises ``KeyError`` when it is not one."""
        uri = event["model_uri"]
        return cls(
            event["run"],
            uri if uri.endswith("/") else f"{uri}/",
            str(event.get("job_arn", "")),
            str(event.get("now", "")),
        )


@dataclass(frozen=True)
class Policy:
    """What a model must reach, and who has the last word when it does."""

    minimum: Mapping[str, float]
    maximum: Mapping[str, float]
    approval: Literal["automatic", "manual"]
    accepted: Sequence[str] = ()

    def holds(self, doubt: RaisedDoubt) -> bool:
        """Say whether a doubt keeps a version from going live by itself.

        It was accepted if the settings of its run say so and those of today still do: whoever takes
        a name off the list means the run that is under way as well.
        """
        return not (doubt.accepted and doubt.name in self.accepted)


@dataclass(frozen=True)
class Stage:
    """Where the model is registered: the deployment, its stage, and the image that can serve it."""

    deployment: str
    name: str
    image: str


@dataclass(frozen=True)
class Verdict:
    """The gates' decision, its reason, and the doubts that hold."""

    status: Status
    reason: str
    doubts: Sequence[RaisedDoubt] = ()


@dataclass(frozen=True)
class Entry:
    """A model package of this group."""

    arn: str
    status: str
    properties: Mapping[str, str] = field(default_factory=dict)


class Bundles(Protocol):
    """The trained models' folders and the runs' plans."""

    def open(self, model_uri: str) -> Bundle:
        """Open one bundle; raises ``BundleError`` or ``StorageError``."""
        ...

    def digest(self, model_uri: str, name: str) -> str:
        """Return the SHA-256 (hex) of one file, read as a stream."""
        ...


class Registry(Protocol):
    """The model package group."""

    def find(self, model_uri: str) -> Entry | None:
        """Return the package of a bundle, if it is registered already."""
        ...

    def create(self, definition: Mapping[str, Any]) -> str:
        """Create a model package and return its ARN."""
        ...

    def decide(self, entry: Entry, status: Status, reason: str) -> None:
        """Set status and description of a package, keeping its properties."""
        ...


def register(
    request: Request,
    policy: Policy,
    stage: Stage,
    bundles: Bundles,
    registry: Registry,
) -> dict[str, str]:
    """Verify the bundle, apply the gates, create the package and set its status.

    The package is created pending and then decided, because CreateModelPackage takes no
    description. A retry finds the package by its bundle and finishes what is left to do. The answer
    has a notice for people where the version waits for one, else an empty text.
    """
    bundle = bundles.open(request.model_uri)
    verify(bundle, request.model_uri, bundles)
    evaluation, lineage = bundle.evaluation(), bundle.lineage()
    verdict = judge(evaluation, policy)
    entry = registry.find(request.model_uri)
    if entry is None:
        properties = describe(request, bundle, evaluation, lineage, verdict)
        arn = registry.create(define(request, stage.image, bundle, properties, verdict))
        entry = Entry(arn, PENDING, properties)
    if entry.status == PENDING:
        registry.decide(entry, verdict.status, verdict.reason)
    elif entry.status != verdict.status:
        # A person has decided since the first attempt; that decision stands.
        verdict = Verdict(_status(entry.status), f"registered before and {entry.status} since")
    notice = ""
    if verdict.status == PENDING:
        notice = write_notice(
            deployment=stage.deployment,
            stage=stage.name,
            version=entry.arn.rpartition("/")[2],
            model_uri=request.model_uri,
            reason=verdict.reason.removeprefix(WAITS),
            doubts=verdict.doubts,
            accepted=policy.accepted,
        )
    return {
        "status": verdict.status,
        "package_arn": entry.arn,
        "reason": verdict.reason,
        "notice": notice,
    }


def verify(bundle: Bundle, model_uri: str, bundles: Bundles) -> None:
    """Compare every file with the manifest; raises ``BundleError`` at the first that differs."""
    for name, expected in bundle.manifest.sha256.items():
        found = bundles.digest(model_uri, name)
        if found != expected:
            raise BundleError(
                f"{model_uri}{name} was altered: its SHA-256 is {found[:12]}..., the manifest says"
                f" {expected[:12]}...; train again"
            )


def judge(evaluation: Mapping[str, Any], policy: Policy) -> Verdict:
    """Apply the gates, then the comparison with the champion, then doubts and the approval policy.

    A model with a doubt that is not accepted waits for a person, whatever the policy says.
    """
    metrics = evaluation["metrics"]
    missed = []
    bounds = [(name, bound, "below") for name, bound in policy.minimum.items()]
    bounds += [(name, bound, "above") for name, bound in policy.maximum.items()]
    for name, bound, word in bounds:
        if name not in metrics:
            missed.append(f"{name} was not measured, only {', '.join(sorted(metrics))}")
            continue
        value = _value(metrics[name])
        if not (value >= bound if word == "below" else value <= bound):
            missed.append(f"{name} {value:.6g} is {word} the gate's {bound:g}")
    if missed:
        return Verdict("Rejected", "; ".join(missed))
    decision = evaluation["decision"]
    reason = str(decision["reason"])
    if not decision["promote"]:
        return Verdict("Rejected", reason)
    doubts = [doubt for doubt in read_doubts(evaluation) if policy.holds(doubt)]
    if doubts:
        return Verdict(PENDING, _explain(doubts), doubts)
    if policy.approval == "manual":
        return Verdict(PENDING, f"{WAITS}{reason}")
    return Verdict("Approved", reason)


def describe(
    request: Request,
    bundle: Bundle,
    evaluation: Mapping[str, Any],
    lineage: Mapping[str, Any],
    verdict: Verdict,
) -> dict[str, str]:
    """Return the customer metadata: how the model came to be and what the gates said."""
    contract = bundle.contract()
    properties = {
        "run": request.run,
        "model_uri": request.model_uri,
        "job": request.job_arn,
        "registered": request.now,
        "trigger": str(lineage.get("trigger", "")),
        "fingerprint": str(lineage.get("fingerprint", "")),
        "commit": str(lineage.get("commit", "")),
        "data_sha256": _data_digest(lineage),
        "bundle_sha256": bundle.manifest.digest,
        "contract_sha256": contract.digest,
        "task": contract.task,
        "decision": verdict.status,
        "decision_reason": verdict.reason,
        **_name_doubts(read_doubts(evaluation), verdict.doubts),
    }
    for name, measured in sorted(evaluation["metrics"].items()):
        if len(properties) == ENTRY_LIMIT:
            break
        properties[f"metric.{name}"] = _number(measured)
    fitted = {_fit(key): _fit(value) for key, value in properties.items()}
    return {key: value for key, value in fitted.items() if value}


def define(
    request: Request,
    image: str,
    bundle: Bundle,
    properties: Mapping[str, str],
    verdict: Verdict,
) -> dict[str, Any]:
    """Return the arguments of CreateModelPackage, but for the group."""
    uri = request.model_uri

    def source(name: str) -> dict[str, str]:
        return {
            "ContentType": "application/json",
            "ContentDigest": f"sha256:{bundle.manifest.sha256[name]}",
            "S3Uri": uri + name,
        }

    data_quality = {"Statistics": source(BASELINE), "Constraints": source(CONTRACT)}
    model_quality = {"Statistics": source(EVALUATION)}
    return {
        "ModelPackageDescription": _one_line(f"{request.run}: {verdict.reason}"),
        "ModelApprovalStatus": PENDING,
        "InferenceSpecification": {
            "Containers": [
                {
                    "Image": image,
                    "ModelDataSource": {
                        "S3DataSource": {
                            "S3Uri": uri,
                            "S3DataType": "S3Prefix",
                            "CompressionType": "None",
                        }
                    },
                    "Framework": "SKLEARN",
                }
            ],
            "SupportedContentTypes": ["application/json", "text/csv"],
            "SupportedResponseMIMETypes": ["application/json"],
            "SupportedRealtimeInferenceInstanceTypes": ["ml.m5.large"],
            "SupportedTransformInstanceTypes": ["ml.m5.large"],
        },
        "ModelMetrics": {"ModelQuality": model_quality, "ModelDataQuality": data_quality},
        "DriftCheckBaselines": {
            "ModelQuality": model_quality,
            "ModelDataQuality": data_quality,
        },
        "CustomerMetadataProperties": dict(properties),
        "ClientToken": hashlib.sha256(request.run.encode()).hexdigest()[:TOKEN_LIMIT],
    }


def _explain(doubts: Sequence[RaisedDoubt]) -> str:
    """Give the first doubt's sentence and count the others, within what a description holds."""
    more = f" (and {len(doubts) - 1} more)" if len(doubts) > 1 else ""
    room = DESCRIPTION_LIMIT - len(WAITS) - len(more)
    sentence = doubts[0].sentence
    return WAITS + (sentence if len(sentence) <= room else sentence[: room - 3] + "...") + more


def _name_doubts(raised: Sequence[RaisedDoubt], held: Sequence[RaisedDoubt]) -> dict[str, str]:
    """Name the doubts that hold, and the accepted ones, as metadata values."""
    accepted = [doubt.name for doubt in raised if doubt not in held]
    return {
        "doubts": _list_names([doubt.name for doubt in held]),
        "doubts_accepted": _list_names(accepted),
    }


def _list_names(names: Sequence[str]) -> str:
    """List as many names as a metadata value holds, and count the others."""
    listed = ""
    for place, name in enumerate(names):
        longer = f"{listed} / {_fit(name)}" if listed else _fit(name)
        left = len(names) - place
        # Room for the count of the names that do not fit, unless this is the last one.
        if len(longer) > VALUE_LIMIT - (len(f" / and {left} more") if left > 1 else 0):
            return f"{listed} / and {left} more" if listed else f"{left} with long names"
        listed = longer
    return listed


def _one_line(text: str) -> str:
    """Bring a text to what a description may hold: one line of 1,024 characters."""
    return " ".join(text.split())[:DESCRIPTION_LIMIT]


def _status(value: str) -> Status:
    if value == "Approved":
        return "Approved"
    return "Rejected" if value == "Rejected" else PENDING


def _value(measured: Any) -> float:
    """Return a metric's value; absent or null is not a number and meets no gate."""
    value = measured.get("value") if isinstance(measured, Mapping) else measured
    return math.nan if value is None else float(value)


def _number(measured: Any) -> str:
    """Write a metric with its interval, where it has one."""
    text = f"{_value(measured):.6g}"
    if isinstance(measured, Mapping) and measured.get("low") is not None:
        text += f" from {float(measured['low']):.6g} to {float(measured['high']):.6g}"
    return text


def _data_digest(lineage: Mapping[str, Any]) -> str:
    """Name all input files by one SHA-256; a single file by its own."""
    digests = lineage.get("sha256") or {}
    if len(digests) == 1:
        return str(next(iter(digests.values())))
    text = json.dumps(digests, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest() if digests else ""


def _fit(value: str) -> str:
    """Bring a text to what a metadata value may hold: 256 letters, digits, spaces and _.:/=+-@."""
    kept = "".join(
        character if character.isalnum() or character in "_.:/=+-@" else " " for character in value
    )
    return " ".join(kept.split())[:VALUE_LIMIT].rstrip()
