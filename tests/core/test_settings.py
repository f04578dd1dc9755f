"""project.toml: what is accepted, what is refused, and in which words."""

import json
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from core.contract import Column, Contract
from core.doubts import DOUBT_KINDS
from core.errors import ContractError, SettingsError
from core.settings import METRICS, Settings, load_settings, read_settings, settings_schema
from core.settings.sections import ColumnSettings

ROOT = Path(__file__).parents[2]
SMALL: dict[str, Any] = {
    "project": {"name": "churn"},
    "problem": {"task": "binary", "target": "churned", "positive": "yes", "classes": ["no", "yes"]},
    "columns": {
        "age": {"type": "integer", "min": 0, "unit": "years"},
        "plan": {"type": "category"},
    },
}


def change(path: str, value: Any) -> dict[str, Any]:
    """Copy the small document with one key set, e.g. `serving.auth`."""
    document: dict[str, Any] = json.loads(json.dumps(SMALL))
    table = document
    *tables, key = path.split(".")
    for name in tables:
        table = table.setdefault(name, {})
    table[key] = value
    return document


def refusal(document: dict[str, Any], stage: str | None = None) -> str:
    """Read a document that must be refused, and give the one line that says why."""
    with pytest.raises(SettingsError) as caught:
        read_settings(document, stage)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_projects_own_file_is_valid_in_every_stage() -> None:
    """The bundled example synthesises as dev, local and prod."""
    dev, local, prod = (load_settings(ROOT / "project.toml", s) for s in (None, "local", "prod"))

    assert (dev.deployment, local.deployment) == ("breast-cancer-dev", "breast-cancer-local")
    assert (dev.is_local, local.is_local, prod.is_production) == (False, True, True)
    assert local.retraining.debounce_seconds == 5
    assert local.serving.public_docs
    assert not dev.serving.public_docs
    assert local.serving.traffic_shift.startswith("canary")
    assert not local.training.spot
    assert dev.training.spot
    assert prod.gates.approval == "manual"
    assert len(dev.contract().features) == 30
    assert (ROOT / dev.data.file).is_file()


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda p: p.stem)
def test_every_example_is_valid(path: Path) -> None:
    """The files for other problems stay in step with the settings."""
    load_settings(path)


def test_the_schema_in_the_repository_is_fresh() -> None:
    """Editors see the settings that the code reads.

    Write it anew with `python -m core.settings > project.schema.json`.
    """
    assert json.loads((ROOT / "project.schema.json").read_text()) == settings_schema()


@pytest.mark.parametrize(
    "path",
    [ROOT / "project.toml", *sorted((ROOT / "examples").glob("*.toml"))],
    ids=lambda p: p.stem,
)
def test_the_schema_accepts_what_the_code_accepts(path: Path) -> None:
    """An editor marks no error in a file that synthesises."""
    schema = settings_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(tomllib.loads(path.read_text()), schema)


def test_the_schema_refuses_unknown_keys_and_wrong_values() -> None:
    """An editor marks what synth would refuse, in stages too."""
    validator = jsonschema.Draft202012Validator(settings_schema())

    for wrong in (
        change("serving.memory_mbs", 512),
        change("serving.auth", "everyone"),
        change("stages.prod.serving.memory_mbs", 512),
        change("columns.age.kind", "integer"),
    ):
        assert not validator.is_valid(wrong)
    assert validator.is_valid(change("stages.prod.columns.age.min", 18))


def test_settings_survive_json() -> None:
    """The training asset carries the settings of its stage."""
    settings = load_settings(ROOT / "project.toml", "local")

    assert Settings.from_json(settings.to_json()) == settings
    with pytest.raises(SettingsError, match=r"project\.json"):
        Settings.from_json("{}")


def test_settings_cannot_be_changed_after_reading() -> None:
    """What was checked stays what it was."""
    with pytest.raises(ValueError, match="frozen"):
        read_settings(SMALL).serving.auth = "open"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (change("serving.memory_mbs", 1), ["[serving] memory_mbs", "unknown key", "'memory_mb'"]),
        (change("servings.memory_mb", 1), ["[servings]", "unknown key", "'serving'"]),
        (change("columns.age.kind", "x"), ["[columns.age] kind", "unknown key"]),
        (change("training.search.trails", 1), ["[training.search] trails", "'trials'"]),
        (change("serving.memory_mb", 64), ["[serving] memory_mb", "128", "it is 64"]),
        (change("serving.memory_mb", "many"), ["[serving] memory_mb", "integer"]),
        (change("project.name", "Churn Model"), ["[project] name", "Churn Model"]),
        (change("project.name", "x" * 21), ["[project] name", "20"]),
        (change("problem.task", "guess"), ["[problem] task", "'clustering'"]),
        (change("problem.target", None), ["[problem] target", "binary"]),
        (change("problem.positive", "maybe"), ["[problem] positive", "maybe"]),
        (change("problem.classes", ["yes"]), ["[problem] classes"]),
        (change("problem.classes", ["yes", "yes"]), ["[problem] classes"]),
        (change("problem.clusters", 3), ["[problem] clusters"]),
        (change("columns.churned.type", "boolean"), ["churned", "target"]),
        (change("columns.age.categories", ["1"]), ["age", "categories"]),
        (change("columns.plan.min", 1), ["plan", "limits"]),
        (change("columns.age.max", -1), ["age", "above max"]),
        (change("columns.age.min", float("inf")), ["[columns.age] min", "finite"]),
        (change("split.strategy", "time"), ["[split] strategy", "time_column"]),
        (change("split.strategy", "group"), ["[split] strategy", "group_column"]),
        (change("training.metric", "roc"), ["[training] metric", "roc_auc"]),
        (change("gates.minimum", {"log_loss": 0.4}), ["[gates] minimum", "maximum"]),
        (change("gates.maximum", {"roc_auc": 0.4}), ["[gates] maximum", "minimum"]),
        (
            change("gates.accepted", ["alon:balance"]),
            ["[gates] accepted", "'alon:balance'", "did you mean 'alone:COLUMN'?", *DOUBT_KINDS],
        ),
        (change("gates.accepted", ["balance"]), ["[gates] accepted", "'balance'", *DOUBT_KINDS]),
        (change("gates.accepted", ["files", ""]), ["[gates] accepted", "''", *DOUBT_KINDS]),
        (change("gates.accepted", ["alone"]), ["[gates] accepted", "'alone:COLUMN'"]),
        (change("gates.accepted", ["mean:"]), ["[gates] accepted", "'mean:COLUMN'"]),
        (change("gates.accepted", ["files:day"]), ["[gates] accepted", "write 'files'"]),
        (change("gates.accepted", ["files:"]), ["[gates] accepted", "write 'files'"]),
        (change("gates.accepted", ["order:"]), ["[gates] accepted", "'order' or 'order:COLUMN'"]),
        (change("gates.accepted", "order"), ["[gates] accepted", "tuple"]),
        (change("stages.prod.gates.accepted", ["no"]), ["[gates] accepted", "'no'"]),
        (change("training.instance_type", "m5.large"), ["[training] instance_type"]),
        (change("retraining.schedule", "daily"), ["[retraining] schedule"]),
        (change("monitoring.email", "me"), ["[monitoring] email"]),
        (change("retention.logs_days", 31), ["[retention] logs_days", "31"]),
        (change("serving", {"snap_start": True, "provisioned_concurrency": 1}), ["snap_start"]),
        (change("serving", {"burst_limit": 1, "rate_limit": 1000}), ["burst_limit"]),
        (change("stages.prod.serving.auth", "open"), ["[serving] auth", "'prod'"]),
        (change("stages.prod.serving.memory", 1), ["[stages.prod.serving] memory", "unknown key"]),
        (change("stages.prod.project.name", "x"), ["[stages.prod.project]"]),
        (change("stages", {"prod": 3}), ["[stages]"]),
        ({"problem": SMALL["problem"]}, ["[project]", "missing"]),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(
    document: dict[str, Any], words: list[str]
) -> None:
    """Whoever reads the line knows the file, the key, and what to do."""
    line = refusal(document)

    assert line.startswith("project.toml: ")
    for word in words:
        assert word in line


def test_more_mistakes_are_counted() -> None:
    """One line at a time, but it says that it is not the last."""
    document = change("serving", {"memory_mb": 1, "max_rows": 0, "auths": "iam"})

    assert refusal(document).endswith("(and 2 more)")


def test_a_stage_lays_its_keys_over_the_others() -> None:
    """Tables are merged key by key; a list is replaced whole."""
    document = change("serving", {"memory_mb": 256, "cors_origins": ["https://a", "https://b"]})
    document["stages"] = {"test": {"serving": {"cors_origins": ["https://c"]}}}

    assert read_settings(document).serving.cors_origins == ("https://a", "https://b")
    assert read_settings(document, "test").serving.cors_origins == ("https://c",)
    assert read_settings(document, "test").serving.memory_mb == 256
    assert read_settings(document, "test").stage == "test"


def test_a_stage_that_nobody_declared_is_refused() -> None:
    """A misspelt stage does not quietly become a deployment of its own."""
    assert "did you mean 'prod'" in refusal(SMALL, "prd")
    assert read_settings(SMALL, "prod").stage == "prod"
    assert read_settings(change("project.stage", "test")).deployment == "churn-test"


def test_an_open_api_is_refused_only_in_production() -> None:
    """Trying out may be open; serving customers may not."""
    assert read_settings(change("stages.dev.serving.auth", "open"), "dev").serving.auth == "open"
    assert "prod" in refusal(change("serving.auth", "open"), "prod")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b"[project", "is not TOML"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "is missing"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_clear_error(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    """Absent, broken, binary or empty: each is one line that names the file."""
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SettingsError, match=words) as caught:
        load_settings(path)
    assert "mine.toml" in str(caught.value)


def test_the_contract_is_made_of_the_columns_in_their_order() -> None:
    """What the file declares is what the API will check."""
    contract = read_settings(SMALL).contract()

    assert isinstance(contract, Contract)
    assert contract.column_names == ("age", "plan")
    assert (contract.columns[0].min, contract.columns[0].unit) == (0, "years")
    assert contract.outputs == ("no", "yes")
    with pytest.raises(ContractError):
        read_settings(change("problem", {"task": "binary", "target": "y"})).contract()


def test_only_what_changes_the_model_changes_the_training_digest() -> None:
    """A new memory size does not retrain; a new column, order, gate or accepted doubt does."""
    first = read_settings(SMALL).training_digest
    reordered = {**SMALL, "columns": dict(reversed(SMALL["columns"].items()))}

    assert read_settings(change("serving.memory_mb", 256)).training_digest == first
    assert read_settings(change("training.spot", False)).training_digest == first
    for document in (
        change("columns.age.max", 120),
        change("split.seed", 8),
        change("training.search.trials", 9),
        change("gates.minimum", {"roc_auc": 0.7}),
        change("gates.accepted", ["alone:age"]),
        reordered,
    ):
        assert read_settings(document).training_digest != first
    assert read_settings(change("serving.memory_mb", 256)).digest != read_settings(SMALL).digest


def test_doubts_are_accepted_by_name() -> None:
    """A kind that is about the table stands alone; the others say about what, colons included."""
    names = [
        "order",
        "order:day",
        "owner:age+height",
        "alone:age",
        "sum:casual,registered",
        "mean:a:b",
        "drawn-again:yes",
    ]

    assert read_settings(change("gates.accepted", names)).gates.accepted == tuple(names)


def test_every_task_has_metrics() -> None:
    """A gate can be named for each task."""
    assert set(METRICS) == {"binary", "multiclass", "regression", "anomaly", "clustering"}


@pytest.mark.parametrize(
    ("task", "key", "name", "words"),
    [
        ("clustering", "gates.minimum", "stability", None),
        ("clustering", "gates.maximum", "davies_bouldin", None),
        ("clustering", "training.metric", "davies_bouldin", "use one of silhouette"),
        ("anomaly", "gates.minimum", "separation_auc", None),
        ("anomaly", "gates.minimum", "pr_auc", "target"),
        ("anomaly", "training.metric", "stability", "separation_auc"),
        ("clustering", "gates.minimum", "davies_bouldin", "maximum"),
    ],
)
def test_unsupervised_tasks_have_gates(task: str, key: str, name: str, words: str | None) -> None:
    """What the holdout of such a task is measured by can be gated; what cannot compete is said."""
    table, _, last = key.partition(".")
    document = {"project": {"name": "x"}, "problem": {"task": task}}
    document[table] = {last: name if table == "training" else {name: 0.5}}
    if words is None:
        assert read_settings(document).problem.task == task
        return
    with pytest.raises(SettingsError, match=words):
        read_settings(document)


def test_the_metric_is_the_tasks_usual_one_unless_named() -> None:
    """`[training] metric` names what candidates compete on."""
    problem = {"task": "regression", "target": "y"}
    document: dict[str, Any] = {"project": {"name": "x"}, "problem": problem}
    assert read_settings(document).metric == "rmse"
    assert read_settings({**document, "training": {"metric": "r2"}}).metric == "r2"


def test_a_column_of_the_file_has_the_keys_and_defaults_of_a_column_of_the_contract() -> None:
    """The file's are documented and checked by pydantic, which predicting must not import."""
    of_contract = {f.name: f.default for f in fields(Column) if f.name not in ("name", "type")}
    of_file = {name: f.default for name, f in ColumnSettings.model_fields.items() if name != "type"}

    assert list(of_file.items()) == list(of_contract.items())
    assert ColumnSettings(type="number", min=0, unit="m").to_column("x") == Column(
        "x", "number", unit="m", min=0
    )
