"""project.toml as frozen, validated models: every key, its default, its limits and what it is for.

`load_settings` reads the file, lays `[stages.NAME]` over the rest, and gives one stage's settings.
Every stage in the file is checked each time, so that a mistake under `[stages.prod]` shows before
it counts.
"""

import difflib
import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.contract import Column, ColumnType, Contract, Task, Unseen
from core.errors import ContractError, SettingsError

TrafficShift = Literal[
    "canary_10_percent_5_minutes",
    "canary_10_percent_10_minutes",
    "canary_10_percent_15_minutes",
    "canary_10_percent_30_minutes",
    "linear_10_percent_every_1_minute",
    "linear_10_percent_every_2_minutes",
    "linear_10_percent_every_3_minutes",
    "linear_10_percent_every_10_minutes",
    "all_at_once",
]

# What CloudWatch Logs accepts (API reference of PutRetentionPolicy).
LogDays = Literal[
    1,
    3,
    5,
    7,
    14,
    30,
    60,
    90,
    120,
    150,
    180,
    365,
    400,
    545,
    731,
    1096,
    1827,
    2192,
    2557,
    2922,
    3288,
    3653,
]

# The metrics that gates may name, and which way is better; a task's first is what its candidates
# compete on unless [training] metric names another. Proper scores come first for classification:
# they judge ranking and calibration at once, and see differences that accuracy and AUC cannot.
METRICS: dict[str, dict[str, Literal["higher", "lower"]]] = {
    "binary": {
        "log_loss": "lower",
        "roc_auc": "higher",
        "pr_auc": "higher",
        "accuracy": "higher",
        "balanced_accuracy": "higher",
        "precision": "higher",
        "recall": "higher",
        "f1": "higher",
        "brier": "lower",
        "calibration_error": "lower",
    },
    "multiclass": {
        "log_loss": "lower",
        "roc_auc": "higher",
        "pr_auc": "higher",
        "accuracy": "higher",
        "balanced_accuracy": "higher",
        "precision": "higher",
        "recall": "higher",
        "f1": "higher",
        "brier": "lower",
        "calibration_error": "lower",
    },
    "regression": {
        "rmse": "lower",
        "mae": "lower",
        "r2": "higher",
        "median_absolute_error": "lower",
        "error_p90": "lower",
        "error_p95": "lower",
    },
    # roc_auc and pr_auc need a target column that says which rows were anomalies.
    "anomaly": {
        "separation_auc": "higher",
        "stability": "higher",
        "roc_auc": "higher",
        "pr_auc": "higher",
    },
    "clustering": {"silhouette": "higher", "davies_bouldin": "lower", "stability": "higher"},
}

# For gates only: no row has these of its own, so that two models cannot be compared by rows.
_NOT_FOR_SEARCH = ("stability", "davies_bouldin")

# Stages that need no table in the file: to try out, to run on this machine, to serve customers.
KNOWN_STAGES = ("dev", "local", "prod")

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*[a-z0-9]$|^[a-z]$", max_length=20)]
StageName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*[a-z0-9]$|^[a-z]$", max_length=12)]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """One table of project.toml: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class Project(Section):
    """Who this deployment is."""

    name: Name
    """Begins the name of everything in AWS; lower-case letters, digits and hyphens, at most 20."""
    stage: StageName = "dev"
    """The stage when none is named on the command line."""


class Data(Section):
    """The table on this machine that the commands start from; in AWS, whatever lies under data/."""

    file: str = ""
    """Path of a CSV or Parquet file (or a folder of them), relative to project.toml."""
    separator: Literal["", ",", ";", "\t", "|"] = ""
    """Between the fields of a CSV file; "" finds out."""
    encoding: Literal["", "utf-8", "latin-1", "utf-16"] = ""
    """Of a CSV file; "" finds out."""
    columns: tuple[str, ...] = ()
    """Names of the columns of a CSV file that has no header; leave out where it has one."""
    arrival: Literal["append", "snapshot", "merge"] = "append"
    """How files under data/ make one table. append: rows add up, equal rows of different files
    count once; snapshot: the newest file (or folder of files) is the table; merge: the newest row
    of each [problem] id_column counts."""
    deleted: str = ""
    """A column that marks rows as deleted (true, yes, a date); such rows do not count."""


class ProblemStatement(Section):
    """What is learned."""

    task: Task
    """binary, multiclass, regression, anomaly or clustering."""
    target: str | None = None
    """The column to predict; anomaly detection and clustering need none."""
    positive: str | None = None
    """The class that the threshold, recall and precision are about; of a binary or anomaly task."""
    classes: tuple[str, ...] = ()
    """The target's values in the order of the answers; left out, they are read from the data."""
    id_column: str | None = None
    """Names a row; never given to the model."""
    time_column: str | None = None
    """When a row happened; orders the rows for a split by time and for the drift baseline."""
    group_column: str | None = None
    """What rows belong to (a customer, a machine); keeps a group on one side of the split."""
    clusters: int = Field(default=0, ge=0, le=100)
    """Of a clustering: how many; 0 lets training choose."""
    anomaly_share: float = Field(default=0.01, gt=0, lt=0.5)
    """Of an anomaly task: the share of rows that the threshold calls anomalies."""


class ColumnSettings(Section):
    """One column that the model is given; see `core.contract.Column`."""

    type: ColumnType
    """number, integer, boolean, category, timestamp or text."""
    unit: str = ""
    """Shown in reports and in the API's description."""
    min: float | None = None
    """A hard limit: training and the API refuse smaller values."""
    max: float | None = None
    """A hard limit: training and the API refuse larger values."""
    categories: tuple[str, ...] = ()
    """The values of a category, in a fixed order; left out, they are read from the data."""
    missing: bool = False
    """Whether a value may be absent."""
    sensitive: bool = False
    """Never echoed in errors, and never captured as it is."""
    unseen: Unseen = "accept"
    """What to do with a category that is not listed: accept (and count) it, or refuse it."""
    description: str = ""
    """For people: shown in the API's description and in reports."""


class Split(Section):
    """How the rows that judge the model are set apart."""

    strategy: Literal["random", "time", "order", "group"] = "random"
    """random (stratified), time (the newest rows judge by [problem] time_column), order (the same
    for a table that is in time order but does not say the time: its last rows judge) or group
    (whole groups judge)."""
    holdout: float = Field(default=0.25, gt=0.01, lt=0.9)
    """The share of rows that judge; search never sees them."""
    seed: int = Field(default=7, ge=0, lt=2**32)
    """Of everything random in training."""


class Search(Section):
    """How each candidate's hyperparameters are chosen."""

    strategy: Literal["random", "halving"] = "random"
    """random: `trials` draws; halving: many draws on few rows, the better half on more rows."""
    trials: int = Field(default=8, ge=1, le=1000)
    """Draws a candidate; 1 fits the defaults."""
    parallel_jobs: int = Field(default=1, ge=1, le=50)
    """Above 1, a SageMaker tuning job spreads the search over that many machines."""


class Training(Section):
    """The training job."""

    candidates: tuple[str, ...] = ()
    """Which of training/fit/candidates.py compete; left out, all that fit the task."""
    metric: str = ""
    """What the candidates compete on; left out, the task's usual one."""
    time_budget_seconds: int = Field(default=600, ge=1, le=5 * 86400)
    """Search ends by then with the best found so far."""
    instance_type: str = Field(default="ml.m5.large", pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")
    """The machine that SageMaker trains on."""
    volume_gb: int = Field(default=10, ge=1, le=16384)
    """Its disk."""
    max_runtime_seconds: int = Field(default=3600, ge=60, le=28 * 86400)
    """SageMaker stops the job then."""
    spot: bool = True
    """Use spare capacity, about 70% cheaper, with checkpoints; such a job may have to wait."""
    search: Search = Search()


class Gates(Section):
    """What a model must reach before it may be registered as approved."""

    approval: Literal["automatic", "manual"] = "automatic"
    """automatic: a model that passes goes live; manual: a person approves it first."""
    minimum: dict[str, float] = {}
    """The least that a metric of the holdout may be, e.g. {roc_auc = 0.9}."""
    maximum: dict[str, float] = {}
    """The most that an error metric of the holdout may be, e.g. {rmse = 12.5}."""
    max_regression: float = Field(default=0.0, ge=0)
    """After drift: how much worse than the champion, in the metric, is still good enough."""
    accepted: tuple[str, ...] = ()
    """Doubts about a claim that a person has looked at, by name, e.g. ["alone:balance"]; a model
    with any other doubt waits for a person."""


class Serving(Section):
    """The API."""

    engine: Literal["auto", "table", "onnx"] = "auto"
    """table: small and fastest; onnx: any model; auto: table unless a candidate needs onnx."""
    auth: Literal["iam", "api_key", "open"] = "iam"
    """Who may call: signed requests, holders of a key, or anyone (never in prod)."""
    memory_mb: int = Field(default=512, ge=128, le=10240)
    """Of the function; its share of a CPU grows with it."""
    timeout_seconds: int = Field(default=10, ge=1, le=29)
    """Of one request; API Gateway gives up after 29."""
    architecture: Literal["arm64", "x86_64"] = "arm64"
    """Of the function; the local stage uses the machine's own."""
    rate_limit: float = Field(default=50, gt=0, le=10_000)
    """Requests a second that are let through in the long run."""
    burst_limit: int = Field(default=100, ge=1, le=5_000)
    """Requests that are let through at once."""
    max_rows: int = Field(default=1000, ge=1, le=20_000)
    """Rows in one request."""
    traffic_shift: TrafficShift = "canary_10_percent_5_minutes"
    """How a new version takes over from the old one."""
    public_docs: bool = False
    """Serve /docs and /openapi.json to anyone."""
    cors_origins: tuple[str, ...] = ()
    """Web pages that may call the API, e.g. ["https://app.example.com"]; "*" is any."""
    snap_start: bool = False
    """Restore the function from a snapshot instead of starting it; costs by the GB-hour."""
    provisioned_concurrency: int = Field(default=0, ge=0, le=100)
    """Copies of the function that are kept warm; costs by the hour."""
    latency_alarm_ms: int = Field(default=500, ge=1, le=29_000)
    """The slowest 1% of requests beyond this alarms, and rolls a new version back."""
    release_shift: float = Field(default=0.5, ge=0, le=10)
    """Roll back a version whose mean answer is this many standard deviations off; 0: never."""
    keep_versions: int = Field(default=5, ge=0, le=100)
    """Function versions kept beside the live one and the one before it."""


class Capture(Section):
    """The record of predictions that the monitor reads."""

    sample_rate: Share = 1.0
    """The share of requests recorded; the monitor weighs them accordingly."""
    buffer_seconds: int = Field(default=60, ge=0, le=900)
    """How long records are collected before they are written."""


class Monitoring(Section):
    """The drift and quality monitor."""

    schedule_minutes: int = Field(default=60, ge=5, le=24 * 60)
    """A window's length, and how often one is judged."""
    false_alarms_per_year: float = Field(default=1.0, gt=0, le=365)
    """How many drift alarms without a drift are acceptable; the monitor keeps to it."""
    min_window_rows: int = Field(default=200, ge=20, le=1_000_000)
    """A window with fewer rows waits for the next."""
    min_labels: int = Field(default=100, ge=20, le=1_000_000)
    """Quality is judged once this many predictions have their labels."""
    max_quality_drop: float = Field(default=0.05, gt=0, lt=1)
    """The drop of the metric, as a share of what the holdout showed, that alarms."""
    parallel_above_mb: float = Field(default=250, ge=0)
    """New captures above this many MB (gzipped, as stored) are counted by many functions at once,
    by a Step Functions distributed map that is deployed for it; 0 deploys none."""
    email: str = Field(default="", pattern=r"^$|^[^@\s]+@[^@\s]+\.[^@\s]+$")
    """Where alarms are sent; "" sends none."""


class Retraining(Section):
    """When training starts by itself."""

    debounce_seconds: int = Field(default=60, ge=0, le=86400)
    """New data is trained on once nothing else arrived for this long."""
    min_new_labels: int = Field(default=100, ge=1)
    """A drift alarm retrains only once this many new labels are there."""
    cool_down_hours: float = Field(default=24, ge=0, le=24 * 365)
    """The least time between two runs that a drift alarm started."""
    schedule: str = Field(default="", pattern=r"^$|^(rate|cron)\(.+\)$")
    """An EventBridge expression, e.g. "rate(7 days)"; "" keeps no schedule."""


class Budget(Section):
    """A guard on cost."""

    monthly_usd: float = Field(default=0, ge=0)
    """A mail goes out at 80% and 100% of this; 0 sets no budget."""


class Retention(Section):
    """How long records are kept."""

    captures_days: int = Field(default=90, ge=1, le=3650)
    """Recorded predictions."""
    logs_days: LogDays = 30
    """Log lines."""
    reports_days: int = Field(default=365, ge=1, le=3650)
    """The monitor's summaries and reports."""


class Settings(Section):
    """The settings of one stage."""

    project: Project
    data: Data = Data()
    problem: ProblemStatement
    columns: dict[str, ColumnSettings] = {}
    split: Split = Split()
    training: Training = Training()
    gates: Gates = Gates()
    serving: Serving = Serving()
    capture: Capture = Capture()
    monitoring: Monitoring = Monitoring()
    retraining: Retraining = Retraining()
    budget: Budget = Budget()
    retention: Retention = Retention()

    @property
    def stage(self) -> str:
        """Name the stage that these settings are for."""
        return self.project.stage

    @property
    def deployment(self) -> str:
        """Name this stage of this project; stacks, jobs and metrics carry it."""
        return f"{self.project.name}-{self.project.stage}"

    @property
    def is_local(self) -> bool:
        """Say whether assets are built for the machine that runs this."""
        return self.stage == "local"

    @property
    def is_production(self) -> bool:
        """Say whether data outlives the stacks and an open API is refused."""
        return self.stage == "prod" or self.stage.startswith("prod-")

    @property
    def metric(self) -> str:
        """Name what candidates compete on, and champion and challenger after them."""
        return self.training.metric or next(iter(METRICS[self.problem.task]))

    @property
    def digest(self) -> str:
        """Name these settings by the SHA-256 of their JSON, in hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @cached_property
    def training_digest(self) -> str:
        """Name, by a SHA-256, what decides which model is trained, not how it is served."""
        parts = self.model_dump(
            mode="json",
            include={
                "data": {"separator", "encoding", "columns", "arrival", "deleted"},
                "problem": True,
                "columns": True,
                "split": True,
                "training": {"candidates", "metric", "time_budget_seconds", "search"},
                "gates": {"minimum", "maximum", "max_regression"},
            },
        )
        parts["columns"] = list(parts["columns"].items())  # their order is the vector's order
        text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> str:
        """Write the settings as JSON, the same text for the same settings."""
        return self.model_dump_json(indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Settings":
        """Read what `to_json` wrote; raises SettingsError for anything else."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise SettingsError(_explain(error, "project.json", {})) from error

    def contract(self, classes: tuple[str, ...] | None = None) -> Contract:
        """Make the contract that the file declares, with `classes` in place of those not listed.

        Raises ContractError while something is still to be read from the data: no columns, or a
        classification without classes; `training.data.tables.resolve_contract` fills those in.
        """
        problem = self.problem
        if classes is None:
            classes = problem.classes
        return Contract(
            task=problem.task,
            columns=tuple(
                Column(name=name, **column.model_dump()) for name, column in self.columns.items()
            ),
            target=problem.target,
            classes=classes,
            positive=problem.positive,
            time_column=problem.time_column,
            group_column=problem.group_column,
            id_column=problem.id_column,
        )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        """Refuse values that are fine one by one and not together."""
        for message in self._contradictions():
            raise ValueError(message)
        return self

    def _contradictions(self) -> Iterator[str]:
        problem, serving = self.problem, self.serving
        supervised = problem.task in ("binary", "multiclass", "regression")
        if supervised and not problem.target:
            yield f"[problem] target: a {problem.task} task needs the name of the column to predict"
        if problem.positive is not None and problem.task not in ("binary", "anomaly"):
            yield "[problem] positive: only a binary or anomaly task has one; leave it out"
        if problem.classes and problem.task in ("regression", "clustering"):
            yield f"[problem] classes: a {problem.task} task has none; leave them out"
        if problem.classes and problem.positive not in (None, *problem.classes):
            yield f"[problem] positive: {problem.positive!r} is none of the classes"
        if problem.task == "binary" and problem.classes and len(problem.classes) != 2:
            yield f"[problem] classes: a binary task has 2, not {len(problem.classes)}"
        if len(set(problem.classes)) != len(problem.classes):
            yield "[problem] classes: one is listed twice"
        if problem.clusters and problem.task != "clustering":
            yield "[problem] clusters: only a clustering has clusters; leave it out"
        if problem.clusters == 1:
            yield "[problem] clusters: use 2 or more, or 0 to let training choose"
        if problem.target is not None and problem.target in self.columns:
            yield f"[columns.{problem.target!r}]: is the target; the model must not be given it"
        if self.data.arrival == "merge" and not problem.id_column:
            yield '[data] arrival: "merge" needs [problem] id_column, which names a row'
        if self.data.deleted and self.data.deleted in self.columns:
            yield f"[data] deleted: {self.data.deleted!r} is an input; leave it out of [columns]"
        if self.split.strategy == "time" and not problem.time_column:
            yield '[split] strategy: "time" needs [problem] time_column'
        if self.split.strategy == "group" and not problem.group_column:
            yield '[split] strategy: "group" needs [problem] group_column'
        if serving.auth == "open" and self.is_production:
            yield f'[serving] auth: stage {self.stage!r} must not be "open"; use "iam" or "api_key"'
        if serving.snap_start and serving.provisioned_concurrency:
            yield "[serving] snap_start: does not go with provisioned_concurrency; use one of them"
        if serving.burst_limit < serving.rate_limit / 10:
            yield "[serving] burst_limit: must be at least a tenth of rate_limit"
        yield from self._metric_contradictions()
        yield from self._column_contradictions()

    def _metric_contradictions(self) -> Iterator[str]:
        known = METRICS[self.problem.task]
        needs_target = self.problem.task == "anomaly" and not self.problem.target
        named = [("[training] metric", self.training.metric)] if self.training.metric else []
        named += [("[gates] minimum", name) for name in self.gates.minimum]
        named += [("[gates] maximum", name) for name in self.gates.maximum]
        for key, name in named:
            if name not in known:
                yield f"{key}: {name!r} is no {self.problem.task} metric{_suggest(name, known)}"
            elif key == "[training] metric" and name in _NOT_FOR_SEARCH:
                usable = ", ".join(other for other in known if other not in _NOT_FOR_SEARCH)
                yield f"{key}: {name!r} can be gated but not competed on; use one of {usable}"
            elif needs_target and name in ("roc_auc", "pr_auc"):
                yield f"{key}: {name!r} needs [problem] target: the column that tells anomalies"
            elif key.endswith("minimum") and known[name] == "lower":
                yield f"{key}: lower is better for {name}; put it under [gates] maximum"
            elif key.endswith("maximum") and known[name] == "higher":
                yield f"{key}: higher is better for {name}; put it under [gates] minimum"

    def _column_contradictions(self) -> Iterator[str]:
        for name, column in self.columns.items():
            if column.unseen == "refuse" and column.type == "category" and not column.categories:
                continue  # the categories are read from the data before the contract is made
            try:
                Contract("anomaly", (Column(name=name, **column.model_dump()),))
            except ContractError as error:
                yield f"[columns.{name!r}]: {error.problems[0].message}"


def load_settings(path: Path | str, stage: str | None = None) -> Settings:
    """Read project.toml and lay `[stages.STAGE]` over it.

    `stage` defaults to `[project] stage`. Raises SettingsError, one line naming the file and the
    key, for a file that is absent or not TOML, an unknown key, a value out of range, or an unknown
    stage.
    """
    file = Path(path)
    return read_settings(_read_toml(file), stage, file.name)


def read_settings(
    document: Mapping[str, Any], stage: str | None = None, source: str = "project.toml"
) -> Settings:
    """Do what `load_settings` does with a document that is already parsed."""
    base = {key: value for key, value in document.items() if key != "stages"}
    overrides = document.get("stages", {})
    if not isinstance(overrides, dict) or not all(isinstance(v, dict) for v in overrides.values()):
        raise SettingsError(
            f"{source}: [stages] holds a table a stage, as in [stages.prod.serving]"
        )
    project = base.get("project")
    default = project.get("stage", "dev") if isinstance(project, dict) else "dev"
    chosen = stage or (default if isinstance(default, str) else "dev")
    if chosen not in overrides and chosen not in (default, *KNOWN_STAGES):
        names = sorted({*overrides, *KNOWN_STAGES, str(default)})
        raise SettingsError(
            f"{source}: there is no stage {chosen!r}{_suggest(chosen, names)}; "
            f"the stages are {', '.join(names)}; add [stages.{chosen}] to make it one"
        )
    for other in overrides:
        if other != chosen:
            _resolve(base, overrides[other], other, source)
    return _resolve(base, overrides.get(chosen, {}), chosen, source)


def settings_schema() -> dict[str, Any]:
    """Describe project.toml as a JSON Schema, for editors (`#:schema project.schema.json`)."""
    schema = Settings.model_json_schema()
    definitions = schema["$defs"]
    stage = {
        "type": "object",
        "description": "Lays its keys over those of the file, for this stage.",
        "additionalProperties": False,
        "properties": {
            name: value for name, value in schema["properties"].items() if name != "project"
        },
    }
    definitions["Stage"] = _without_required(stage)
    for name in ("ProblemStatement", "ColumnSettings"):
        definitions[f"Stage{name}"] = _without_required(definitions[name])
    text = json.dumps(definitions["Stage"])
    text = text.replace("#/$defs/ProblemStatement", "#/$defs/StageProblemStatement")
    text = text.replace("#/$defs/ColumnSettings", "#/$defs/StageColumnSettings")
    definitions["Stage"] = json.loads(text)
    schema["properties"]["stages"] = {
        "type": "object",
        "description": "What differs in a stage: [stages.prod.serving] and so on.",
        "additionalProperties": {"$ref": "#/$defs/Stage"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "project.toml",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _without_required(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "required"}


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise SettingsError(
            f"{file}: there is no such file; `python -m ops init TABLE` writes one"
        ) from error
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: is not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: is not TOML: {error}") from error


def _resolve(
    base: Mapping[str, Any], override: Mapping[str, Any], stage: str, source: str
) -> Settings:
    if "project" in override:
        raise SettingsError(f"{source}: [stages.{stage}.project]: a stage cannot set this table")
    document = _lay_over(base, override)
    project = document.get("project")
    if isinstance(project, dict):
        document["project"] = {**project, "stage": stage}
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        raise SettingsError(_explain(error, source, override, stage)) from error


def _lay_over(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Replace values by the override's, table by table; a list is replaced whole."""
    merged = dict(base)
    for key, value in override.items():
        below = merged.get(key)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[key] = _lay_over(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _explain(
    error: ValidationError, source: str, override: Mapping[str, Any], stage: str = ""
) -> str:
    """Say the first mistake in one line, and how many more there are."""
    mistakes = error.errors()
    first = mistakes[0]
    location = tuple(str(part) for part in first["loc"])
    kind, message = first["type"], first["msg"]
    if kind == "value_error":
        text = message.removeprefix("Value error, ")
    else:
        where = _locate(location, override, stage)
        if kind == "extra_forbidden":
            text = f"{where}: unknown key{_suggest(location[-1], _known_keys(location[:-1]))}"
        elif kind == "missing":
            text = f"{where}: is missing; add it"
        else:
            shown = json.dumps(first["input"], default=str, ensure_ascii=False)
            shown = shown if len(shown) <= 60 else shown[:57] + "..."
            text = f"{where}: {message[0].lower()}{message[1:]} (it is {shown})"
    if len(mistakes) > 1:
        text += f" (and {len(mistakes) - 1} more)"
    return f"{source}: {text}"


def _locate(location: tuple[str, ...], override: Mapping[str, Any], stage: str) -> str:
    """Write a location as it stands in the file: under [stages.X] if its value is from there."""
    value: Any = override
    for part in location:
        value = value.get(part) if isinstance(value, Mapping) else None
    prefix = ("stages", stage) if value is not None and stage else ()
    path = (*prefix, *location)
    if len(path) == 1:
        return f"[{_quote(path[0])}]"
    return f"[{'.'.join(_quote(part) for part in path[:-1])}] {_quote(path[-1])}"


def _quote(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _known_keys(path: tuple[str, ...]) -> list[str]:
    """List the keys that a table of project.toml knows."""
    model: type[BaseModel] = Settings
    for part in path:
        if model is Settings and part == "columns":
            model = ColumnSettings
            continue
        known = model.model_fields.get(part)
        if known is None:
            continue
        kinds = (known.annotation, *get_args(known.annotation))
        nested = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        model = nested[0] if nested else model
    return [*model.model_fields, *(["stages"] if model is Settings else [])]


def _suggest(name: str, known: Mapping[str, Any] | list[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; use one of {', '.join(known)}"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(settings_schema(), indent=1) + "\n")
