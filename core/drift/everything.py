"""Watch a model's inputs and outputs: summaries, tests, and alarms at a rate that the user sets.

::

    build_baseline   training rows, held-out outputs  ->  Baseline   (baseline.json of a bundle)
    summarise        rows that were served            ->  Summary    (counts; `a + b` merges)
    judge            Baseline, Summary, Creep         ->  Verdict, Creep

A window is judged by two rules, which share the error budget evenly:

* *shock*: this window against the baseline. Each column has tests of location, spread and shape and
  exact tests of missing, unseen and out-of-range values; all number columns together have a test of
  their mean ranks (Hotelling's T-square) and of the distance of each row from the cloud of the
  training rows (Mahalanobis). A test alarms when it is significant at its share of the budget *and*
  its effect clears a floor.
* *creep*: all windows since the baseline. A Shiryaev-Roberts detector averaged over components
  (Shin, Ramdas and Rinaldo, "E-detectors", 2023): the sum over every possible start of the
  likelihood ratio "it has shifted since then". Each ratio compares the windows since the start with
  the baseline *and* the windows before it, so that the error of a small baseline is not taken for
  drift.

Every test accounts for the size of the baseline as well as for that of the window. Where the
baseline's rows carry times, the variance between stretches of time enters all of them. Location and
spread rest on saddlepoint approximations: the error rate is designed and measured, not proved
(docs/drift.md).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.contract import Contract
from core.drift.tails import (
    exceedance_tail,
    f_tail,
    hypergeometric_tail,
    normal_tail,
    normal_two_sided,
    t_two_sided,
)
from core.errors import DriftError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Kind = Literal["number", "category", "presence"]
Group = Literal["input", "output", "joint"]

FORMAT = 1
DISTANCE = "distance from the training rows"
MEANS = "all number columns together"

# What a change must be at least, besides being significant.
FLOORS = {
    "location": 0.02,  # AUC beyond one half
    "spread": 0.02,  # the same, of the ranks folded at the median
    "shape": 0.10,  # Cohen's w
    "missing": 0.005,  # share of the rows
    "unseen": 0.002,
    "below": 0.002,
    "above": 0.002,
    "means": 0.10,  # Mahalanobis length of the shift of mean ranks
}
# How a column's share of the budget is split over its tests. Location has most: it is what moves.
TESTS: dict[Kind, dict[str, float]] = {
    "number": {
        "location": 0.42,
        "shape": 0.30,
        "spread": 0.12,
        "missing": 0.04,
        "unseen": 0.04,
        "below": 0.04,
        "above": 0.04,
    },
    "category": {"shape": 0.8, "missing": 0.1, "unseen": 0.1},
    "presence": {"missing": 0.5, "unseen": 0.5},
}
GROUP_SHARES: dict[str, float] = {
    "input": 0.50,
    "missing": 0.11,
    "output": 0.13,
    "joint": 0.13,
    "means": 0.13,
}
"""Columns that miss values in training have a share of their own for that. Where none were missing,
a handful is beyond any chance, and the little that the column's own budget has for it is enough."""
DATA_QUALITY = ("missing", "unseen", "below", "above")

_LARGEST_VOCABULARY = 5_000
_TOP_CATEGORIES = 30
_LARGEST_DISCRETE = 22
_SMALLEST_EXPECTED = 5.0
_CLIP = 6.0
_PRIOR_SCALES = (0.1, 0.3)  # of a creeping shift, in standard deviations
_RATE_RATIOS = (1.5, 2.0, 4.0)
_LARGEST_JUMP = 0.35  # a single row's largest pull on a mean, in standard errors
_HISTORY = 250
_BLOCK = 8192
_CELLS = 4096


class Budget(NamedTuple):
    """How many false alarms are allowed, and how many windows share them."""

    false_alarms_per_year: float
    windows_per_year: float

    @property
    def per_window(self) -> float:
        """Give the probability that a window without drift may alarm."""
        return min(0.2, self.false_alarms_per_year / self.windows_per_year)


def budget_for(false_alarms_per_year: float, schedule_minutes: float) -> Budget:
    """Give the budget of a monitor that judges one window every `schedule_minutes`."""
    if false_alarms_per_year <= 0 or schedule_minutes <= 0:
        raise DriftError(
            "false_alarms_per_year and schedule_minutes must be above 0, not "
            f"{false_alarms_per_year} and {schedule_minutes}"
        )
    return Budget(false_alarms_per_year, 365.25 * 24 * 60 / schedule_minutes)


# ---------------------------------------------------------------------------------- the baseline


@dataclass(frozen=True)
class Dispersion:
    """By how much the variance between stretches of time exceeds that of independent rows.

    `effects[statistic][i]` is the design effect of a mean over `sizes[i]` consecutive rows,
    estimated from `groups[i]` such stretches.
    """

    sizes: tuple[int, ...]
    groups: tuple[int, ...]
    effects: dict[str, tuple[float, ...]]

    def effect(self, statistic: str, rows: Floats | float) -> Floats:
        """Give the design effect (>= 1) of windows of `rows` rows; beyond the sizes it grows."""
        n = np.maximum(np.asarray(rows, dtype=np.float64), 1.0)
        sizes = np.asarray(self.sizes, dtype=np.float64)
        relative_error = np.sqrt(2.0 / (np.asarray(self.groups, dtype=np.float64) - 1.0))
        estimate = np.asarray(self.effects[statistic], dtype=np.float64)
        # An estimate within its own error of 1 is no evidence of dependence; one beyond it is
        # raised by its error, as it comes from few stretches.
        used = np.where(estimate <= 1.0 + relative_error, 1.0, estimate * (1.0 + relative_error))
        used = np.maximum.accumulate(used)
        inside = np.interp(np.log(n), np.log(sizes), used)
        beyond = 1.0 + (n - 1.0) * (used[-1] - 1.0) / (sizes[-1] - 1.0)
        before = 1.0 + (n - 1.0) * (used[0] - 1.0) / max(sizes[0] - 1.0, 1.0)
        result = np.where(n > sizes[-1], beyond, np.where(n < sizes[0], before, inside))
        return np.asarray(np.maximum(result, 1.0), dtype=np.float64)

    def degrees(self, rows: float) -> float:
        """Give the degrees of freedom of the design effect of a window of `rows` rows."""
        return float(np.interp(math.log(max(rows, 1.0)), np.log(self.sizes), self.groups)) - 1.0


@dataclass(frozen=True)
class ColumnBaseline:
    """What one column looked like: the edges or categories of its counts, and the counts.

    Slots of a number: below the range, the bins, above the range, missing, unseen (not a number).
    Of a category: the most frequent, all other known ones, missing, unseen. Of a column whose
    values are bound to move (a time) or too many to count: present, missing, unseen.
    """

    name: str
    kind: Kind
    group: Group
    counts: tuple[int, ...]
    edges: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    text: bool = False
    unseen_of: tuple[int, int] = (0, 0)
    dispersion: Dispersion | None = None

    @cached_property
    def values(self) -> int:
        """Give the number of slots of values, which come before missing and unseen."""
        return len(self.counts) - 2

    @cached_property
    def rows(self) -> int:
        """Give the number of rows counted."""
        return sum(self.counts)

    @cached_property
    def seen(self) -> Floats:
        """Give the counts of the slots of values; not to be written to."""
        return np.asarray(self.counts[: self.values], dtype=np.float64)

    @cached_property
    def present(self) -> float:
        """Give the number of rows with a value."""
        return float(self.seen.sum())

    @cached_property
    def slots(self) -> dict[str, int]:
        """Map a known category to its slot."""
        top = {label: i for i, label in enumerate(self.labels)}
        return {value: top.get(value, len(self.labels)) for value in self.known}

    @cached_property
    def locations(self) -> Floats:
        """Give each slot of values its mid-rank in the baseline, less one half."""
        return _midranks(self.seen)

    @cached_property
    def spreads(self) -> Floats:
        """Give each slot of values the mid-rank of its distance from the median, less one half."""
        counts = self.seen
        order = np.argsort(np.abs(self.locations), kind="stable")
        folded = np.empty_like(counts)
        folded[order] = _midranks(counts[order])
        return folded

    def shares(self, counts: Sequence[int] | Counts) -> Floats:
        """Give each slot's share of the rows."""
        values = np.asarray(counts, dtype=np.float64)
        return np.asarray(values / max(float(values.sum()), 1.0), dtype=np.float64)

    def quantile(self, counts: Sequence[int] | Counts, share: float) -> float:
        """Estimate a number's quantile from counts, straight within a bin; NaN without rows."""
        values = np.asarray(counts[: self.values], dtype=np.float64)
        total = values.sum()
        if self.kind != "number" or total == 0:
            return math.nan
        edges = np.asarray(self.edges)
        lower = np.concatenate([edges[:1], edges])
        upper = np.concatenate([edges, edges[-1:]])
        reached = np.cumsum(values)
        i = int(np.searchsorted(reached, share * total))
        i = min(i, len(values) - 1)
        before = reached[i] - values[i]
        within = (share * total - before) / values[i] if values[i] else 0.0
        return float(lower[i] + (upper[i] - lower[i]) * within)


@dataclass(frozen=True)
class Joint:
    """The number columns together.

    `columns` are positions in `Baseline.columns`. `correlation` is of the columns' mid-rank scores
    (missing = the mean), over all rows. `middle`, `scale` and `whiten` map raw values to a vector
    whose length is a row's distance; they come from rows that the distance's own counts do not.
    """

    columns: tuple[int, ...]
    rows: int
    correlation: tuple[tuple[float, ...], ...]
    deviations: tuple[float, ...]
    middle: tuple[float, ...]
    scale: tuple[float, ...]
    whiten: tuple[tuple[float, ...], ...]
    dispersion: Dispersion | None = None


@dataclass(frozen=True)
class Baseline:
    """What training saw, as counts: the reference of every window."""

    contract: str
    columns: tuple[ColumnBaseline, ...]
    joint: Joint | None
    rows: int
    output_rows: int
    outputs: tuple[int, ...]
    format: int = FORMAT

    @cached_property
    def digest(self) -> str:
        """Give the SHA-256 that ties summaries and states to this baseline."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @property
    def calibration(self) -> str:
        """Say what the error rate rests on."""
        timed = any(column.dispersion for column in self.columns)
        return (
            "calibrated with the variance between stretches of time"
            if timed
            else ("calibrated for independent rows only: the baseline has no time order")
        )

    @cached_property
    def followed(self) -> _Followed:
        """Give what the creep rule follows."""
        return _follow(self)

    def to_json(self) -> bytes:
        """Write the baseline; the same baseline gives the same bytes."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes | str) -> Baseline:
        """Read a baseline; raises DriftError if it is none, or of another release's format."""
        try:
            raw = json.loads(text)
            if raw["format"] != FORMAT:
                raise DriftError(
                    f"baseline format {raw['format']!r} is not the one that this release reads, "
                    f"{FORMAT}: train again to get a baseline of this release"
                )
            joint = raw["joint"]
            return cls(
                contract=raw["contract"],
                columns=tuple(_column_from(item) for item in raw["columns"]),
                joint=None
                if joint is None
                else Joint(
                    **{
                        **{k: tuple(v) for k, v in joint.items() if isinstance(v, list)},
                        "rows": joint["rows"],
                        "correlation": tuple(map(tuple, joint["correlation"])),
                        "whiten": tuple(map(tuple, joint["whiten"])),
                        "dispersion": _dispersion_from(joint["dispersion"]),
                    }
                ),
                rows=raw["rows"],
                output_rows=raw["output_rows"],
                outputs=tuple(raw["outputs"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DriftError(f"this is not a drift baseline: {error!r}") from error


def _column_from(raw: Mapping[str, Any]) -> ColumnBaseline:
    members: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
    members["dispersion"] = _dispersion_from(raw["dispersion"])
    return ColumnBaseline(**members)


def _dispersion_from(raw: Mapping[str, Any] | None) -> Dispersion | None:
    if raw is None:
        return None
    effects = {name: tuple(values) for name, values in raw["effects"].items()}
    return Dispersion(tuple(raw["sizes"]), tuple(raw["groups"]), effects)


def build_baseline(
    contract: Contract,
    columns: Mapping[str, Sequence[object] | NDArray[Any]],
    outputs: NDArray[Any] | Sequence[Sequence[float]] | None = None,
    *,
    times: Sequence[float] | None = None,
    seed: int = 0,
) -> Baseline:
    """Count what training saw.

    `columns` maps each of the contract's columns to its values over the training rows. `outputs`
    (rows x outputs) must come from rows that the model was *not* fitted on: a score's distribution
    on its own training rows is too sharp and would alarm on the first window. `times` (seconds, one
    a row of `columns`) lets dependence between neighbouring rows enter the tests. Sensitive columns
    are not counted: predict leaves them out of what it captures. Raises DriftError for missing or
    unequal columns.
    """
    missing = [column.name for column in contract.columns if column.name not in columns]
    if missing:
        raise DriftError(f"the baseline lacks columns of the contract: {', '.join(missing)}")
    lengths = {column.name: len(columns[column.name]) for column in contract.columns}
    rows = next(iter(lengths.values()))
    if rows < 20 or len(set(lengths.values())) > 1:
        raise DriftError(
            f"a baseline needs at least 20 rows and columns of one length, not {lengths}"
        )
    generator = np.random.default_rng(seed)
    fitting = np.zeros(rows, dtype=bool)  # half of the rows choose vocabularies and the distance
    fitting[generator.permutation(rows)[: rows // 2]] = True
    order = None
    if times is not None:
        if len(times) != rows:
            raise DriftError(f"{len(times)} times for {rows} rows")
        order = np.argsort(np.asarray(times, dtype=np.float64), kind="stable")

    built: list[ColumnBaseline] = []
    slots: list[Counts] = []
    numbers: dict[int, Floats] = {}
    watched = [column for column in contract.columns if not column.sensitive]
    for position, column in enumerate(watched):
        values = columns[column.name]
        if column.type in ("number", "integer", "boolean", "text"):
            numeric, invalid = _numbers(values, text=column.type == "text")
            made = _number_baseline(column.name, "input", numeric, invalid, column.type == "text")
            if column.type != "text":
                numbers[position] = numeric
            slot = _number_slots(made, numeric, invalid)
        else:
            texts = _texts(values)
            made = _category_baseline(column.name, texts, fitting, column.type == "timestamp")
            slot = _category_slots(made, texts)
            counted = np.ones(rows, dtype=bool)
            if len(made.known) > len(made.labels):
                # The most frequent were chosen on half of the rows, where they look more frequent
                # than they are: count them on the other half.
                counted = ~fitting
            made = ColumnBaseline(
                **{
                    **_fields(made),
                    "counts": tuple(
                        np.bincount(slot[counted], minlength=len(made.counts)).tolist()
                    ),
                    "unseen_of": (
                        int((slot[~fitting] == len(made.counts) - 1).sum()),
                        int((~fitting).sum()),
                    ),
                }
            )
        built.append(made)
        slots.append(slot)
    if order is not None:
        built = [
            ColumnBaseline(**{**_fields(made), "dispersion": _disperse(made, slot[order])})
            for made, slot in zip(built, slots, strict=True)
        ]

    joint = _joint_baseline(built, slots, numbers, fitting, order)
    kept: tuple[int, ...] = ()
    output_rows = 0
    table = np.empty((0, 0)) if outputs is None else np.asarray(outputs, dtype=np.float64)
    if table.size:
        table = table.reshape(len(table), -1)
        output_rows = len(table)
        # Of two probabilities that add to 1, one says all.
        kept = (
            (contract.positive_index,)
            if contract.task == "binary" and table.shape[1] == 2
            else (tuple(range(min(table.shape[1], _TOP_CATEGORIES))))
        )
        names = contract.outputs
        for i in kept:
            numeric, invalid = _numbers(table[:, i])
            name = "prediction" if len(kept) == 1 else f"prediction {names[i]}"
            made = _number_baseline(name, "output", numeric, invalid, False)
            built.append(made)
    if joint is not None:
        held = _distances(joint, [numbers[i][~fitting] for i in joint.columns])
        made = _number_baseline(DISTANCE, "joint", held, np.zeros(len(held), dtype=bool), False)
        if order is not None:
            everyone = _distances(joint, [numbers[i] for i in joint.columns])
            slot = _number_slots(made, everyone, np.zeros(rows, dtype=bool))[order]
            slot = slot[~fitting[order]]
            made = ColumnBaseline(**{**_fields(made), "dispersion": _disperse(made, slot)})
        built.append(made)
    return Baseline(
        contract=contract.digest,
        columns=tuple(built),
        joint=joint,
        rows=rows,
        output_rows=output_rows,
        outputs=kept,
    )


_FIELD_NAMES = tuple(ColumnBaseline.__dataclass_fields__)


def _fields(column: ColumnBaseline) -> dict[str, Any]:
    return {name: getattr(column, name) for name in _FIELD_NAMES}


def _midranks(counts: Floats) -> Floats:
    total = max(float(counts.sum()), 1.0)
    return np.asarray((np.cumsum(counts) - counts / 2.0) / total - 0.5, dtype=np.float64)


def _number_baseline(
    name: str, group: Group, numeric: Floats, invalid: NDArray[np.bool_], text: bool
) -> ColumnBaseline:
    present = np.sort(numeric[~np.isnan(numeric)])
    if len(present) == 0:
        edges: list[float] = [0.0, math.nextafter(0.0, math.inf)]
    else:
        low, high = float(present[0]), float(present[-1])
        margin = _margin(present)
        distinct = np.unique(present[:: max(1, len(present) // 20_000)])
        if len(distinct) <= _LARGEST_DISCRETE and len(np.unique(present)) <= _LARGEST_DISCRETE:
            distinct = np.unique(present)
            inner = (distinct[:-1] + distinct[1:]) / 2.0
        else:
            bins = int(min(20, max(4, len(present) // 15)))
            points = list(np.arange(1, bins) / bins)
            if len(present) >= 10_000:
                points = [0.0005, *points, 0.9995]
            inner = np.quantile(present, points, method="higher")
        inner = np.unique(inner)
        inner = inner[(inner > low) & (inner <= high)]
        edges = [low - margin, *inner.tolist(), math.nextafter(high + margin, math.inf)]
    made = ColumnBaseline(
        name=name,
        kind="number",
        group=group,
        counts=(0,) * (len(edges) + 3),
        edges=tuple(edges),
        text=text,
    )
    counts = np.bincount(_number_slots(made, numeric, invalid), minlength=len(made.counts))
    return ColumnBaseline(
        **{
            **_fields(made),
            "counts": tuple(counts.tolist()),
            "unseen_of": (int(invalid.sum()), len(numeric)),
        }
    )


def _margin(present: Floats) -> float:
    """Give how far beyond the range seen a value must be to count as out of it.

    A tenth of a standard deviation (from the quartiles, which outliers do not move): what is a
    trifle for a mean is one for a value, such as the next year's oldest person.
    """
    low, high = np.quantile(present, (0.25, 0.75))
    margin = FLOORS["means"] * (float(high) - float(low)) / 1.349
    widest = max(abs(float(present[0])), abs(float(present[-1]))) + margin
    return margin if math.isfinite(widest) else 0.0


def _category_baseline(
    name: str, texts: list[str | None], fitting: NDArray[np.bool_], presence: bool
) -> ColumnBaseline:
    chosen = Counter(text for text, fit in zip(texts, fitting, strict=True) if fit)
    chosen.pop(None, None)
    if presence or len(chosen) > _LARGEST_VOCABULARY:
        return ColumnBaseline(name=name, kind="presence", group="input", counts=(0, 0, 0))
    ranked = sorted(chosen, key=lambda text: (-chosen[text], str(text)))
    labels = tuple(str(text) for text in ranked[:_TOP_CATEGORIES])
    return ColumnBaseline(
        name=name,
        kind="category",
        group="input",
        counts=(0,) * (len(labels) + 3),
        labels=labels,
        known=tuple(sorted(str(text) for text in chosen)),
    )


def _joint_baseline(
    built: list[ColumnBaseline],
    slots: list[Counts],
    numbers: dict[int, Floats],
    fitting: NDArray[np.bool_],
    order: NDArray[np.intp] | None,
) -> Joint | None:
    rows = len(fitting)
    use: list[int] = []
    scores: list[Floats] = []
    deviations: list[float] = []
    for i in numbers:
        score = np.append(built[i].locations, (0.0, 0.0))[slots[i]]
        deviation = float(score.std())
        if deviation > 0.05:  # a nearly constant column says nothing about a joint shift
            use.append(i)
            scores.append(score / deviation)
            deviations.append(deviation)
    if len(use) < 2 or rows < len(use) + 30:
        return None
    matrix = np.column_stack(scores)
    correlation = np.atleast_2d(np.corrcoef(matrix, rowvar=False))
    fitted = [numbers[i][fitting] for i in use]
    middle = [float(np.nanmedian(values)) for values in fitted]
    scale = [float(np.nanstd(values)) or 1.0 for values in fitted]
    cloud = _standardise(fitted, middle, scale)
    shrink = min(0.5, 0.01 + 0.1 * len(use) / cloud.shape[1])
    covariance = np.cov(cloud) * (1.0 - shrink) + shrink * np.eye(len(use))
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    joint = Joint(
        columns=tuple(use),
        rows=rows,
        correlation=tuple(tuple(round(float(v), 6) for v in row) for row in correlation),
        deviations=tuple(deviations),
        middle=tuple(middle),
        scale=tuple(scale),
        whiten=tuple(tuple(float(f"{v:.7g}") for v in row) for row in whiten),
    )
    if order is not None:
        inverse = np.linalg.inv(_shrunk_correlation(joint))
        ordered = matrix[order]

        def squares(starts: NDArray[np.intp], sizes: Floats) -> float:
            means = np.add.reduceat(ordered, starts, axis=0) / sizes[:, None]
            means = means - ordered.mean(axis=0)
            lengths = np.einsum("ij,jk,ik->i", means, inverse, means) * sizes
            return float(lengths.mean() / ordered.shape[1])

        dispersion = _scales(rows, {"means": squares})
        joint = Joint(
            **{
                **{k: getattr(joint, k) for k in Joint.__dataclass_fields__},
                "dispersion": dispersion,
            }
        )
    return joint


def _shrunk_correlation(joint: Joint) -> Floats:
    matrix = np.asarray(joint.correlation, dtype=np.float64)
    return np.asarray(0.98 * matrix + 0.02 * np.eye(len(matrix)), dtype=np.float64)


def _standardise(
    values: Sequence[Floats], middle: Sequence[float], scale: Sequence[float]
) -> Floats:
    """Centre and scale columns (columns x rows), missing = 0, clipped."""
    table = np.empty((len(values), len(values[0])))
    for i, column in enumerate(values):
        np.subtract(column, middle[i], out=table[i])
        table[i] /= scale[i]
    absent = np.isnan(table)
    if absent.any():
        table[absent] = 0.0
    return np.clip(table, -_CLIP, _CLIP, out=table)


def _distances(joint: Joint, values: Sequence[Floats]) -> Floats:
    whiten = np.asarray(joint.whiten)
    found = np.empty(len(values[0]))
    for start in range(0, len(found), _BLOCK):  # blocks stay in the processor's cache
        part = [column[start : start + _BLOCK] for column in values]
        table = _standardise(part, joint.middle, joint.scale)
        squares = np.zeros(table.shape[1])
        # `whiten` is lower triangular. Row by row, as the threads of a matrix product of this size
        # wait for one another longer than they work.
        for i in range(len(whiten)):
            squares += (whiten[i, : i + 1] @ table[: i + 1]) ** 2
        found[start : start + _BLOCK] = squares
    return np.asarray(np.sqrt(found / len(values)), dtype=np.float64)


def _scales(rows: int, statistics: Mapping[str, Any]) -> Dispersion | None:
    sizes, groups = [], []
    found: dict[str, list[float]] = {name: [] for name in statistics}
    size = 50
    while rows // size >= 8:
        count = rows // size
        starts = np.linspace(0, rows, count, endpoint=False).astype(np.intp)
        lengths = np.diff(np.append(starts, rows)).astype(np.float64)
        sizes.append(size)
        groups.append(count)
        for name, statistic in statistics.items():
            found[name].append(round(float(statistic(starts, lengths)), 4))
        size *= 2
    if not sizes:
        return None
    return Dispersion(tuple(sizes), tuple(groups), {n: tuple(v) for n, v in found.items()})


def _disperse(column: ColumnBaseline, slot: Counts) -> Dispersion | None:
    """Estimate the design effects of a column from its slots in time order."""

    def between(score: Floats) -> Any:
        centred = score - score.mean()
        variance = float((centred**2).mean())

        def ratio(starts: NDArray[np.intp], sizes: Floats) -> float:
            if variance == 0.0:
                return 1.0
            means = np.add.reduceat(centred, starts) / sizes
            return float((sizes * means**2).sum() / (len(sizes) - 1) / variance)

        return ratio

    def largest(*parts: Any) -> Any:
        return lambda starts, sizes: max(part(starts, sizes) for part in parts)

    values = column.values
    statistics: dict[str, Any] = {
        "missing": between((slot == values).astype(np.float64)),
        "unseen": between((slot == values + 1).astype(np.float64)),
    }
    # Dependence is strongest along few directions: a mean over the bins' own effects would hide
    # that the level moves from hour to hour, and with it every bin. The strongest counts for all.
    if column.kind == "number":
        location = between(np.append(column.locations, (0.0, 0.0))[slot])
        spread = between(np.append(column.spreads, (0.0, 0.0))[slot])
        below = between((slot <= 1).astype(np.float64))
        above = between(((slot >= values - 2) & (slot < values)).astype(np.float64))
        statistics["location"], statistics["spread"] = location, spread
        statistics["below"], statistics["above"] = (
            largest(location, below),
            largest(location, above),
        )
        statistics["shape"] = largest(location, spread, below, above)
    elif column.kind == "category":
        common = np.bincount(slot, minlength=values)[:values] >= max(20, len(slot) // 100)
        each = [between((slot == i).astype(np.float64)) for i in np.flatnonzero(common)]
        statistics["shape"] = largest(*each) if each else lambda starts, sizes: 1.0
    return _scales(len(slot), statistics)


# --------------------------------------------------------------------------------- the summary


def _is_missing(value: object) -> bool:
    if value is None:
        return True
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    return type(value).__name__ in ("NAType", "NaTType")


_BOOLEANS = {"true": 1.0, "false": 0.0}


def _numbers(
    values: Sequence[object] | NDArray[Any], text: bool = False
) -> tuple[Floats, NDArray[np.bool_]]:
    """Give values as float64, NaN where missing or invalid, and mark the invalid ones."""
    if text:
        sizes = [math.nan if _is_missing(v) else float(len(str(v))) for v in values]
        return np.asarray(sizes, dtype=np.float64), np.zeros(len(sizes), dtype=bool)
    try:
        numeric = np.array(values, dtype=np.float64)
        invalid = np.isinf(numeric)
    except (TypeError, ValueError):
        numeric = np.full(len(values), np.nan)
        invalid = np.zeros(len(values), dtype=bool)
        for i, value in enumerate(values):
            if _is_missing(value):
                continue
            try:
                numeric[i] = _BOOLEANS.get(str(value).lower(), math.nan)
                if math.isnan(numeric[i]):
                    numeric[i] = float(value)
            except (TypeError, ValueError):
                invalid[i] = True
        invalid |= np.isinf(numeric)
    if invalid.any():
        numeric[invalid] = np.nan
    return numeric, invalid


def _number_slots(column: ColumnBaseline, numeric: Floats, invalid: NDArray[np.bool_]) -> Counts:
    edges = np.asarray(column.edges)
    absent = np.isnan(numeric)
    slot = (
        _place(edges, numeric, absent)
        if len(numeric) > _BLOCK // 4
        else (np.searchsorted(edges, numeric, side="right"))
    )
    if absent.any():
        slot[absent] = column.values
        slot[invalid] = column.values + 1
    return slot


def _place(edges: Floats, values: Floats, absent: NDArray[np.bool_]) -> Counts:
    """Give `searchsorted(edges, values, side="right")`, much faster for many values.

    Values fall into equal cells. The cell never falls when a value rises, so that in a cell without
    an edge all values lie between the same edges; only values in cells with an edge are searched.
    """
    low, span = float(edges[0]), float(edges[-1]) - float(edges[0])
    if not math.isfinite(span) or span < 1e-290:
        return np.searchsorted(edges, values, side="right")
    factor = _CELLS / span

    def cells(points: Floats) -> NDArray[np.int32]:
        with np.errstate(over="ignore"):
            scaled = (points - low) * factor
        np.clip(scaled, -1.0, float(_CELLS), out=scaled)
        return np.asarray(scaled.astype(np.int32) + 1, dtype=np.int32)

    of_edges = cells(edges)
    table = np.searchsorted(of_edges, np.arange(_CELLS + 2), side="left")
    holds = np.zeros(_CELLS + 2, dtype=bool)
    holds[of_edges] = True
    cell = cells(np.where(absent, low, values) if absent.any() else values)
    slot = table[cell]
    near = holds[cell]
    slot[near] = np.searchsorted(edges, values[near], side="right")
    return slot


def _text(value: object) -> str | None:
    if _is_missing(value):
        return None
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _texts(values: Sequence[object] | NDArray[Any]) -> list[str | None]:
    return [value if type(value) is str else _text(value) for value in values]


def _category_slots(column: ColumnBaseline, texts: Sequence[str | None]) -> Counts:
    values = column.values
    if column.kind == "presence":
        return np.fromiter((1 if t is None else 0 for t in texts), dtype=np.int64, count=len(texts))
    slots = column.slots
    return np.fromiter(
        (values if t is None else slots.get(t, values + 1) for t in texts),
        dtype=np.int64,
        count=len(texts),
    )


def _count_categories(column: ColumnBaseline, values: Sequence[object]) -> Counts:
    counts = np.zeros(len(column.counts), dtype=np.int64)
    slots = column.slots
    last = column.values
    for value, count in Counter(values).items():
        text = _text(value)
        if text is None:
            counts[last] += count
        elif column.kind == "presence":
            counts[0] += count
        else:
            counts[slots.get(text, last + 1)] += count
    return counts


@dataclass(frozen=True)
class Summary:
    """The counts of some rows under one baseline's edges; `+` merges, in any order."""

    baseline: str
    rows: int
    counts: tuple[Counts, ...] = field(compare=False)

    def __add__(self, other: Summary) -> Summary:
        """Merge two summaries; raises DriftError if they were counted under different baselines."""
        if self.baseline != other.baseline:
            raise DriftError(
                "summaries of different baselines cannot be added: count the rows again"
            )
        return Summary(
            self.baseline,
            self.rows + other.rows,
            tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
        )

    def __eq__(self, other: object) -> bool:
        """Compare by counts."""
        return isinstance(other, Summary) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        """Hash by baseline and size."""
        return hash((self.baseline, self.rows))

    def to_json(self) -> bytes:
        """Write the summary."""
        counts = [column.tolist() for column in self.counts]
        raw = {"baseline": self.baseline, "rows": self.rows, "counts": counts}
        return json.dumps(raw, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes | str) -> Summary:
        """Read a summary; raises DriftError if it is none."""
        try:
            raw = json.loads(text)
            counts = tuple(np.asarray(column, dtype=np.int64) for column in raw["counts"])
            return cls(str(raw["baseline"]), int(raw["rows"]), counts)
        except (ValueError, KeyError, TypeError) as error:
            raise DriftError(f"this is not a drift summary: {error!r}") from error

    @classmethod
    def empty(cls, baseline: Baseline) -> Summary:
        """Give the summary of no rows."""
        counts = tuple(np.zeros(len(c.counts), dtype=np.int64) for c in baseline.columns)
        return cls(baseline.digest, 0, counts)


def summarise(
    baseline: Baseline,
    rows: Sequence[Mapping[str, object]],
    outputs: Sequence[Sequence[float]] | None = None,
) -> Summary:
    """Count rows as they were served, and the outputs given for them."""
    columns = {
        column.name: [row.get(column.name) for row in rows]
        for column in baseline.columns
        if column.group == "input"
    }
    table = None
    if outputs:
        widest = max(map(len, outputs))
        table = np.array(
            [[*row, *[math.nan] * (widest - len(row))] for row in outputs], dtype=float
        )
    return summarise_columns(baseline, columns, table)


def summarise_columns(
    baseline: Baseline,
    columns: Mapping[str, Sequence[object] | NDArray[Any]],
    outputs: NDArray[Any] | None = None,
) -> Summary:
    """Count a table given column by column; a column that is not there counts as missing."""
    rows = _count_rows(columns, outputs)
    if rows == 0:
        return Summary.empty(baseline)
    counts: list[Counts] = []
    for column, placed in _place_columns(baseline, columns, outputs, rows):
        if placed is None:
            counts.append(np.zeros(len(column.counts), dtype=np.int64))
        elif isinstance(placed, list):
            counts.append(_count_categories(column, placed))
        else:
            counts.append(np.bincount(placed, minlength=len(column.counts)))
    return Summary(baseline.digest, rows, tuple(counts))


def place_columns(
    baseline: Baseline,
    columns: Mapping[str, Sequence[object] | NDArray[Any]],
    outputs: NDArray[Any],
) -> list[Counts]:
    """Give the slot of every row in every column: what `summarise_columns` counts."""
    placed: list[Counts] = []
    for column, values in _place_columns(baseline, columns, outputs, _count_rows(columns, outputs)):
        assert values is not None
        placed.append(
            _category_slots(column, _texts(values)) if isinstance(values, list) else values
        )
    return placed


def _count_rows(
    columns: Mapping[str, Sequence[object] | NDArray[Any]], outputs: NDArray[Any] | None
) -> int:
    # A baseline without columns of its own (all are sensitive) still counts the outputs.
    given = [*columns.values(), *([] if outputs is None else [outputs])]
    return max(map(len, given), default=0)


def _place_columns(
    baseline: Baseline,
    columns: Mapping[str, Sequence[object] | NDArray[Any]],
    outputs: NDArray[Any] | None,
    rows: int,
) -> Iterator[tuple[ColumnBaseline, Counts | list[object] | None]]:
    """Yield each column with its rows' slots, or the values of a category; None without outputs."""
    raw: dict[int, Floats] = {}
    joint = set(baseline.joint.columns) if baseline.joint else set()
    reached = 0
    for position, column in enumerate(baseline.columns):
        if column.group == "input":
            values = columns.get(column.name)
            if values is None:
                values = np.full(rows, np.nan)
            if len(values) != rows:
                raise DriftError(f"column {column.name!r} has {len(values)} of {rows} values")
            if column.kind != "number":
                yield column, _as_list(values)
                continue
            numeric, invalid = _numbers(values, column.text)
            if position in joint:
                raw[position] = numeric
        elif column.group == "output":
            which = baseline.outputs[reached]
            reached += 1
            if outputs is None or len(outputs) == 0:
                yield column, None
                continue
            if outputs.ndim != 2 or outputs.shape[1] <= which:
                raise DriftError(f"the rows carry no output number {which + 1}")
            numeric, invalid = _numbers(outputs[:, which])
        else:
            assert baseline.joint is not None
            numeric = _distances(baseline.joint, [raw[i] for i in baseline.joint.columns])
            invalid = np.zeros(rows, dtype=bool)
        yield column, _number_slots(column, numeric, invalid)


def _as_list(values: Sequence[object] | NDArray[Any]) -> list[object]:
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


# -------------------------------------------------------------------------------- the verdict


@dataclass(frozen=True)
class Finding:
    """One test of one column.

    `evidence` and `threshold` are -log10 of its probability and of its share of the budget; `size`
    is the effect in the unit of its `floor` (FLOORS); `before` and `after` are what a person
    compares: the median, or the share of rows, or the most changed category's share (named by
    `where`).
    """

    column: str
    group: str
    kind: str
    rule: Literal["shock", "creep"]
    size: float
    floor: float
    evidence: float
    threshold: float
    before: float
    after: float
    where: str = ""
    windows: int = 1

    @property
    def alarms(self) -> bool:
        """Say whether the change is both significant and large enough."""
        return self.evidence >= self.threshold and abs(self.size) >= self.floor

    def describe(self) -> str:
        """Say in one line what moved and by how much."""
        before, after = show_number(self.before), show_number(self.after)
        percent = f"{100 * self.before:.2f}% -> {100 * self.after:.2f}% of rows"
        since = f" over the last {self.windows} windows" if self.rule == "creep" else ""
        text = {
            "location": f"median {before} -> {after} ({'up' if self.size > 0 else 'down'})",
            "spread": f"spread {'wider' if self.size > 0 else 'narrower'}: "
            f"middle half {before} -> {after}",
            "shape": f"distribution changed, most at {self.where}: {percent}",
            "missing": f"missing values: {percent}",
            "unseen": f"values never seen in training: {percent}",
            "below": f"below the range seen in training: {percent}",
            "above": f"above the range seen in training: {percent}",
            "means": f"moved by {self.size:.2f} standard deviations, most: {self.where}",
        }[self.kind]
        if math.isnan(self.before):
            text = f"{self.kind} much as in training"
        return f"{self.column}: {text}{since}"


def show_number(value: float) -> str:
    """Write a number for people: four digits, and no exponent below a billion."""
    return f"{value:.0f}" if 9999.5 <= abs(value) < 1e9 else f"{value:.4g}"


@dataclass(frozen=True)
class Verdict:
    """What the monitor concludes about one window.

    `findings` are the tests that alarm, strongest first; `ranking` is the strongest test of every
    column, alarming or not. `evidence` is the largest ratio of evidence to threshold: 1 is the
    line.
    """

    alarm: bool
    rows: int
    findings: tuple[Finding, ...]
    ranking: tuple[Finding, ...]
    evidence: float
    calibration: str

    @property
    def data_quality(self) -> tuple[Finding, ...]:
        """Give the findings about missing, unseen and out-of-range values."""
        return tuple(f for f in self.findings if f.kind in DATA_QUALITY and f.group == "input")

    @property
    def prediction_shift(self) -> bool:
        """Say whether the predictions themselves moved."""
        return any(f.group == "output" for f in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Give the verdict as JSON-ready members."""
        return {
            "alarm": self.alarm,
            "rows": self.rows,
            "evidence": _finite(self.evidence),
            "prediction_shift": self.prediction_shift,
            "data_quality": len(self.data_quality),
            "calibration": self.calibration,
            "findings": [_finding_dict(f) for f in self.findings],
            "ranking": [_finding_dict(f) for f in self.ranking],
        }


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _finding_dict(finding: Finding) -> dict[str, Any]:
    raw = {k: _finite(v) if isinstance(v, float) else v for k, v in asdict(finding).items()}
    return {**raw, "alarms": finding.alarms, "text": finding.describe()}


def judge(
    baseline: Baseline, window: Summary, budget: Budget, creep: Creep | None = None
) -> tuple[Verdict, Creep]:
    """Judge one window, and give the creep rule's state to pass with the next.

    A state of another baseline is dropped. Raises DriftError for a window of another baseline or
    without rows.
    """
    if window.baseline != baseline.digest:
        raise DriftError("the window was counted under another baseline: count its rows again")
    if window.rows == 0:
        raise DriftError("a window without rows cannot be judged")
    if creep is None or creep.baseline != baseline.digest:
        creep = Creep(baseline.digest)
    share = budget.per_window / 2.0
    tests = _shock(baseline, window, share)
    shocked = any(test.alarms for test in tests)
    # A window that alarms on its own is reported on its own; kept in the history it would keep the
    # creep rule up long after one bad batch.
    state = creep if shocked else creep.add(baseline, window)
    crept = [] if shocked else _creep(baseline, state, share)
    tests += crept
    best: dict[str, Finding] = {}
    for test in tests:
        known = best.get(test.column)
        if known is None or _ratio(test) > _ratio(known):
            best[test.column] = test
    ranking = tuple(sorted(best.values(), key=_ratio, reverse=True))
    findings = tuple(sorted((t for t in tests if t.alarms), key=_ratio, reverse=True))
    evidence = max((_ratio(t) for t in tests if abs(t.size) >= t.floor), default=0.0)
    return (
        Verdict(bool(findings), window.rows, findings, ranking, evidence, baseline.calibration),
        state,
    )


def _ratio(finding: Finding) -> float:
    return finding.evidence / finding.threshold


def _evidence(p: float) -> float:
    return -math.log10(max(p, 1e-300))


def _group_shares(baseline: Baseline) -> dict[str, float]:
    """Split the budget over the groups that there are, and evenly over the columns of each."""
    counted: dict[str, int] = Counter(column.group for column in baseline.columns)
    counted["missing"] = sum(map(_misses, baseline.columns))
    counted["means"] = int(baseline.joint is not None)
    shares = {group: share * (counted[group] > 0) for group, share in GROUP_SHARES.items()}
    total = sum(shares.values()) or 1.0
    return {group: share / total / max(counted.get(group, 1), 1) for group, share in shares.items()}


def _misses(column: ColumnBaseline) -> bool:
    """Say whether a column of the table missed values in training."""
    return column.group == "input" and column.counts[column.values] > 0


def _shock(baseline: Baseline, window: Summary, share: float) -> list[Finding]:
    shares = _group_shares(baseline)
    tests: list[Finding] = []
    for column, counts in zip(baseline.columns, window.counts, strict=True):
        if counts.sum() == 0:
            continue
        dispersion = _dispersion_of(baseline, column)
        for kind, part in TESTS[column.kind].items():
            level = share * shares[column.group] * part
            if kind == "missing" and _misses(column):
                level += share * shares["missing"]
            tested = _TESTERS[kind](column, counts, dispersion)
            if tested is not None:
                p, size, before, after, where = tested
                tests.append(
                    Finding(
                        column.name,
                        column.group,
                        kind,
                        "shock",
                        size,
                        FLOORS[kind],
                        _evidence(p),
                        _evidence(level),
                        before,
                        after,
                        where,
                    )
                )
    if baseline.joint is not None:
        tests.append(_test_means(baseline, baseline.joint, window, share * shares["means"]))
    return tests


_Tested = tuple[float, float, float, float, str]
_STATISTICS = ("location", "spread", "shape", "missing", "unseen", "below", "above", "means")


def _dispersion_of(baseline: Baseline, column: ColumnBaseline) -> Dispersion | None:
    """Give a column's design effects.

    Outputs come from other rows than the inputs; their dependence in time is taken to be that of
    the columns together. So is that of the distance, where it is larger than the distance's own: an
    hour whose level is further out than any before moves all of its distances.
    """
    means = baseline.joint.dispersion if baseline.joint else None
    if column.group == "input" or means is None:
        return column.dispersion
    common = means.effects["means"]
    own = column.dispersion.effects if column.group == "joint" and column.dispersion else {}
    effects = {}
    for name in _STATISTICS:
        padded = (*own.get(name, ()), *common)[: len(common)]
        effects[name] = tuple(map(max, common, padded))
    return Dispersion(means.sizes, means.groups, effects)


def _design(dispersion: Dispersion | None, statistic: str, rows: float) -> float:
    return 1.0 if dispersion is None else float(dispersion.effect(statistic, rows))


def _test_scores(
    column: ColumnBaseline,
    counts: Counts,
    dispersion: Dispersion | None,
    statistic: Literal["location", "spread"],
) -> _Tested | None:
    """Compare mean ranks: for location as Mann and Whitney, for spread as Ansari and Bradley."""
    scores = column.locations if statistic == "location" else column.spreads
    before = column.seen
    after = counts[: column.values].astype(np.float64)
    n0, n1 = column.present, float(after.sum())
    if n0 < 10 or n1 < 10:
        return None
    size = float(after @ scores / n1)
    pooled = (before + after) / (n0 + n1)
    effect = _design(dispersion, statistic, n1)
    p = _mean_difference(scores, pooled, n1 / effect, n0 / effect, size)
    if effect > 1.0 and dispersion is not None:
        variance = float(pooled @ scores**2 - (pooled @ scores) ** 2)
        t = size / math.sqrt(max(variance, 1e-12) * effect * (1 / n0 + 1 / n1))
        p = max(p, t_two_sided(t, max(dispersion.degrees(n1), 1.0)))
    if p > 0.05:  # nobody will read it: save the time
        return p, size, math.nan, math.nan, ""
    if statistic == "location":
        return p, size, column.quantile(column.counts, 0.5), column.quantile(counts, 0.5), ""
    middle = [column.quantile(c, 0.75) - column.quantile(c, 0.25) for c in (column.counts, counts)]
    return p, size, middle[0], middle[1], ""


def _mean_difference(scores: Floats, shares: Floats, n1: float, n0: float, d: float) -> float:
    """Give the two-sided probability of a difference `d` of means of n1 and n0 draws.

    Barndorff-Nielsen's form of the saddlepoint approximation (Lugannani and Rice 1980); close in
    the far tails and for skewed scores, where the normal approximation is not.
    """
    used = shares > 0
    scores, shares = scores[used], shares[used]
    centre = float(shares @ scores)
    scores = scores - centre
    variance = float(shares @ scores**2)
    if variance <= 1e-15:
        return 1.0
    z = d / math.sqrt(variance * (1.0 / n1 + 1.0 / n0))
    if abs(z) < 2.0:
        return normal_two_sided(z)
    if d < 0.0:
        scores, d = -scores, -d

    def cumulants(theta: float) -> tuple[float, float, float]:
        exponent = theta * scores
        top = float(exponent.max())
        weights = shares * np.exp(exponent - top)
        total = float(weights.sum())
        mean = float(weights @ scores) / total
        return top + math.log(total), mean, float(weights @ scores**2) / total - mean**2

    theta = d / (variance * (1.0 / n1 + 1.0 / n0))
    low, high = 0.0, math.inf
    value = slope = curve = 0.0
    for _ in range(60):
        one, other = cumulants(theta / n1), cumulants(-theta / n0)
        value = n1 * one[0] + n0 * other[0]
        slope = one[1] - other[1]
        curve = one[2] / n1 + other[2] / n0
        if abs(slope - d) < 1e-10:
            break
        low, high = (theta, high) if slope < d else (low, theta)
        step = theta + (d - slope) / curve if curve > 1e-300 else math.inf
        if not low < step < high:
            step = (low + high) / 2.0 if math.isfinite(high) else 2.0 * theta
        if step > 1e12:
            break
        theta = step
    w = math.sqrt(max(2.0 * (theta * d - value), 1e-12))
    u = theta * math.sqrt(max(curve, 1e-300))
    return min(1.0, 2.0 * normal_tail(w + math.log(max(u, 1e-12) / w) / w))


def _test_location(
    column: ColumnBaseline, counts: Counts, dispersion: Dispersion | None
) -> _Tested | None:
    return _test_scores(column, counts, dispersion, "location")


def _test_spread(
    column: ColumnBaseline, counts: Counts, dispersion: Dispersion | None
) -> _Tested | None:
    return _test_scores(column, counts, dispersion, "spread")


def _test_shape(
    column: ColumnBaseline, counts: Counts, dispersion: Dispersion | None
) -> _Tested | None:
    """Compare shares by chi-square and likelihood ratio, in bins pooled to 5 expected rows.

    Plain numbers, not arrays: there are some 20 bins, and this is called for every column.
    """
    before, after = column.seen.tolist(), counts[: column.values].tolist()
    if column.kind == "category":
        before[-1] += column.counts[-1]
        after[-1] += int(counts[-1])
    n0, n1 = float(sum(before)), float(sum(after))
    if n0 < 10 or n1 < 10:
        return None
    pools = _pool(column.kind, before, after, min(n0, n1) / (n0 + n1))
    if len(pools) < 2:
        return None
    df = len(pools) - 1
    effect = _design(dispersion, "shape", n1)
    weight = n0 * n1 / (n0 + n1)
    pearson = ratio = inverses = largest = 0.0
    moved = pools[0]
    for pool in pools:
        _, a, b = pool
        p0, p1, pooled = a / n0, b / n1, (a + b) / (n0 + n1)
        part = (p1 - p0) ** 2 / pooled
        if part > largest:
            largest, moved = part, pool
        pearson += weight * part
        ratio += (b * math.log(p1 / pooled) if b else 0.0) + (
            a * math.log(p0 / pooled) if a else 0.0
        )
        inverses += 1.0 / pooled
    size = math.sqrt(max(pearson - df * effect, 0.0) / weight)
    # Far out in the tail either statistic alone is too large: Pearson's for an excess of rare
    # values (9 times as many windows pass 1 in 100,000 as should, with 6 rows expected), the
    # likelihood ratio with Williams' correction for their absence (twice as many, with 10).
    uneven = (1.0 / weight - 1.0 / (n0 + n1)) * (inverses - 1.0)
    squares = min(pearson, 2.0 * ratio / (1.0 + effect * uneven / (6.0 * df)))
    if squares <= 1.3 * df * effect:  # about what chance alone gives: nobody will read it
        return 1.0, size, math.nan, math.nan, ""
    slots, a, b = moved
    where = _slot_name(column, slots[0], slots[-1])
    # The bins come from the same few rows as their counts, which widens the statistic: F with the
    # baseline's rows as its degrees of freedom (chi-square for a large baseline) covers that.
    degrees = n0 / effect
    if effect > 1.0 and dispersion is not None:
        degrees = min(degrees, max(dispersion.degrees(n1), 1.0))
    p = f_tail(squares / effect / df, df, degrees)
    return p, size, a / n0, b / n1, where


_Pool = tuple[list[int], float, float]
"""Slots, and their counts before and after."""


def _pool(kind: Kind, before: list[float], after: list[int], smaller: float) -> list[_Pool]:
    """Pool slots until both sides expect 5: neighbours of a number, a category's rare values."""
    pools: list[_Pool] = []
    rest: _Pool = ([], 0.0, 0.0)
    for slot, (a, b) in enumerate(zip(before, after, strict=True)):
        enough = (a + b) * smaller >= _SMALLEST_EXPECTED
        if kind == "category" and enough and slot < len(before) - 1:
            pools.append(([slot], a, b))
            continue
        rest = ([*rest[0], slot], rest[1] + a, rest[2] + b)
        if kind == "number" and (rest[1] + rest[2]) * smaller >= _SMALLEST_EXPECTED:
            pools.append(rest)
            rest = ([], 0.0, 0.0)
    if (rest[1] + rest[2]) * smaller >= _SMALLEST_EXPECTED or not pools:
        pools.append(rest)
    elif rest[0]:
        # Too few of their own: a number's last neighbours, or the most frequent category.
        into = -1 if kind == "number" else max(range(len(pools)), key=lambda i: sum(pools[i][1:]))
        slots, held, drawn = pools[into]
        named = [*slots, *rest[0]] if kind == "number" else slots
        pools[into] = (named, held + rest[1], drawn + rest[2])
    return pools


def _slot_name(column: ColumnBaseline, first: int, last: int) -> str:
    if column.kind == "category":
        return column.labels[first] if first < len(column.labels) else "all other values"
    low = "below" if first == 0 else show_number(column.edges[first - 1])
    high = "above" if last >= len(column.edges) else show_number(column.edges[last])
    return f"{low} to {high}"


def _test_rate(
    before: tuple[int, int], after: tuple[int, int], effect: float
) -> tuple[float, float, float, float, str]:
    (k0, n0), (k1, n1) = before, after
    size = k1 / n1 - k0 / n0
    if size <= 0.0:
        return 1.0, size, k0 / n0, k1 / n1, ""
    # Dependent rows count for less: `effect` of them say what one says.
    marks0, marks1 = math.ceil(k0 / effect), math.floor(k1 / effect)
    rows0, rows1 = max(math.floor(n0 / effect), marks0), max(math.floor(n1 / effect), marks1)
    p = hypergeometric_tail(marks1, marks0 + marks1, rows1, rows0 + rows1)
    return p, size, k0 / n0, k1 / n1, ""


def _test_missing(
    column: ColumnBaseline, counts: Counts, dispersion: Dispersion | None
) -> _Tested | None:
    rows = int(counts.sum())
    effect = _design(dispersion, "missing", rows)
    return _test_rate(
        (column.counts[column.values], column.rows), (int(counts[column.values]), rows), effect
    )


def _test_unseen(
    column: ColumnBaseline, counts: Counts, dispersion: Dispersion | None
) -> _Tested | None:
    if column.unseen_of[1] == 0:
        return None
    rows = int(counts.sum())
    effect = _design(dispersion, "unseen", rows)
    return _test_rate(column.unseen_of, (int(counts[column.values + 1]), rows), effect)


def _test_beyond(
    column: ColumnBaseline, counts: Counts, dispersion: Dispersion | None, side: str
) -> _Tested | None:
    seen = int(column.present)
    k = int(counts[0] if side == "below" else counts[column.values - 1])
    rows = int(counts[: column.values].sum())
    if seen < 10 or rows == 0:
        return None
    if k == 0:
        return 1.0, 0.0, 0.0, 0.0, ""
    effect = _design(dispersion, side, rows)
    p = exceedance_tail(math.floor(k / effect), math.ceil(rows / effect), math.floor(seen / effect))
    return p, k / rows, 0.0, k / rows, ""


def _test_below(
    column: ColumnBaseline, counts: Counts, dispersion: Dispersion | None
) -> _Tested | None:
    return _test_beyond(column, counts, dispersion, "below")


def _test_above(
    column: ColumnBaseline, counts: Counts, dispersion: Dispersion | None
) -> _Tested | None:
    return _test_beyond(column, counts, dispersion, "above")


_TESTERS = {
    "location": _test_location,
    "spread": _test_spread,
    "shape": _test_shape,
    "missing": _test_missing,
    "unseen": _test_unseen,
    "below": _test_below,
    "above": _test_above,
}


def _test_means(baseline: Baseline, joint: Joint, window: Summary, level: float) -> Finding:
    """Test all mean ranks at once (Hotelling's T-square with the baseline's correlation)."""
    means = np.array(
        [
            float(window.counts[i][: baseline.columns[i].values] @ baseline.columns[i].locations)
            for i in joint.columns
        ]
    ) / (window.rows * np.asarray(joint.deviations))
    solved = np.linalg.solve(_shrunk_correlation(joint), means)
    d = len(means)
    effect = _design(joint.dispersion, "means", window.rows)
    weight = window.rows * joint.rows / (window.rows + joint.rows) / effect
    squares = weight * float(means @ solved)
    rows = joint.rows / effect
    if effect > 1.0 and joint.dispersion is not None:
        rows = min(rows, joint.dispersion.degrees(window.rows))
    degrees = max(rows - d, 4.0)
    p = f_tail(squares * degrees / (d * max(rows - 1.0, degrees)), d, degrees)
    size = math.sqrt(max(squares - d, 0.0) / weight)
    most = []
    for i in np.argsort(-np.abs(means))[:3] if p <= 0.05 else ():
        column, counts = baseline.columns[joint.columns[i]], window.counts[joint.columns[i]]
        before, after = (column.quantile(c, 0.5) for c in (column.counts, counts))
        most.append(f"{column.name} (median {show_number(before)} -> {show_number(after)})")
    where = ", ".join(most)
    return Finding(
        MEANS,
        "joint",
        "means",
        "shock",
        size,
        FLOORS["means"],
        _evidence(p),
        _evidence(level),
        0.0,
        size,
        where,
    )


# ----------------------------------------------------------------------------------- creep


class _Component(NamedTuple):
    column: int
    kind: Literal["location", "shape", "missing", "unseen"]
    slot: int
    weight: float


def _components(baseline: Baseline) -> list[_Component]:
    """List what the creep rule follows, with weights that add to 1."""
    shares = _group_shares(baseline)
    found: list[_Component] = []
    for i, column in enumerate(baseline.columns):
        share = shares[column.group]
        if column.kind == "number":
            found.append(_Component(i, "location", -1, share * 0.7))
        elif column.kind == "category":
            followed = range(min(len(column.labels), 8))
            found += [_Component(i, "shape", j, share * 0.7 / len(followed)) for j in followed]
        found.append(_Component(i, "missing", column.values, share * 0.15))
        found.append(_Component(i, "unseen", column.values + 1, share * 0.15))
    total = sum(component.weight for component in found)
    return [component._replace(weight=component.weight / total) for component in found]


@dataclass(frozen=True)
class Creep:
    """What the creep rule remembers: for each window and component the sum of scores, and the rows.

    `before` are the sums of windows that have left the history.
    """

    baseline: str
    sums: tuple[tuple[float, ...], ...] = ()
    rows: tuple[tuple[int, ...], ...] = ()
    before: tuple[tuple[float, ...], tuple[int, ...]] = ((), ())

    def add(self, baseline: Baseline, window: Summary) -> Creep:
        """Give the state with one more window."""
        sums, rows = [], []
        totals = [int(counts.sum()) for counts in window.counts]
        for component in baseline.followed.components:
            column, counts = baseline.columns[component.column], window.counts[component.column]
            if component.kind == "location":
                sums.append(round(float(counts[: column.values] @ column.locations), 4))
                rows.append(totals[component.column] - int(counts[-2]) - int(counts[-1]))
            else:
                sums.append(float(counts[component.slot]))
                rows.append(totals[component.column])
        all_sums, all_rows = (*self.sums, tuple(sums)), (*self.rows, tuple(rows))
        before = self.before
        if len(all_sums) > _HISTORY:
            held = before if before[0] else (tuple([0.0] * len(sums)), tuple([0] * len(sums)))
            before = (
                tuple(a + b for a, b in zip(held[0], all_sums[0], strict=True)),
                tuple(a + b for a, b in zip(held[1], all_rows[0], strict=True)),
            )
            all_sums, all_rows = all_sums[1:], all_rows[1:]
        return Creep(self.baseline, all_sums, all_rows, before)

    def to_json(self) -> bytes:
        """Write the state."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes | str) -> Creep:
        """Read a state; raises DriftError if it is none."""
        try:
            raw = json.loads(text)
            return cls(
                raw["baseline"],
                tuple(map(tuple, raw["sums"])),
                tuple(map(tuple, raw["rows"])),
                (tuple(raw["before"][0]), tuple(raw["before"][1])),
            )
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DriftError(f"this is not a state of the creep rule: {error!r}") from error


class _Followed(NamedTuple):
    """What the creep rule needs of the baseline, one entry a component."""

    components: list[_Component]
    weights: Floats
    sums: Floats
    rows: Floats
    variances: Floats
    pulls: Floats
    rates: NDArray[np.bool_]
    shares: NDArray[np.bool_]


def _follow(baseline: Baseline) -> _Followed:
    components = _components(baseline)
    table = np.array(
        [_reference(baseline.columns[one.column], one) for one in components], dtype=np.float64
    )
    return _Followed(
        components,
        np.array([one.weight for one in components]),
        table[:, 0],
        table[:, 1],
        table[:, 2],
        table[:, 3],
        np.array([one.kind in ("missing", "unseen") for one in components]),
        np.array([one.kind == "shape" for one in components]),
    )


def _creep(baseline: Baseline, state: Creep, share: float) -> list[Finding]:
    """Judge the windows so far; gives the three strongest components, the first for all."""
    followed = baseline.followed
    sums, rows = np.asarray(state.sums), np.asarray(state.rows, dtype=np.float64)
    s1 = np.cumsum(sums[::-1], axis=0)[::-1]  # starts x components
    n1 = np.cumsum(rows[::-1], axis=0)[::-1]
    total_sums, total_rows = followed.sums + s1[0], followed.rows + n1[0]
    if state.before[0]:
        total_sums = total_sums + np.asarray(state.before[0])
        total_rows = total_rows + np.asarray(state.before[1])
    s0, n0 = total_sums - s1, total_rows - n1
    safe1, safe0 = np.maximum(n1, 1.0), np.maximum(n0, 1.0)
    effect = np.ones_like(safe1)
    for c, component in enumerate(followed.components):
        dispersion = _dispersion_of(baseline, baseline.columns[component.column])
        if dispersion is not None:
            effect[:, c] = dispersion.effect(component.kind, safe1[:, c])
    ratios = np.zeros_like(safe1)
    r = followed.rates
    # The rate before is known from few rows of its kind: count it at its upper bound of 3 sigma.
    ceiling = (s0[:, r] + 2.0 + 3.0 * np.sqrt(s0[:, r] + 1.0)) / safe0[:, r]
    each = [
        (s1[:, r] * math.log(q) - n1[:, r] * ceiling * (q - 1.0)) / effect[:, r]
        for q in _RATE_RATIOS
    ]
    ratios[:, r] = _log_mean(each)
    g = ~r & (followed.variances > 0.0)
    # A share's variance from all rows there are: at the baseline's own share, a baseline that has
    # too few of a kind by chance would take it to be sure of that.
    share_of = np.clip(total_sums / np.maximum(total_rows, 1.0), 0.0, 1.0)
    pooled = np.where(followed.shares, share_of * (1.0 - share_of), followed.variances)
    variance = np.maximum(pooled[g], 1e-12)
    information = 1.0 / (effect[:, g] * (1.0 / safe1[:, g] + 1.0 / safe0[:, g]))
    shift = s1[:, g] / safe1[:, g] - s0[:, g] / safe0[:, g]
    squares = shift**2 / variance * information
    each = []
    for scale in _PRIOR_SCALES:
        prior = information * scale**2
        each.append(squares * prior / (2.0 * (1.0 + prior)) - 0.5 * np.log1p(prior))
    mixed = _log_mean(each)
    # Few rows of a rare value are far from normal: they say nothing until there are more.
    fewer = np.minimum(safe1[:, g], safe0[:, g])
    pull = followed.pulls[g] / np.sqrt(variance * fewer / effect[:, g])
    mixed[pull > _LARGEST_JUMP] = 0.0
    ratios[:, g] = mixed

    highest = ratios.max(axis=0)
    logs = np.log(followed.weights) + highest + np.log(np.exp(ratios - highest).sum(axis=0))
    peak = float(logs.max())
    total = peak + math.log(float(np.exp(logs - peak).sum()))
    starts = ratios.argmax(axis=0)
    threshold = _evidence(share)
    findings = []
    for rank, c in enumerate(np.argsort(-logs)[:3]):
        component, start = followed.components[c], starts[c]
        column = baseline.columns[component.column]
        before = float(s0[start, c] / safe0[start, c])
        after = float(s1[start, c] / safe1[start, c])
        size = after - before
        if component.kind == "location":
            # The sums hold mean ranks: give the value at the mean rank in place of the median.
            before, after = (
                column.quantile(column.counts, min(1.0, max(0.0, 0.5 + mean)))
                for mean in (before, after)
            )
        evidence = (total if rank == 0 else float(logs[c])) / math.log(10.0)
        findings.append(
            Finding(
                column.name,
                column.group,
                component.kind,
                "creep",
                size,
                FLOORS["location" if component.kind == "shape" else component.kind],
                max(evidence, 0.0),
                threshold,
                before,
                after,
                column.labels[component.slot] if component.kind == "shape" else "",
                len(state.sums) - int(start),
            )
        )
    return findings


def _reference(column: ColumnBaseline, component: _Component) -> tuple[float, float, float, float]:
    """Give the baseline's sum and rows of a component, its variance, and one row's largest pull."""
    if component.kind == "location":
        counts = column.seen
        n = float(counts.sum())
        return 0.0, n, float(counts @ column.locations**2 / max(n, 1.0)), 0.5
    if component.kind == "unseen":
        return float(column.unseen_of[0]), float(column.unseen_of[1]), 0.0, 1.0
    k, n = float(column.counts[component.slot]), float(column.rows)
    share = k / max(n, 1.0)
    return k, n, share * (1.0 - share), max(share, 1.0 - share)


def _log_mean(values: Sequence[Floats]) -> Floats:
    """Give the logarithm of the mean of exponentials, entry by entry."""
    top = np.maximum.reduce(list(values))
    total = sum(np.exp(value - top) for value in values)
    return np.asarray(top + np.log(total / len(values)), dtype=np.float64)
