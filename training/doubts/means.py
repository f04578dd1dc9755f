"""Columns that were made from means of the target over groups: target encodings."""

from collections.abc import Iterator, Sequence

import numpy as np

from training.arrays import FloatArray, IntArray
from training.doubts.doubt import Doubt, Variable, last_decimal

MIN_GROUPS = 8
MOST_GROUPINGS = 30  # categories before numbers
MOST_PAIRS = 3_000  # of a column and a grouping


def find_means(
    variables: Sequence[Variable], labels: FloatArray, classes: Sequence[str]
) -> Iterator[Doubt]:
    """Find columns made from means of the target over groups: target encodings."""
    targets = (
        [labels]
        if not classes
        else [(labels == code).astype(np.float64) for code in range(len(classes))]
    )
    groupings = sorted((v for v in variables if _has_groups(v)), key=lambda v: v.kind)
    groupings = groupings[: min(MOST_GROUPINGS, max(3, MOST_PAIRS // max(1, len(variables))))]
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
    rounding = last_decimal(distinct)
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
