"""The settings of one stage: all tables of project.toml, and how they fit together."""

import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from typing import Self

from pydantic import Field, ValidationError, model_validator

from core.contract import Contract
from core.doubts import find_unknown_doubts
from core.errors import ContractError, SettingsError
from core.settings.metrics import METRICS, NOT_FOR_SEARCH
from core.settings.mistakes import explain, suggest
from core.settings.sections import (
    Budget,
    Capture,
    ColumnSettings,
    Data,
    Gates,
    Monitoring,
    ProblemStatement,
    Project,
    Retention,
    Retraining,
    Section,
    Serving,
    Split,
    Training,
)


class Settings(Section):
    """The settings of one stage."""

    project: Project
    data: Data = Data()
    problem: ProblemStatement
    columns: dict[str, ColumnSettings] = Field(default={})
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
        """Name, by a SHA-256, what decides which model is trained and goes live, not how it serves.

        With the inputs and the code it tells Plan whether a run would do anything new.
        """
        parts = self.model_dump(
            mode="json",
            include={
                "data": {"separator", "encoding", "columns", "arrival", "deleted"},
                "problem": True,
                "columns": True,
                "split": True,
                "training": {"candidates", "metric", "time_budget_seconds", "search"},
                "gates": {"minimum", "maximum", "max_regression", "accepted"},
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
            raise SettingsError(explain(error, cls, "project.json")) from error

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
            columns=tuple(column.to_column(name) for name, column in self.columns.items()),
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
        yield from self._problem_contradictions()
        problem, serving = self.problem, self.serving
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
        yield from (
            f"[gates] accepted: {text}" for text in find_unknown_doubts(self.gates.accepted)
        )
        yield from self._metric_contradictions()
        yield from self._column_contradictions()

    def _problem_contradictions(self) -> Iterator[str]:
        problem = self.problem
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

    def _metric_contradictions(self) -> Iterator[str]:
        known = METRICS[self.problem.task]
        needs_target = self.problem.task == "anomaly" and not self.problem.target
        named = [("[training] metric", self.training.metric)] if self.training.metric else []
        named += [("[gates] minimum", name) for name in self.gates.minimum]
        named += [("[gates] maximum", name) for name in self.gates.maximum]
        for key, name in named:
            if name not in known:
                yield f"{key}: {name!r} is no {self.problem.task} metric{suggest(name, known)}"
            elif key == "[training] metric" and name in NOT_FOR_SEARCH:
                usable = ", ".join(other for other in known if other not in NOT_FOR_SEARCH)
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
                Contract("anomaly", (column.to_column(name),))
            except ContractError as error:
                yield f"[columns.{name!r}]: {error.problems[0].message}"
