"""Champion against challenger: both answer the same rows, which neither was trained on.

The rule. Resample those rows a thousand times (a paired bootstrap: each resample scores both
models) and look at the challenger's advantage in the metric.

- *As a rule* the challenger is promoted only if 95% of the resamples favour it: a challenger of the
  same quality is promoted by luck in about one job of twenty (`LUCKY_RATE`; a test measures it).
- *After a drift alarm* the champion is known to face data that it was not made for, so the burden
  of proof turns around: on the new rows the challenger is promoted unless it is worse, that is
  unless fewer than 5% of the resamples favour it or its score is worse by more than `[gates]
  max_regression` together with more resamples against it than for it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from core import bundle as files
from core.bundle import Bundle
from core.contract import Contract
from core.engine import ONNX_INPUT, ONNX_OUTPUT, load_engine, read_header
from core.settings import METRICS
from training import metrics
from training.judge.evaluation import Interval, draw_weights, interval_of, replicates_for
from training.metrics import Answers

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.intp]
Measure: TypeAlias = Callable[[FloatArray], FloatArray]

LUCKY_RATE = 0.05
MIN_ROWS = 20
ROUNDING = 1e-9
MAX_ROWS = 20_000


@dataclass(frozen=True)
class Champion:
    """The model that is live: its contract, its answers, and how it came about."""

    contract: Contract
    split: dict[str, Any]
    lineage: dict[str, Any]
    answer: Callable[[FloatArray], FloatArray]
    threshold: float | None

    @property
    def run(self) -> str:
        """Name the run that trained it."""
        return str(self.lineage.get("run", "unknown"))


@dataclass(frozen=True)
class Duel:
    """Both models' score on the same rows, and the challenger's advantage (positive is better)."""

    metric: str
    rows: int
    champion: Interval
    challenger: Interval
    advantage: Interval
    favourable: float

    def to_dict(self) -> dict[str, Any]:
        """Give JSON-ready members."""
        return {
            "metric": self.metric,
            "rows": self.rows,
            "champion": self.champion.to_dict(),
            "challenger": self.challenger.to_dict(),
            "advantage": self.advantage.to_dict(),
            "favourable": self.favourable,
        }


@dataclass(frozen=True)
class Decision:
    """Whether the challenger should take over, and why."""

    promote: bool
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Give JSON-ready members."""
        return {"promote": self.promote, "reason": self.reason}


def load_champion(folder: Path) -> Champion:
    """Open the champion's bundle; it answers from its tables, or from ONNX where it has none.

    Raises BundleError if a file is absent or altered.
    """
    opened = Bundle.from_folder(folder)
    model = opened.file(files.MODEL)
    header = read_header(model)
    has_tables = json.loads(model).get("tables") is not None
    answer = (
        _answer_from_tables(model) if has_tables else _answer_from_onnx(opened.file(files.ONNX))
    )
    return Champion(
        contract=opened.contract(),
        split=dict(opened.evaluation().get("split") or {}),
        lineage=opened.lineage(),
        answer=answer,
        threshold=header.threshold,
    )


def _answer_from_tables(model: bytes) -> Callable[[FloatArray], FloatArray]:
    engine = load_engine(model)
    return lambda matrix: np.asarray(engine.score_many(matrix.tolist()), dtype=np.float64)


def _answer_from_onnx(model: bytes) -> Callable[[FloatArray], FloatArray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda matrix: np.asarray(
        session.run([ONNX_OUTPUT], {ONNX_INPUT: matrix})[0], dtype=np.float64
    )


def explain_mismatch(champion: Contract, challenger: Contract) -> str | None:
    """Say why two models cannot be compared, or None if they answer the same question."""
    if champion.task != challenger.task:
        return f"the champion's task is {champion.task}, the challenger's {challenger.task}"
    if champion.target != challenger.target:
        return f"the champion predicts {champion.target!r}, the challenger {challenger.target!r}"
    if challenger.is_classification and not set(champion.classes) & set(challenger.classes):
        return "the champion's classes are none of the challenger's"
    return None


def align_outputs(outputs: FloatArray, champion: Contract, challenger: Contract) -> FloatArray:
    """Put a champion's outputs into the order of the challenger's classes; a new class gets 0."""
    if not challenger.is_classification or champion.classes == challenger.classes:
        return outputs
    aligned = np.zeros((len(outputs), len(challenger.classes)))
    for position, name in enumerate(challenger.classes):
        if name in champion.classes:
            aligned[:, position] = outputs[:, champion.classes.index(name)]
    return aligned


def duel(champion: Answers, challenger: Answers, metric: str, units: IntArray, seed: int) -> Duel:
    """Score both on the same labelled rows."""
    better = METRICS[challenger.task][metric]
    return duel_measures(
        lambda weights: metrics.compute(metric, champion, weights),
        lambda weights: metrics.compute(metric, challenger, weights),
        metric=metric,
        lower_is_better=better == "lower",
        units=units,
        seed=seed,
    )


def duel_measures(
    champion: Measure,
    challenger: Measure,
    *,
    metric: str,
    lower_is_better: bool,
    units: IntArray,
    seed: int,
) -> Duel:
    """Score both with the same bootstrap weights; each measure gives one value a row of weights."""
    sign = -1.0 if lower_is_better else 1.0
    ones = np.ones((1, len(units)))
    ours, theirs = float(challenger(ones)[0]), float(champion(ones)[0])
    drawn_ours: list[FloatArray] = []
    drawn_theirs: list[FloatArray] = []
    for weights in draw_weights(units, replicates_for(len(units)), seed):
        drawn_ours.append(challenger(weights))
        drawn_theirs.append(champion(weights))
    all_ours, all_theirs = np.concatenate(drawn_ours), np.concatenate(drawn_theirs)
    gaps = _without_rounding(sign * (all_ours - all_theirs))
    known = gaps[np.isfinite(gaps)]
    favourable = float(((known > 0) + 0.5 * (known == 0)).mean()) if len(known) else 0.5
    return Duel(
        metric,
        len(units),
        interval_of(theirs, all_theirs),
        interval_of(ours, all_ours),
        interval_of(float(_without_rounding(np.asarray([sign * (ours - theirs)]))[0]), gaps),
        favourable,
    )


def _without_rounding(gaps: FloatArray) -> FloatArray:
    """Take a gap that is mere rounding (the champion answers from other code) for none."""
    return np.where(np.abs(gaps) < ROUNDING, 0.0, gaps)


def decide(
    everything: Duel | None, fresh: Duel | None, *, trigger: str, max_regression: float
) -> Decision:
    """Apply this module's rule; `everything` is on all rows unseen by both, `fresh` on new ones."""
    if trigger == "drift" and fresh is not None and fresh.rows >= MIN_ROWS:
        return _decide_after_drift(fresh, max_regression)
    if everything is None or everything.rows < MIN_ROWS:
        rows = everything.rows if everything else 0
        return Decision(
            False,
            f"only {rows} rows are unseen by both the champion and this model, too few to tell "
            f"them "
            f"apart ({MIN_ROWS} are needed); the champion stays",
        )
    shown = _show(everything)
    if everything.favourable > 1 - LUCKY_RATE and everything.advantage.value > 0:
        return Decision(True, f"better than the champion by more than noise: {shown}")
    if everything.advantage.value > 0:
        return Decision(False, f"better than the champion, but within noise: {shown}")
    return Decision(False, f"not better than the champion: {shown}")


def _decide_after_drift(fresh: Duel, max_regression: float) -> Decision:
    shown = _show(fresh, "new rows")
    if fresh.favourable > 1 - LUCKY_RATE and fresh.advantage.value > 0:
        return Decision(True, f"after drift, clearly better than the champion: {shown}")
    if fresh.favourable < LUCKY_RATE and fresh.advantage.value < -max_regression:
        return Decision(False, f"after drift, worse than the champion: {shown}")
    return Decision(True, f"after drift, not worse than the champion: {shown}")


def _show(result: Duel, rows: str = "rows unseen by both") -> str:
    limits = ""
    if np.isfinite(result.advantage.low):
        limits = f" (advantage {result.advantage.low:.4g} to {result.advantage.high:.4g})"
    return (
        f"{result.metric} {result.challenger.value:.4g} against {result.champion.value:.4g} on "
        f"{result.rows} {rows}{limits}, ahead in {result.favourable:.1%} of resamples"
    )


def limit_rows(rows: IntArray, places: Sequence[float] | None = None) -> IntArray:
    """Keep at most `MAX_ROWS`, evenly spread, so that a large holdout is compared in seconds."""
    if len(rows) <= MAX_ROWS:
        return rows
    return rows[np.unique(np.linspace(0, len(rows) - 1, MAX_ROWS).round().astype(np.intp))]
