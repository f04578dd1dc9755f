"""Registering: gates, metadata, idempotency, by service and against moto."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import boto3
import pytest

from core.bundle import EVALUATION, Bundle
from core.errors import BundleError, StorageError
from lambdas.register import handler as register_handler
from lambdas.register.ports import BundleStore, ModelRegistry
from lambdas.register.service import Entry, Policy, Request, Stage, Status, judge, register
from tests.lambdas.bundles import MODEL_URI, RUN, files

REQUEST = Request(RUN, MODEL_URI, "arn:aws:sagemaker:job", "2026-01-01T00:00:00Z")
OPEN = Policy({}, {}, "automatic")
STAGE = Stage("shop-prod", "prod", "image")
# CustomerMetadataValue in the SageMaker API reference.
VALUE = re.compile(r"[\w\s_.:/=+\-@]{1,256}")


class FakeBundles:
    def __init__(self, content: dict[str, bytes] | None = None) -> None:
        self.content = content or files()

    def open(self, model_uri: str) -> Bundle:
        return Bundle(self.content.__getitem__)

    def digest(self, model_uri: str, name: str) -> str:
        return hashlib.sha256(self.content[name]).hexdigest()


class FakeRegistry:
    def __init__(self) -> None:
        self.definitions: list[Mapping[str, Any]] = []
        self.entries: dict[str, Entry] = {}
        self.descriptions: dict[str, str] = {}
        self.fail_decision = False

    def find(self, model_uri: str) -> Entry | None:
        return next(
            (e for e in self.entries.values() if e.properties["model_uri"] == model_uri), None
        )

    def create(self, definition: Mapping[str, Any]) -> str:
        self.definitions.append(definition)
        arn = f"arn/{len(self.definitions)}"
        self.entries[arn] = Entry(
            arn, definition["ModelApprovalStatus"], definition["CustomerMetadataProperties"]
        )
        return arn

    def decide(self, entry: Entry, status: Status, reason: str) -> None:
        if self.fail_decision:
            raise StorageError("throttled")
        self.entries[entry.arn] = Entry(entry.arn, status, entry.properties)
        self.descriptions[entry.arn] = reason


def evaluation(promote: bool = True, **metrics: float) -> dict[str, Any]:
    return {
        "metrics": {name: {"value": value} for name, value in metrics.items()},
        "decision": {"promote": promote, "reason": "compared with the champion"},
    }


@pytest.mark.parametrize(
    ("found", "policy", "status", "reason"),
    [
        (evaluation(auc=0.9), Policy({"auc": 0.9}, {}, "automatic"), "Approved", "compared"),
        (evaluation(auc=0.9), Policy({"auc": 0.9}, {}, "manual"), "PendingManualApproval", "wait"),
        (evaluation(auc=0.89), Policy({"auc": 0.9}, {}, "manual"), "Rejected", "0.89 is below"),
        (evaluation(rmse=13), Policy({}, {"rmse": 12.5}, "automatic"), "Rejected", "13 is above"),
        (evaluation(rmse=12.5), Policy({}, {"rmse": 12.5}, "automatic"), "Approved", "compared"),
        (evaluation(False, auc=1), OPEN, "Rejected", "compared"),
        (evaluation(auc=1), Policy({"f1": 0.1}, {}, "automatic"), "Rejected", "not measured"),
        (
            evaluation(auc=float("nan")),
            Policy({"auc": 0.1}, {}, "automatic"),
            "Rejected",
            "nan is below",
        ),
        (
            evaluation(auc=float("nan")),
            Policy({}, {"auc": 0.1}, "automatic"),
            "Rejected",
            "nan is above",
        ),
    ],
)
def test_the_gates(found: dict[str, Any], policy: Policy, status: str, reason: str) -> None:
    """A bound is met on it; a metric that is absent or not a number meets none."""
    verdict = judge(found, policy)
    assert verdict.status == status
    assert reason in verdict.reason


def doubt(name: str, sentence: str = "tells all", accepted: bool = False) -> dict[str, Any]:
    return {"name": name, "sentence": sentence, "columns": [], "accepted": accepted}


def doubted(*doubts: dict[str, Any], promote: bool = True) -> dict[str, Any]:
    return {**evaluation(promote, auc=0.9), "doubts": list(doubts)}


@pytest.mark.parametrize("approval", ["automatic", "manual"])
def test_a_doubt_waits_for_a_person(approval: Any) -> None:
    """Whatever the policy says; the reason is the first doubt's sentence and counts the others."""
    policy = Policy({"auc": 0.9}, {}, approval)
    one = judge(doubted(doubt("alone:a", "'a' tells the target")), policy)
    assert one.status == "PendingManualApproval"
    assert one.reason == "waits for a person: 'a' tells the target"
    three = judge(doubted(doubt("alone:a", "first"), doubt("files"), doubt("order")), policy)
    assert three.reason == "waits for a person: first (and 2 more)"


def test_gates_and_the_comparison_reject_before_any_doubt() -> None:
    """A model that nobody should approve does not wait for approval."""
    missed = judge(doubted(doubt("alone:a")), Policy({"auc": 0.95}, {}, "automatic"))
    assert (missed.status, missed.reason) == ("Rejected", "auc 0.9 is below the gate's 0.95")
    assert judge(doubted(doubt("alone:a"), promote=False), OPEN).status == "Rejected"


def test_an_accepted_doubt_holds_nothing_up() -> None:
    """It is accepted by the settings of its run and by those of today, both; one is too few."""
    policy = Policy({}, {}, "automatic", ("alone:a",))
    assert judge(doubted(doubt("alone:a", accepted=True)), policy).status == "Approved"
    assert judge(doubted(doubt("alone:a", accepted=True)), OPEN).status == "PendingManualApproval"
    assert judge(doubted(doubt("alone:a")), policy).status == "PendingManualApproval"
    both = judge(doubted(doubt("alone:a", "old", accepted=True), doubt("files", "new")), policy)
    assert both.reason == "waits for a person: new"


def test_a_reason_fits_its_description() -> None:
    """A sentence of any length leaves room for the number of other doubts."""
    verdict = judge(doubted(doubt("alone:a", "x" * 3000), doubt("order")), OPEN)
    assert len(verdict.reason) == 1024
    assert verdict.reason.startswith("waits for a person: xxx")
    assert verdict.reason.endswith("... (and 1 more)")


def waiting_bundles(*doubts: dict[str, Any]) -> FakeBundles:
    """Return a bundle whose evaluation has these doubts."""
    found = json.loads(files()[EVALUATION]) | {"doubts": list(doubts)}
    return FakeBundles(files(evaluation_json=json.dumps(found).encode()))


def test_the_registry_names_the_doubts() -> None:
    """Those that hold and those that were accepted, in what a metadata value may hold."""
    policy = Policy({}, {}, "automatic", ("order",))
    bundles = waiting_bundles(
        doubt("order", accepted=True), doubt("sum:casual,registered"), doubt("alone:mean radius")
    )
    registry = FakeRegistry()
    register(REQUEST, policy, STAGE, bundles, registry)
    properties = registry.definitions[0]["CustomerMetadataProperties"]
    assert properties["doubts"] == "sum:casual registered / alone:mean radius"
    assert properties["doubts_accepted"] == "order"
    assert properties["decision"] == "PendingManualApproval"


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        (["a" * 256], "a" * 256),
        (["a" * 300], "a" * 256),
        (["a" * 100, "b" * 153], "a" * 100 + " / " + "b" * 153),
        (["a" * 100, "b" * 154], "a" * 100 + " / and 1 more"),
        (["a" * 100, "b" * 100, "c" * 100], "a" * 100 + " / " + "b" * 100 + " / and 1 more"),
        (["a" * 256, "b", "c"], "3 with long names"),
    ],
)
def test_many_doubts_are_counted_in_the_registry(names: list[str], listed: str) -> None:
    """Whole names as far as 256 characters hold them, then how many more."""
    registry = FakeRegistry()
    bundles = waiting_bundles(*(doubt(name) for name in names))
    register(REQUEST, OPEN, STAGE, bundles, registry)
    value = registry.definitions[0]["CustomerMetadataProperties"]["doubts"]
    assert value == listed
    assert len(value) <= 256


def test_the_notice_says_why_and_how_to_go_on() -> None:
    """Each sentence, how to approve once, how to reject, and the line that accepts for good."""
    registry = FakeRegistry()
    policy = Policy({}, {}, "automatic", ("order",))
    bundles = waiting_bundles(doubt("alone:balance", "'balance' tells"), doubt("files", "by file"))
    outcome = register(REQUEST, policy, STAGE, bundles, registry)
    notice = outcome["notice"]
    assert "Model version 1 of shop-prod" in notice
    assert "- alone:balance: 'balance' tells\n- files: by file\n" in notice
    assert f"{MODEL_URI}report.html" in notice
    assert "    python -m ops approve 1 --stage prod\n" in notice
    assert "    python -m ops approve 1 --stage prod --reject\n" in notice
    assert '    [gates]\n    accepted = ["order", "alone:balance", "files"]\n' in notice
    assert "docs/judge.md" in notice
    assert register(REQUEST, policy, STAGE, bundles, registry) == outcome


def test_many_doubts_make_no_long_notice() -> None:
    """A message of SNS and the output of a state hold 256 KB."""
    bundles = waiting_bundles(*(doubt(f"alone:{i}", "long " * 9000) for i in range(300)))
    notice = register(REQUEST, OPEN, STAGE, bundles, FakeRegistry())["notice"]
    assert "and 290 more, in the report" in notice
    assert len(notice.encode()) < 32_000


def test_manual_approval_gives_notice_too() -> None:
    """Without doubts there is nothing to accept: a person approves or rejects."""
    manual = Policy({}, {}, "manual")
    notice = register(REQUEST, manual, STAGE, FakeBundles(), FakeRegistry())["notice"]
    assert "better than the champion by 0.02" in notice
    assert "waits for a person: better" not in notice
    assert "python -m ops approve 1 --stage prod" in notice
    assert "accepted" not in notice


def test_nobody_is_told_what_a_person_has_decided() -> None:
    """A retry after the approval finds a decision, not a version that waits."""
    registry = FakeRegistry()
    bundles = waiting_bundles(doubt("alone:balance"))
    register(REQUEST, OPEN, STAGE, bundles, registry)
    entry = registry.entries["arn/1"]
    registry.entries["arn/1"] = Entry(entry.arn, "Approved", entry.properties)
    again = register(REQUEST, OPEN, STAGE, bundles, registry)
    assert (again["status"], again["notice"]) == ("Approved", "")
    assert registry.entries["arn/1"].status == "Approved"


def test_all_missed_gates_are_named() -> None:
    """A person sees every reason at once."""
    verdict = judge(evaluation(auc=0.5, rmse=9), Policy({"auc": 0.9}, {"rmse": 1}, "automatic"))
    assert "auc" in verdict.reason
    assert "rmse" in verdict.reason


def test_a_package_holds_what_delivery_and_people_need() -> None:
    """Bundle, metrics, baselines and lineage are on the package, within AWS's limits."""
    registry = FakeRegistry()
    outcome = register(REQUEST, OPEN, STAGE, FakeBundles(), registry)
    assert outcome == {
        "status": "Approved",
        "package_arn": "arn/1",
        "reason": "better than the champion by 0.02 (roc_auc)",
        "notice": "",
    }
    (definition,) = registry.definitions
    (container,) = definition["InferenceSpecification"]["Containers"]
    assert container["Image"] == "image"
    source = container["ModelDataSource"]["S3DataSource"]
    assert source == {"S3Uri": MODEL_URI, "S3DataType": "S3Prefix", "CompressionType": "None"}
    statistics = definition["ModelMetrics"]["ModelQuality"]["Statistics"]
    assert statistics["S3Uri"] == MODEL_URI + EVALUATION
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", statistics["ContentDigest"])
    assert "ModelDataQuality" in definition["DriftCheckBaselines"]
    assert re.fullmatch(r"[a-zA-Z0-9-]{1,36}", definition["ClientToken"])
    properties = definition["CustomerMetadataProperties"]
    assert properties["run"] == RUN
    assert properties["model_uri"] == MODEL_URI
    assert properties["fingerprint"] == "f" * 64
    assert properties["trigger"] == "data"
    assert properties["commit"] == "c0ffee"
    assert properties["data_sha256"] == "a" * 64
    assert properties["metric.roc_auc"] == "0.91 from 0.88 to 0.93"
    assert properties["metric.log_loss"] == "0.31"
    assert len(properties) <= 50
    for key, value in properties.items():
        assert VALUE.fullmatch(key), key
        assert VALUE.fullmatch(value), (key, value)


def test_a_rejected_model_is_registered_with_its_reason() -> None:
    """A model that misses the gate stays visible, and says why."""
    registry = FakeRegistry()
    outcome = register(
        REQUEST, Policy({"roc_auc": 0.99}, {}, "automatic"), STAGE, FakeBundles(), registry
    )
    assert outcome["status"] == "Rejected"
    assert registry.entries["arn/1"].status == "Rejected"
    assert "0.91 is below the gate's 0.99" in registry.descriptions["arn/1"]


def test_registering_twice_is_registering_once() -> None:
    """A retry of the state finds the package."""
    registry = FakeRegistry()
    first = register(REQUEST, OPEN, STAGE, FakeBundles(), registry)
    assert register(REQUEST, OPEN, STAGE, FakeBundles(), registry) == first
    assert len(registry.definitions) == 1


def test_a_registration_that_broke_off_is_finished() -> None:
    """A package that was created and not decided gets its decision from the retry."""
    registry = FakeRegistry()
    registry.fail_decision = True
    with pytest.raises(StorageError):
        register(REQUEST, OPEN, STAGE, FakeBundles(), registry)
    registry.fail_decision = False
    assert register(REQUEST, OPEN, STAGE, FakeBundles(), registry)["status"] == "Approved"
    assert len(registry.definitions) == 1


def test_a_persons_decision_is_not_overruled() -> None:
    """What a person decided in between stands."""
    registry = FakeRegistry()
    register(REQUEST, OPEN, STAGE, FakeBundles(), registry)
    entry = registry.entries["arn/1"]
    registry.entries["arn/1"] = Entry(entry.arn, "Rejected", entry.properties)
    assert register(REQUEST, OPEN, STAGE, FakeBundles(), registry)["status"] == "Rejected"
    assert registry.entries["arn/1"].status == "Rejected"


def test_an_altered_bundle_is_not_registered() -> None:
    """Every file is compared with the manifest before anything is recorded."""
    content = files()
    content["golden.json"] += b" "
    registry = FakeRegistry()
    with pytest.raises(BundleError, match=r"golden\.json"):
        register(REQUEST, OPEN, STAGE, FakeBundles(content), registry)
    assert registry.definitions == []


def test_the_event_is_read() -> None:
    """The bundle's folder always ends in a slash."""
    request = Request.from_event({"run": RUN, "model_uri": MODEL_URI.rstrip("/")})
    assert request.model_uri == MODEL_URI


@pytest.fixture
def stored(aws: None) -> None:
    s3 = boto3.client("s3")
    where: Any = {"LocationConstraint": "eu-west-1"}
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration=where)
    for name, body in files().items():
        s3.put_object(Bucket="bucket", Key=f"models/{RUN}/output/model/{name}", Body=body)
    boto3.client("sagemaker").create_model_package_group(ModelPackageGroupName="shop-dev")


def test_the_handler_registers_against_aws(stored: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is in SageMaker's registry with status, reason, container and metadata."""
    environ = {
        "DEPLOYMENT": "shop-dev",
        "STAGE": "dev",
        "BUCKET": "bucket",
        "MODEL_PACKAGE_GROUP": "shop-dev",
        "INFERENCE_IMAGE": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/sklearn:1.9-0",
        "GATES": json.dumps({"minimum": {"roc_auc": 0.9}, "maximum": {}, "max_regression": 0.0}),
        "APPROVAL": "manual",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    register_handler._ports.cache_clear()
    register_handler._environment.cache_clear()
    event = {"run": RUN, "model_uri": MODEL_URI, "job_arn": RUN, "now": "2026-01-01T00:00:00Z"}
    outcome = register_handler.handler(event, None)
    assert outcome["status"] == "PendingManualApproval"
    assert register_handler.handler(event, None)["package_arn"] == outcome["package_arn"]
    client = boto3.client("sagemaker")
    package = client.describe_model_package(ModelPackageName=outcome["package_arn"])
    assert package["ModelPackageVersion"] == 1
    assert "waits for a person" in package["ApprovalDescription"]
    assert package["CustomerMetadataProperties"]["run"] == RUN
    assert package["InferenceSpecification"]["Containers"][0]["Image"].endswith("sklearn:1.9-0")


def test_the_store_streams_and_names_what_is_missing(stored: None) -> None:
    """A missing file is an error that names it."""
    store = BundleStore()
    expected = hashlib.sha256(files()[EVALUATION]).hexdigest()
    assert store.digest(MODEL_URI, EVALUATION) == expected
    assert store.open(MODEL_URI).contract().target == "bought"
    with pytest.raises(StorageError, match=r"nothing\.json"):
        store.digest(MODEL_URI, "nothing.json")
    assert ModelRegistry("shop-dev").find(MODEL_URI) is None
