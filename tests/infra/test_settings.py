"""Every setting of the infrastructure changes something in the templates."""

import json
import re
from typing import Any

import pytest

from core.errors import SettingsError
from infra.serving.engine import serving_engine
from infra.serving.traffic import shift_minutes
from infra.training.training import trainable
from tests.infra.synthesis import (
    Resolver,
    Templates,
    only,
    resources,
    settings_of,
    synthesise,
)

CHANGES: dict[str, dict[str, Any]] = {
    "data": {
        "arrival": "merge",
        "separator": ";",
        "encoding": "latin-1",
        "columns": ["customer", "age", "churned"],
    },
    "training": {
        "instance_type": "ml.c5.xlarge",
        "volume_gb": 33,
        "max_runtime_seconds": 7200,
        "spot": False,
    },
    "problem": {"id_column": "customer"},
    "gates": {"approval": "manual", "minimum": {"roc_auc": 0.81}},
    "serving": {
        "engine": "onnx",
        "auth": "api_key",
        "memory_mb": 2048,
        "timeout_seconds": 17,
        "architecture": "x86_64",
        "rate_limit": 7,
        "burst_limit": 9,
        "max_rows": 77,
        "traffic_shift": "linear_10_percent_every_3_minutes",
        "public_docs": True,
        "cors_origins": ["https://one.example", "https://two.example"],
        "provisioned_concurrency": 2,
        "latency_alarm_ms": 321,
    },
    "capture": {"sample_rate": 0.25, "buffer_seconds": 120},
    "monitoring": {
        "schedule_minutes": 30,
        "false_alarms_per_year": 3.5,
        "min_window_rows": 333,
        "parallel_above_mb": 44.5,
        "email": "team@example.com",
    },
    "retraining": {
        "debounce_seconds": 11,
        "min_new_labels": 222,
        "cool_down_hours": 5.5,
        "schedule": "rate(9 days)",
    },
    "budget": {"monthly_usd": 12.5},
    "retention": {"captures_days": 12, "logs_days": 7, "reports_days": 34},
}


@pytest.fixture(scope="module")
def changed() -> Templates:
    """Every setting at another value than its default."""
    return synthesise(settings_of(CHANGES))


def variables(templates: Templates, function: str) -> dict[str, str]:
    """Give the environment of a function, intrinsics resolved."""
    resolver = Resolver(templates)
    for part, template in templates.items():
        for resource in resources({part: template}, "AWS::Lambda::Function").values():
            if resource["Properties"]["Handler"].split(".")[1] == function:
                given = resource["Properties"]["Environment"]["Variables"]
                return dict(resolver.resolve(part, given))
    raise LookupError(function)


def predict(templates: Templates) -> dict[str, Any]:
    """Give the properties of the predict function."""
    for resource in resources(templates, "AWS::Lambda::Function").values():
        if ".predict." in resource["Properties"]["Handler"]:
            return dict(resource["Properties"])
    raise LookupError("predict")


def machine(templates: Templates) -> dict[str, Any]:
    """Give the definition of the training stack's state machine."""
    training = {"training": templates["training"]}
    definition = only(training, "AWS::StepFunctions::StateMachine")["DefinitionString"]
    parsed: dict[str, Any] = json.loads(Resolver(templates).resolve("training", definition))
    return parsed


def alarm_name(properties: dict[str, Any]) -> str:
    """Give an alarm's name, without the version that it may end in."""
    name = properties["AlarmName"]
    return name if isinstance(name, str) else name["Fn::Join"][1][0].removesuffix("-")


def alarm(templates: Templates, kind: str) -> dict[str, Any]:
    """Give the properties of an alarm by its kind."""
    for resource in resources(templates, "AWS::CloudWatch::Alarm").values():
        if alarm_name(resource["Properties"]) == f"churn-dev-{kind}":
            return dict(resource["Properties"])
    raise LookupError(kind)


def test_training_settings_reach_the_job(changed: Templates, templates: Templates) -> None:
    """Instance, disk, time limits and Spot are the job's."""
    job = machine(changed)["States"]["Train"]["Parameters"]
    assert job["ResourceConfig"] == {
        "InstanceCount": 1,
        "InstanceType": "ml.c5.xlarge",
        "VolumeSizeInGB": 33,
    }
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 7200}
    assert job["EnableManagedSpotTraining"] is False
    spot = machine(templates)["States"]["Train"]["Parameters"]
    assert spot["EnableManagedSpotTraining"] is True
    assert spot["StoppingCondition"]["MaxWaitTimeInSeconds"] == 7200
    assert "CheckpointConfig" in spot


def test_jobs_are_network_isolated_and_leave_the_bundle_unpacked(templates: Templates) -> None:
    """The job has no network, and the model lies as a folder."""
    job = machine(templates)["States"]["Train"]["Parameters"]
    assert job["EnableNetworkIsolation"] is True
    assert job["OutputDataConfig"]["CompressionType"] == "NONE"
    assert job["AlgorithmSpecification"]["TrainingImage"] == (
        "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3"
    )


def test_parallel_jobs_make_a_tuning_job() -> None:
    """`parallel_jobs` above 1 spreads the search over machines, under a name that fits."""
    given = synthesise(settings_of({"training": {"search": {"parallel_jobs": 3, "trials": 9}}}))
    train = machine(given)["States"]["Train"]
    assert train["Resource"].endswith(":createHyperParameterTuningJob.sync")
    config = train["Parameters"]["HyperParameterTuningJobConfig"]
    assert config["ResourceLimits"] == {
        "MaxNumberOfTrainingJobs": 9,
        "MaxParallelTrainingJobs": 3,
    }
    assert config["HyperParameterTuningJobObjective"] == {
        "Type": "Maximize",
        "MetricName": "objective",
    }
    algorithm = train["Parameters"]["TrainingJobDefinition"]["AlgorithmSpecification"]
    (metric,) = algorithm["MetricDefinitions"]
    assert metric["Name"] == "objective"
    found = re.search(metric["Regex"], "metric:objective=-0.0625e-1\n")
    assert found is not None
    assert found[1] == "-0.0625e-1"
    # churn-dev-20261121-021500-abcdef: the parts after the deployment's own two.
    assert train["Parameters"]["HyperParameterTuningJobName.$"] == (
        "States.Format('churn-dev-{}-{}-{}', "
        "States.ArrayGetItem(States.StringSplit($.plan.run, '-'), 2), "
        "States.ArrayGetItem(States.StringSplit($.plan.run, '-'), 3), "
        "States.ArrayGetItem(States.StringSplit($.plan.run, '-'), 4))"
    )


def test_serving_settings_reach_the_api(changed: Templates) -> None:
    """Size, time, limits, engine, architecture and origins are where they act."""
    function = predict(changed)
    assert function["MemorySize"] == 2048
    assert function["Timeout"] == 17
    assert function["Architectures"] == ["x86_64"]
    environment = variables(changed, "predict")
    assert environment["ENGINE"] == "onnx"
    assert environment["MAX_ROWS"] == "77"
    assert environment["CORS_ORIGINS"] == "https://one.example,https://two.example"
    assert environment["CAPTURE_SAMPLE_RATE"] == "0.25"
    (settings,) = only(changed, "AWS::ApiGateway::Stage")["MethodSettings"]
    assert settings["ThrottlingRateLimit"] == 7
    assert settings["ThrottlingBurstLimit"] == 9
    assert alarm(changed, "latency")["Threshold"] == 321
    assert alarm(changed, "release-latency")["Threshold"] == 321
    alias = only(changed, "AWS::Lambda::Alias")
    assert alias["ProvisionedConcurrencyConfig"] == {"ProvisionedConcurrentExecutions": 2}
    group = only(changed, "AWS::CodeDeploy::DeploymentGroup")
    (_, _, gradual) = group["DeploymentConfigName"]["Fn::If"]
    assert gradual == "CodeDeployDefault.LambdaLinear10PercentEvery3Minutes"


def test_each_kind_of_caller() -> None:
    """Callers sign (iam), bring a key (api_key) or nothing (open); preflights are open."""

    def methods(auth: str, **more: Any) -> dict[tuple[str, str], tuple[str, bool]]:
        given = synthesise(settings_of({"serving": {"auth": auth, **more}}))
        paths = {
            name: resource["Properties"]["PathPart"]
            for name, resource in resources(given, "AWS::ApiGateway::Resource").items()
        }
        return {
            (p["HttpMethod"], paths.get(p["ResourceId"].get("Ref"), "")): (
                p["AuthorizationType"],
                p.get("ApiKeyRequired", False),
            )
            for p in (r["Properties"] for r in resources(given, "AWS::ApiGateway::Method").values())
        }

    assert set(methods("iam").values()) == {("AWS_IAM", False)}
    assert set(methods("open").values()) == {("NONE", False)}
    keyed = methods("api_key", public_docs=True, cors_origins=["*"])
    assert keyed[("POST", "predict")] == ("NONE", True)
    assert keyed[("GET", "docs")] == ("NONE", False)
    assert keyed[("GET", "openapi.json")] == ("NONE", False)
    assert keyed[("OPTIONS", "predict")] == ("NONE", False)


def test_an_open_api_is_refused_in_production() -> None:
    """`auth = "open"` never reaches a prod stage."""
    with pytest.raises(SettingsError, match="open"):
        settings_of({"serving": {"auth": "open"}}, "prod")


def test_an_api_key_comes_with_its_usage_plan(changed: Templates) -> None:
    """The holder of a key has the same limits."""
    assert only(changed, "AWS::ApiGateway::UsagePlan")["Throttle"] == {
        "BurstLimit": 9,
        "RateLimit": 7,
    }


def test_capture_and_monitoring_settings(changed: Templates) -> None:
    """Buffer, schedule, error budget and address are where they act."""
    stream = only(changed, "AWS::KinesisFirehose::DeliveryStream")
    destination = stream["ExtendedS3DestinationConfiguration"]
    assert destination["BufferingHints"]["IntervalInSeconds"] == 120
    followed = json.loads(variables(changed, "monitor")["SETTINGS"])
    assert followed["schedule_minutes"] == 30
    assert followed["false_alarms_per_year"] == 3.5
    assert followed["min_window_rows"] == 333
    assert followed["parallel_above_mb"] == 44.5
    assert followed["min_new_labels"] == 222
    assert alarm(changed, "monitor-heartbeat")["Period"] == 1800
    schedules = {
        rule["Properties"].get("ScheduleExpression")
        for rule in resources(changed, "AWS::Events::Rule").values()
    }
    assert {"rate(30 minutes)", "rate(9 days)"} <= schedules
    assert only(changed, "AWS::SNS::Subscription")["Endpoint"] == "team@example.com"


def test_retraining_and_gates_reach_their_functions(changed: Templates) -> None:
    """What plan and register decide by comes from project.toml."""
    plan = variables(changed, "plan")
    assert plan["MIN_NEW_LABELS"] == "222"
    assert plan["COOL_DOWN_HOURS"] == "5.5"
    assert json.loads(plan["DATA"]) == {
        "arrival": "merge",
        "separator": ";",
        "encoding": "latin-1",
        "columns": ["customer", "age", "churned"],
        "id_column": "customer",
    }
    assert machine(changed)["States"]["Debounce"]["Seconds"] == 11
    register = variables(changed, "register")
    assert register["APPROVAL"] == "manual"
    assert json.loads(register["GATES"])["minimum"] == {"roc_auc": 0.81}


def test_retention_and_budget(changed: Templates, templates: Templates) -> None:
    """Captures, reports and logs expire; a budget exists only where one is set."""
    rules = only(changed, "AWS::S3::Bucket")["LifecycleConfiguration"]["Rules"]
    days = {rule["Id"]: rule.get("ExpirationInDays") for rule in rules}
    assert days["captures"] == 12
    assert days["reports"] == 34
    assert {
        group["Properties"]["RetentionInDays"]
        for group in resources(changed, "AWS::Logs::LogGroup").values()
    } == {7}
    assert only(changed, "AWS::Budgets::Budget")["Budget"]["BudgetLimit"]["Amount"] == 12.5
    assert resources(templates, "AWS::Budgets::Budget") == {}


def test_snap_start_is_a_setting(templates: Templates) -> None:
    """SnapStart is on only where it is asked for."""
    given = synthesise(settings_of({"serving": {"snap_start": True}}))
    assert predict(given)["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert "SnapStart" not in predict(templates)


@pytest.mark.parametrize(
    ("task", "candidates", "engine"),
    [
        ("binary", [], "table"),
        ("regression", ["linear", "boosting"], "table"),
        ("binary", ["linear", "mine"], "onnx"),
        ("anomaly", [], "onnx"),
        ("clustering", [], "onnx"),
    ],
)
def test_auto_picks_the_engine(task: str, candidates: list[str], engine: str) -> None:
    """Tables serve what folds into tables; onnxruntime serves the rest."""
    problem: dict[str, Any] = {"task": task}
    settings = settings_of({"problem": problem, "training": {"candidates": candidates}})
    assert serving_engine(settings) == engine


@pytest.mark.parametrize(
    ("shift", "minutes"),
    [
        ("all_at_once", 0),
        ("canary_10_percent_5_minutes", 5),
        ("canary_10_percent_30_minutes", 30),
        ("linear_10_percent_every_1_minute", 9),
        ("linear_10_percent_every_10_minutes", 90),
    ],
)
def test_the_queue_outlasts_the_shift(shift: str, minutes: int) -> None:
    """A promotion that finds the stack busy is tried until any shift and rollback are over."""
    assert shift_minutes(shift) == minutes
    given = synthesise(settings_of({"serving": {"traffic_shift": shift}}))
    queue = next(
        resource["Properties"]
        for resource in resources(given, "AWS::SQS::Queue").values()
        if "RedrivePolicy" in resource["Properties"]
    )
    tries = queue["RedrivePolicy"]["maxReceiveCount"]
    assert tries * queue["VisibilityTimeout"] > 2 * minutes * 60


def test_the_source_does_not_change_with_what_training_does_not_read() -> None:
    """An edit of the serving side gives the job the same settings; of the training side, others."""
    plain = trainable(settings_of())
    assert trainable(settings_of({"serving": {"memory_mb": 1024}})) == plain
    assert trainable(settings_of({"training": {"metric": "f1"}})) != plain


def test_alarms_lead_to_their_page(templates: Templates) -> None:
    """Every alarm says where its page is, and what missing data means to it."""
    kinds = set()
    for resource in resources(templates, "AWS::CloudWatch::Alarm").values():
        given = resource["Properties"]
        kind = alarm_name(given).removeprefix("churn-dev-")
        assert f"docs/runbook/{kind}.md" in given["AlarmDescription"]
        assert given["DatapointsToAlarm"] <= given["EvaluationPeriods"]
        assert given["TreatMissingData"] in {"ignore", "notBreaching", "breaching"}
        assert ("AlarmActions" in given) == (not kind.startswith("release-"))
        kinds.add(kind)
    assert kinds == {
        *("capture-delivery", "data-quality", "dead-letters", "drift", "latency"),
        *("monitor-heartbeat", "prediction-shift", "promotion-failure", "quality-drop"),
        *("release-errors", "release-latency", "release-predictions", "server-errors"),
        *("throttles", "training-failure"),
    }
    assert alarm(templates, "monitor-heartbeat")["TreatMissingData"] == "breaching"


def test_the_dashboard_shows_service_drift_quality_and_cost(templates: Templates) -> None:
    """One page answers: does it serve, does it drift, is it still good, what does it cost."""
    body = Resolver(templates).resolve(
        "monitoring", only(templates, "AWS::CloudWatch::Dashboard")["DashboardBody"]
    )
    widgets = json.loads(body)["widgets"]
    shown = {(m[0], m[1]) for widget in widgets for m in widget["properties"]["metrics"]}
    assert {
        ("AWS/ApiGateway", "Latency"),
        ("AWS/ApiGateway", "5XXError"),
        ("Driftless", "DriftEvidence"),
        ("Driftless", "QualityDrop"),
        ("AWS/Lambda", "Duration"),
        ("AWS/Logs", "IncomingBytes"),
        ("AWS/States", "ExecutionTime"),
    } <= shown
