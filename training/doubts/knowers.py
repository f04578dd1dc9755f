"""Columns that know the target: alone, by being filled in, as parts of a sum, as means of it.

These are the illegitimate features of the taxonomy (L2): values that exist only because the target
is known already, or that were computed from it. None of the checks looks at a model.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from training.arrays import BoolArray, FloatArray, IntArray
from training.doubts.doubt import (
    Doubt,
    Variable,
    area_error,
    rank_area,
    sample_rows,
)
from training.doubts.means import find_means
from training.doubts.parts import find_crossed, find_parts, find_together

MAX_ROWS = 50_000
MIN_ROWS = 30
FOLDS = 5
BINS = 32
AREA = 0.98  # the least ROC-AUC of one column that makes it doubtful, after its error
SKILL = 0.93  # the same for more than two classes: the share of the log loss that it takes away
EXPLAINED = 0.995  # the same for a number: the share of the variance
PURE = 0.98
LARGEST_BASE = 0.9
MIN_REACH = 0.2  # of a class: a smaller part is a fact about it, not a copy of the target
MIN_VALUES = 20  # distinct ones, for a frequent one to be a spike
MIN_SPIKE = 0.05
MOST_SPIKES = 5


def find_knowers(
    variables: Sequence[Variable],
    labels: FloatArray,
    *,
    classes: Sequence[str] = (),
    files: IntArray | None = None,
) -> list[Doubt]:
    """Find what knows the target; `classes` names the codes in `labels`, none for a number.

    `files` says from which file each row comes.
    """
    rows = sample_rows(len(labels), MAX_ROWS)
    rows = rows[np.isfinite(labels[rows])]
    if len(rows) < MIN_ROWS:
        return []
    taken = [Variable(v.name, v.kind, v.values[rows]) for v in variables]
    target = labels[rows]
    found: dict[str, Doubt] = {}
    checks = (
        _find_present(taken, target, classes),
        _find_spikes(taken, target, classes),
        find_means(taken, target, classes),
        _find_alone(taken, target, classes),
        find_parts(taken, target, classes),
        find_together(taken, target, classes),
        find_crossed(taken, target, classes),
        _find_files(None if files is None else files[rows], target, classes),
    )
    for doubts in checks:
        for doubt in doubts:
            # One doubt a column: the first check to see it says the most.
            if not any(set(doubt.columns) & set(other.columns) for other in found.values()):
                found[doubt.name] = doubt
    return list(found.values())


# -- alone ---------------------------------------------------------------------------------------


def _find_alone(
    variables: Sequence[Variable], labels: FloatArray, classes: Sequence[str]
) -> Iterator[Doubt]:
    for variable in variables:
        strength = measure_alone(variable, labels, classes)
        if strength is None:
            continue
        measure, value = strength
        yield Doubt(
            f"alone:{variable.name}",
            f"{variable.name!r} tells the target almost alone ({measure} {value:.3f} without any "
            "other column): is it known when predicting?",
            (variable.name,),
        )


def measure_alone(
    variable: Variable, labels: FloatArray, classes: Sequence[str]
) -> tuple[str, float] | None:
    """Give the measure by which a column nearly gives the target, or None where it does not.

    Each row is predicted from the mean of the target in its bin of the column, over other rows.
    """
    bins = _bin(variable)
    if bins is None:
        return None
    if not classes:
        predicted = _cross_fit(bins, labels)
        total = float(((labels - labels.mean()) ** 2).sum())
        explained = 1.0 - float(((labels - predicted) ** 2).sum()) / total if total > 0 else 0.0
        if explained >= EXPLAINED * (1.0 - 1.0 / BINS**2):
            return "R2", explained
        ranks = _rank_correlation(variable.values, labels)
        return ("rank correlation", ranks) if ranks >= 0.999 else None
    if len(classes) == 2:
        hits = labels == 1
        area = rank_area(_cross_fit(bins, hits.astype(np.float64)), hits)
        low = area - 1.64 * area_error(area, int(hits.sum()), int((~hits).sum()))
        return ("ROC-AUC", area) if low >= AREA else None
    skill = _measure_skill(bins, labels.astype(np.intp), len(classes))
    return ("share of the log loss explained", skill) if skill >= SKILL else None


def _bin(variable: Variable) -> IntArray | None:
    """Put a column's values into bins: categories as they are, missing values in one of their own.

    Numbers go by quantiles, so that a frequent value has a bin to itself.
    """
    values = variable.values
    known = np.isfinite(values)
    if known.sum() < MIN_ROWS:
        return None
    bins = np.zeros(len(values), dtype=np.intp)
    distinct, inverse = np.unique(values[known], return_inverse=True)
    if variable.kind == "category" or len(distinct) <= BINS:
        if len(distinct) > 0.2 * known.sum():
            return None
        bins[known] = inverse + 1
        return bins
    edges = np.unique(np.quantile(values[known], np.linspace(0, 1, BINS + 1)[1:-1], method="lower"))
    bins[known] = np.searchsorted(edges, values[known], side="left") + 1
    return bins


def _folds(rows: int) -> IntArray:
    return np.random.default_rng(rows).permutation(rows) % FOLDS


def _cross_fit(bins: IntArray, target: FloatArray) -> FloatArray:
    """Predict each row by the mean of its bin over the other folds, drawn towards the whole."""
    folds, size = _folds(len(bins)), int(bins.max()) + 1
    predicted = np.empty(len(bins))
    for fold in range(FOLDS):
        inside = folds == fold
        sums = np.bincount(bins[~inside], weights=target[~inside], minlength=size)
        counts = np.bincount(bins[~inside], minlength=size)
        overall = target[~inside].mean()
        predicted[inside] = ((sums + 0.5 * overall) / (counts + 0.5))[bins[inside]]
    return predicted


def _measure_skill(bins: IntArray, codes: IntArray, classes: int) -> float:
    """Give the share of the log loss of the base rates that the bins take away."""
    predicted = np.column_stack(
        [_cross_fit(bins, (codes == k).astype(np.float64)) for k in range(classes)]
    )
    predicted = np.clip(predicted, 1e-6, 1.0)
    predicted /= predicted.sum(axis=1, keepdims=True)
    shares = np.bincount(codes, minlength=classes) / len(codes)
    base = -float(np.log(np.clip(shares[codes], 1e-12, 1.0)).mean())
    loss = -float(np.log(predicted[np.arange(len(codes)), codes]).mean())
    return 1.0 - loss / base if base > 0 else 0.0


def _rank_correlation(values: FloatArray, labels: FloatArray) -> float:
    from scipy.stats import rankdata

    known = np.isfinite(values)
    if known.sum() < MIN_ROWS or np.ptp(values[known]) == 0.0 or np.ptp(labels[known]) == 0.0:
        return 0.0
    return abs(float(np.corrcoef(rankdata(values[known]), rankdata(labels[known]))[0, 1]))


# -- by being filled in --------------------------------------------------------------------------


def _find_present(
    variables: Sequence[Variable], labels: FloatArray, classes: Sequence[str]
) -> Iterator[Doubt]:
    """Find columns whose being filled in, or being empty, goes with one class."""
    if not classes:
        return
    codes = labels.astype(np.intp)
    shares = np.bincount(codes, minlength=len(classes)) / len(codes)
    for variable in variables:
        filled = np.isfinite(variable.values)
        sides = ((filled, "filled in"), (~filled, "empty"))
        said = _say_pure(variable.name, sides, codes, shares, classes)
        if said is not None:
            sentence = f"{said}: is it filled in only once the outcome is known?"
            yield Doubt(f"presence:{variable.name}", sentence, (variable.name,))


def _find_spikes(
    variables: Sequence[Variable], labels: FloatArray, classes: Sequence[str]
) -> Iterator[Doubt]:
    """Find numbers of which one frequent value, or having another, goes with one class.

    An amount that is 0 for everybody but some of one class was set once the outcome was known; a
    value that only rows of one class share was filled in by class.
    """
    if not classes:
        return
    codes = labels.astype(np.intp)
    shares = np.bincount(codes, minlength=len(classes)) / len(codes)
    for variable in variables:
        if variable.kind != "number":
            continue
        known = np.isfinite(variable.values)
        values, counts = np.unique(variable.values[known], return_counts=True)
        if len(values) < MIN_VALUES:
            continue
        order = np.argsort(-counts, kind="stable")[:MOST_SPIKES]
        for spike in values[order][counts[order] >= MIN_SPIKE * len(labels)]:
            at = variable.values == spike
            sides = [(known & ~at, f"other than {spike:.6g}")]
            if _stands_out(variable.values, at, codes):
                sides.append((at, f"exactly {spike:.6g}"))
            said = _say_pure(variable.name, sides, codes, shares, classes)
            if said is not None:
                sentence = f"{said}: is it set, or was it filled in, once the outcome is known?"
                yield Doubt(f"value:{variable.name}", sentence, (variable.name,))
                break


def _stands_out(values: FloatArray, at: BoolArray, codes: IntArray) -> bool:
    """Say whether the rows with the nearest other values are of other classes.

    If not, the value is no exception: the column rises or falls with the class.
    """
    code = int(np.bincount(codes[at]).argmax())
    apart = np.abs(values - values[at][0])
    apart[at | ~np.isfinite(values)] = np.inf
    nearest = np.argsort(apart, kind="stable")[: max(1, int(at.sum()) // 2)]
    nearest = nearest[np.isfinite(apart[nearest])]
    return bool((codes[nearest] == code).mean() < 0.9) if len(nearest) else False


def _say_pure(
    name: str,
    sides: Sequence[tuple[BoolArray, str]],
    codes: IntArray,
    shares: FloatArray,
    classes: Sequence[str],
) -> str | None:
    """Say which side of a column goes with one class, and how much of that class it is."""
    for side, word in sides:
        found = _find_pure(side, codes, shares)
        if found is None:
            continue
        code, purity = found
        if float(side[codes == code].mean()) >= MIN_REACH:
            return (
                f"{name!r} is {word} in {int(side.sum())} rows, of which {purity:.1%} are "
                f"{classes[code]!r} ({shares[code]:.1%} of all rows are)"
            )
    return None


def _find_pure(side: BoolArray, codes: IntArray, shares: FloatArray) -> tuple[int, float] | None:
    """Give the class that nearly all rows of a side have, where chance does not explain it."""
    from scipy.stats import binom

    size = int(side.sum())
    if size < 20 or size == len(side):
        return None
    counts = np.bincount(codes[side], minlength=len(shares))
    code = int(np.argmax(counts))
    if shares[code] > LARGEST_BASE or counts[code] < PURE * size:
        return None
    if float(binom.sf(counts[code] - 1, size, shares[code])) > 1e-6:
        return None
    return code, float(counts[code] / size)


# -- by the file ---------------------------------------------------------------------------------


def _find_files(
    files: IntArray | None, labels: FloatArray, classes: Sequence[str]
) -> Iterator[Doubt]:
    """Find a target that goes by the file that a row came in."""
    if files is None or len(np.unique(files)) < 2:
        return
    if classes:
        skill = _measure_skill(files.astype(np.intp), labels.astype(np.intp), len(classes))
    else:
        predicted = _cross_fit(files.astype(np.intp), labels)
        total = float(((labels - labels.mean()) ** 2).sum())
        skill = 1.0 - float(((labels - predicted) ** 2).sum()) / total if total > 0 else 0.0
    if skill >= 0.5:
        yield Doubt(
            "files",
            f"the file that a row came in tells {skill:.0%} of the target: what differs between "
            "the files (who made them, when, from where) is learned in place of what the columns "
            "mean",
        )
