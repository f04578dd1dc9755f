"""The tables of project.toml: every key, its default, its limits and what it is for."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.contract import Column, ColumnType, Task, Unseen

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

    def to_column(self, name: str) -> Column:
        """Give the column of this name as the contract has it."""
        return Column(name=name, **self.model_dump())


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
