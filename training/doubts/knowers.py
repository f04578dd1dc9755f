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

MAX_ROWS = 50_000
MIN_ROWS = 30
FOLDS = 5
BINS = 32
AREA = 0.98  # the least ROC-AUC of one column that makes it doubtful, after its error
SKILL = 0.93  # the same for more than two classes: the share of the log loss that it takes away
EXPLAINED = 0.995  # the same for a number: the share of the variance
EXACT = 1.0 - 1e-6
MOST_PARTS = 6
MAX_PAIR_ROWS = 1_500
MAX_PAIR_COLUMNS = 40
TOGETHER = 0.998
WEAK_ALONE = 0.95
PURE = 0.98
LARGEST_BASE = 0.9
MIN_GROUPS = 8
MOST_GROUPINGS = 30  # categories before numbers


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
        _find_means(taken, target, classes),
        _find_alone(taken, target, classes),
        _find_parts(taken, target, classes),
        _find_together(taken, target, classes),
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
        for side, word in ((filled, "filled in"), (~filled, "empty")):
            found = _find_pure(side, codes, shares)
            if found is None:
                continue
            code, purity = found
            reached = float(side[codes == code].mean())
            if reached < 0.2:
                continue  # a small part of the class: a fact about it, not a copy of the target
            yield Doubt(
                f"presence:{variable.name}",
                f"{variable.name!r} is {word} in {int(side.sum())} rows, of which {purity:.1%} are "
                f"{classes[code]!r} ({shares[code]:.1%} of all rows are): is it filled in only "
                "once the outcome is known?",
                (variable.name,),
            )
            break


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


# -- as parts of a sum or product ----------------------------------------------------------------


def _find_parts(
    variables: Sequence[Variable], labels: FloatArray, classes: Sequence[str]
) -> Iterator[Doubt]:
    """Find a few numbers whose weighted sum, or product of powers, is the target."""
    if classes:
        return
    numbers = [v for v in variables if v.kind == "number" and np.isfinite(v.values).mean() > 0.5]
    for word, logs in (("sum", False), ("product", True)):
        usable = numbers
        target = labels
        if logs:
            usable = [v for v in numbers if np.nanmin(v.values) > 0]
            if float(labels.min()) <= 0:
                return
            target = np.log(labels)
        names = _find_combination(usable, target, logs=logs)
        if names:
            shown = ", ".join(repr(name) for name in names)
            yield Doubt(
                f"{word}:{','.join(names)}",
                f"the target is a {'weighted sum' if word == 'sum' else 'product of powers'} of "
                f"{shown}: are they known when predicting?",
                tuple(names),
            )
            return


def _find_combination(
    variables: Sequence[Variable], target: FloatArray, *, logs: bool
) -> list[str]:
    if not variables:
        return []
    matrix = np.column_stack([np.log(v.values) if logs else v.values for v in variables])
    known = np.isfinite(matrix).all(axis=1) & np.isfinite(target)
    if known.sum() < max(MIN_ROWS, 3 * len(variables)):
        return []
    matrix, wanted = matrix[known], target[known]
    keep = np.ptp(matrix, axis=0) > 0
    matrix, names = (
        matrix[:, keep],
        [v.name for v, kept in zip(variables, keep, strict=True) if kept],
    )
    if np.ptp(wanted) == 0 or not names:
        return []
    matrix = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0)
    wanted = (wanted - wanted.mean()) / wanted.std()
    if _explained(matrix, wanted) < EXACT:
        return []
    chosen: list[int] = []
    while len(chosen) < MOST_PARTS:  # forwards, so that a short answer is found first
        best = max(
            (k for k in range(len(names)) if k not in chosen),
            key=lambda k: _explained(matrix[:, [*chosen, k]], wanted),
            default=None,
        )
        if best is None:
            break
        chosen.append(best)
        if _explained(matrix[:, chosen], wanted) >= EXACT:
            break
    if _explained(matrix[:, chosen], wanted) < EXACT:
        return []
    for k in list(chosen):  # and what a later one made needless goes
        others = [other for other in chosen if other != k]
        if others and _explained(matrix[:, others], wanted) >= EXACT:
            chosen = others
    return [names[k] for k in sorted(chosen)]


def _explained(matrix: FloatArray, wanted: FloatArray) -> float:
    """Give the share of the variance of a standardised target that a least-squares fit explains."""
    weights, *_ = np.linalg.lstsq(matrix, wanted, rcond=None)
    return 1.0 - float(((wanted - matrix @ weights) ** 2).mean())


def _find_together(
    variables: Sequence[Variable], labels: FloatArray, classes: Sequence[str]
) -> Iterator[Doubt]:
    """Find two numbers that say little alone and nearly everything together, as a difference does.

    The direction that parts two classes best (Fisher 1936) in each plane of two columns.
    """
    if len(classes) != 2:
        return
    rows = sample_rows(len(labels), MAX_PAIR_ROWS)
    hits = labels[rows] == 1
    if min(int(hits.sum()), int((~hits).sum())) < MIN_ROWS:
        return
    columns, areas = [], []
    for variable in variables:
        values = variable.values[rows]
        if variable.kind == "number" and np.isfinite(values).all() and np.ptp(values) > 0:
            area = rank_area(values, hits)
            columns.append((variable.name, (values - values.mean()) / values.std()))
            areas.append(max(area, 1.0 - area))
    kept = range(min(len(columns), MAX_PAIR_COLUMNS))
    for first in kept:
        for second in range(first + 1, len(kept)):
            if max(areas[first], areas[second]) >= WEAK_ALONE:
                continue
            plane = np.column_stack([columns[first][1], columns[second][1]])
            area = _part_classes(plane, hits)
            if area >= TOGETHER:
                names = (columns[first][0], columns[second][0])
                yield Doubt(
                    f"together:{','.join(names)}",
                    f"{names[0]!r} and {names[1]!r} tell the target together (ROC-AUC {area:.3f}), "
                    f"and little alone ({areas[first]:.2f} and {areas[second]:.2f}): was one of "
                    "them, or the target, made from the other?",
                    names,
                )
                return


def _part_classes(plane: FloatArray, hits: BoolArray) -> float:
    """Give the ROC-AUC along the direction that parts the classes best."""
    inside = np.cov(plane[hits].T) + np.cov(plane[~hits].T)
    if np.linalg.cond(inside) > 1e12:
        return 0.5
    direction = np.linalg.solve(inside, plane[hits].mean(axis=0) - plane[~hits].mean(axis=0))
    return rank_area(plane @ direction, hits)


# -- as means of the target ----------------------------------------------------------------------


def _find_means(
    variables: Sequence[Variable], labels: FloatArray, classes: Sequence[str]
) -> Iterator[Doubt]:
    """Find columns made from means of the target over groups: target encodings."""
    targets = (
        [labels]
        if not classes
        else [(labels == code).astype(np.float64) for code in range(len(classes))]
    )
    groupings = sorted((v for v in variables if _has_groups(v)), key=lambda v: v.kind)
    groupings = groupings[:MOST_GROUPINGS]
    for variable in variables:
        if variable.kind != "number" or not np.isfinite(variable.values).all():
            continue
        by = _find_grouping(variable, groupings, targets)
        if by is not None:
            yield Doubt(
                f"mean:{variable.name}",
                f"{variable.name!r} is the mean of the target {by}: it was made from the answers "
                "of the very rows that judge; compute it within training, or leave it out",
                (variable.name,),
            )


def _has_groups(variable: Variable) -> bool:
    values = variable.values[np.isfinite(variable.values)]
    distinct = len(np.unique(values))
    return MIN_GROUPS <= distinct <= len(values) / 3


def _find_grouping(
    variable: Variable, groupings: Sequence[Variable], targets: Sequence[FloatArray]
) -> str | None:
    distinct, own = np.unique(variable.values, return_inverse=True)
    if len(distinct) < 3:
        return None
    sizes = np.bincount(own)
    rounding = _rounding(distinct)
    for target in targets:
        if len(distinct) <= len(own) / 3:
            means = np.bincount(own, weights=target) / sizes
            same = np.abs(means - distinct) <= rounding
            varied = len(np.unique(means[same])) >= 3
            if varied and sizes[same].sum() >= 0.9 * sizes.sum():
                return "among the rows that share its value"
        for grouping in groupings:
            if grouping is variable or not np.isfinite(grouping.values).all():
                continue
            if _is_mean_over(variable.values, grouping, target, rounding):
                return f"over {grouping.name!r}"
    return None


def _is_mean_over(
    values: FloatArray, grouping: Variable, target: FloatArray, rounding: float
) -> bool:
    """Say whether values are a group's mean, with or without the row's own answer, or shrunk."""
    _, groups = np.unique(grouping.values, return_inverse=True)
    sizes = np.bincount(groups)
    sums = np.bincount(groups, weights=target)
    many = sizes[groups] >= 2
    left_out = (sums[groups] - target) / np.maximum(1, sizes[groups] - 1)
    if many.sum() >= 0.5 * len(values):
        close = np.abs(values - left_out)[many] <= rounding
        if close.mean() >= 0.9 and np.ptp(left_out[many]) > 10 * rounding:
            return True
    means = sums / sizes
    first = np.zeros(len(sizes))
    first[groups] = values
    if not np.array_equal(first[groups], values):
        return False  # it changes within the group, so it is none of its means
    if (np.abs(first - means) <= rounding).mean() >= 0.9 and np.ptp(means) > 10 * rounding:
        return True
    return _fits_noise(first, means, sizes, target, groups)


def _fits_noise(
    first: FloatArray, means: FloatArray, sizes: IntArray, target: FloatArray, groups: IntArray
) -> bool:
    """Say whether a group's value follows the noise of its mean, as a shrunk mean does.

    An honest property of a group explains its true mean at best; what is left then is the sampling
    variance of the mean. A fit much closer than that was made from the answers.
    """
    from scipy.stats import chi2

    within = np.bincount(groups, weights=(target - means[groups]) ** 2)
    pooled = float(within.sum()) / max(1, len(target) - len(sizes))
    if pooled <= 0 or len(sizes) < MIN_GROUPS or np.ptp(first) == 0:
        return False
    weights = sizes / pooled
    spread = float((weights * (means - np.average(means, weights=weights)) ** 2).sum())
    if float(chi2.cdf(spread, len(sizes) - 1)) < 0.01:
        return False  # the means hardly differ at all: a matched design, not a copied answer
    design = np.column_stack([np.ones(len(sizes)), first, first / sizes, 1.0 / sizes])
    root = np.sqrt(weights)
    fitted, _, rank, _ = np.linalg.lstsq(design * root[:, None], means * root, rcond=None)
    left = float((weights * (means - design @ fitted) ** 2).sum())
    freedom = len(sizes) - int(rank)
    return freedom >= 4 and float(chi2.cdf(left, freedom)) < 1e-6


def _rounding(values: FloatArray) -> float:
    """Give half a unit of the last decimal that values are written with, at most six."""
    for decimals in range(1, 7):
        if np.array_equal(np.round(values, decimals), values):
            return 0.51 * 10.0**-decimals if not np.array_equal(np.round(values), values) else 1e-9
    return 1e-6 * max(1.0, float(np.abs(values).max()))


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
