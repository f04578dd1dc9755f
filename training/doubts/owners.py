"""Columns whose repeated values own their rows: patients, customers, machines, whatever the name.

A random split puts rows of one owner on both sides, so the model is tested on people whom it was
trained on. An owner is told by what its rows share: other columns are constant or alike within it
far beyond chance, and so are the labels.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.arrays import FloatArray, IntArray
from training.doubts.doubt import Doubt, Variable, sample_rows

MAX_ROWS = 50_000
MIN_OWNERS = 8
MIN_ROWS_AN_OWNER = 1.5
LARGEST_SHARE = 0.2
CONSTANT = 0.95  # of the pairs of one owner that chance would part
ALIKE = 0.3
MIN_VALUES = 8
MOST_COLUMNS = 25
BEYOND_CHANCE = 10.0  # times the equal pairs that unrelated columns would have
PARTNERS = 0.5
_ID_NAME = re.compile(
    r"(^|[_\s.-])(id|ids|nr|no|num|number|uuid|guid|key|code|subject|case)$", re.I
)
_ID_CAMEL = re.compile(r"[a-z](ID|Id|Nr|No|Key|UUID)$")


@dataclass(frozen=True)
class Owner:
    """A column whose values own rows, and what its rows share."""

    name: str
    owners: int
    constant: tuple[str, ...]
    label_likeness: float
    like_pairs: float

    def explain(self) -> str:
        """Say in one sentence what was seen."""
        shared = [f"the labels are alike within it ({self.label_likeness:.2f})"]
        if self.constant:
            names = ", ".join(repr(name) for name in self.constant[:3])
            more = f" and {len(self.constant) - 3} more" if len(self.constant) > 3 else ""
            shared.insert(0, f"{names}{more} do not change within it")
        return f"{self.name!r} repeats ({self.owners} values) and " + ", and ".join(shared)

    def doubt(self) -> Doubt:
        """Hold a claim that rests on a split which parts the rows of an owner."""
        return Doubt(
            f"owner:{self.name}",
            f"{self.explain()}, so rows of one {self.name!r} are on both sides of the split: set "
            f'[problem] group_column = "{self.name}" and [split] strategy = "group"',
            (self.name,),
        )


def find_owners(
    variables: Sequence[Variable],
    labels: FloatArray,
    *,
    classes: bool,
    without: Sequence[str] = (),
) -> list[Owner]:
    """Find the columns that own rows, the likeliest first.

    `labels` are class codes or numbers, one a row; `without` names columns that cannot own rows:
    the target, times, columns that the project has declared to be something else.
    """
    rows = sample_rows(len(labels), len(labels))
    known = rows[np.isfinite(labels[rows])]
    if len(known) > MAX_ROWS:
        known = known[:MAX_ROWS]  # the first, so that the rows of one owner stay together
    found = []
    for variable in variables:
        if variable.name in without:
            continue
        groups = _groups(variable, known)
        if groups is not None:
            owner = _examine(variable, groups, variables, labels, known, classes, set(without))
            if owner is not None:
                found.append(owner)
    return sorted(found, key=lambda owner: (-len(owner.constant), -owner.owners))


def find_joint_owner(variables: Sequence[Variable]) -> tuple[tuple[str, str], IntArray] | None:
    """Find two columns that together repeat far beyond chance, as age and height of a person do.

    Gives their names and the joint value of each row. Related columns repeat together as well, so
    this is a reason to fit once more with those rows kept together, not yet a doubt.
    """
    coded = []
    for variable in variables:
        known = np.isfinite(variable.values)
        distinct, codes = np.unique(variable.values[known], return_inverse=True)
        if known.all() and MIN_VALUES <= len(distinct) <= 0.9 * len(codes):
            shares = np.bincount(codes) / len(codes)
            coded.append((variable.name, codes.astype(np.int64), float((shares**2).sum())))
    best: tuple[float, tuple[str, str], IntArray] | None = None
    for first, (name, codes, chance) in enumerate(coded[:MOST_COLUMNS]):
        for other, others, like in coded[first + 1 : MOST_COLUMNS]:
            joint = np.unique(codes * (int(others.max()) + 1) + others, return_inverse=True)[1]
            sizes = np.bincount(joint)
            n = len(joint)
            pairs = float((sizes * (sizes - 1.0)).sum()) / (n * (n - 1.0))
            partners = float(sizes[sizes > 1].sum()) / n
            ratio = pairs / max(chance * like, 1.0 / n**2)
            if ratio < BEYOND_CHANCE or partners < PARTNERS or n < MIN_ROWS_AN_OWNER * len(sizes):
                continue
            if best is None or ratio > best[0]:
                best = (ratio, (name, other), joint.astype(np.intp))
    return None if best is None else (best[1], best[2])


def doubt_joint_owner(names: tuple[str, str], resting: float, figures: str) -> Doubt:
    """Hold a claim that rests on rows of one owner on both sides, which no column names."""
    first, second = names
    return Doubt(
        f"owner:{first}+{second}",
        f"rows with equal {first!r} and {second!r} seem to be of the same thing (a person measured "
        f"again?): with those rows kept together {min(resting, 1.0):.0%} of what the model knows "
        f"goes ({figures}). Bring the column that names it, as [problem] group_column with "
        '[split] strategy = "group"',
        names,
    )


def _groups(variable: Variable, rows: IntArray) -> IntArray | None:
    """Give the owner of each row, if the column's values could be owners; -1 is missing."""
    values = variable.values[rows]
    known = np.isfinite(values)
    if known.sum() < 0.5 * len(rows) or not (values[known] == np.floor(values[known])).all():
        return None
    distinct, inverse, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    if len(distinct) < MIN_OWNERS or known.sum() < MIN_ROWS_AN_OWNER * len(distinct):
        return None
    if counts.max() > max(LARGEST_SHARE * known.sum(), 10):
        return None
    if counts[counts > 1].sum() < 0.5 * known.sum():
        return None
    groups = np.full(len(rows), -1, dtype=np.intp)
    groups[known] = inverse
    return groups


def _examine(
    variable: Variable,
    groups: IntArray,
    variables: Sequence[Variable],
    labels: FloatArray,
    rows: IntArray,
    classes: bool,
    without: set[str],
) -> Owner | None:
    inside = groups >= 0
    groups, rows = groups[inside], rows[inside]
    target, spread = measure_agreement(labels[rows], groups, category=classes)
    others = [
        other
        for other in variables
        if other is not variable and other.name not in without and _can_differ(other, rows)
    ]
    constant, like = [], 0
    for other in others:
        agreement, noise = measure_agreement(
            other.values[rows], groups, category=other.kind == "category"
        )
        if agreement >= CONSTANT and agreement > 5 * noise:
            constant.append(other.name)
        like += agreement >= ALIKE and agreement > 5 * noise
    named = bool(_ID_NAME.search(variable.name) or _ID_CAMEL.search(variable.name))
    alike = target > 4 * spread
    if not _owns(named, alike, target, len(constant), len(others)):
        return None
    owners = int(groups.max()) + 1
    return Owner(variable.name, owners, tuple(constant), target, like / max(1, len(others)))


def _owns(named: bool, alike: bool, likeness: float, constant: int, others: int) -> bool:
    """Weigh what the rows share; a name that says "id" needs less of it."""
    if named:
        return (alike and likeness >= 0.05) or constant >= 1
    if constant < 0.4 * others:
        return False
    return constant >= 3 or (constant == 2 and alike and likeness >= 0.05)


def _can_differ(variable: Variable, rows: IntArray) -> bool:
    """Leave out columns that are constant, mostly missing, or different in every row."""
    values = variable.values[rows]
    known = values[np.isfinite(values)]
    if len(known) < 0.5 * len(rows):
        return False
    distinct = len(np.unique(known))
    return 1 < distinct < 0.95 * len(known)


def measure_agreement(
    values: FloatArray, groups: IntArray, *, category: bool
) -> tuple[float, float]:
    """Measure how alike values are within groups: 0 as chance has it, 1 the same; and its error.

    For categories the share of equal pairs beyond chance (Cohen's kappa over pairs), for numbers
    the intraclass correlation of their ranks.
    """
    known = np.isfinite(values)
    values, groups = values[known], groups[known]
    sizes = np.bincount(groups)
    pairs = float((sizes * (sizes - 1.0)).sum())
    n = len(values)
    if pairs == 0 or n < 4:
        return 0.0, 1.0
    if category:
        _, codes = np.unique(values, return_inverse=True)
        shares = np.bincount(codes) / n
        chance = float((shares**2).sum())
        if chance >= 1.0:
            return 0.0, 1.0
        cells = np.unique(groups * (codes.max() + 1) + codes, return_counts=True)[1]
        same = float((cells * (cells - 1.0)).sum()) / pairs
        error = np.sqrt(2.0 * chance * (1.0 - chance) / pairs) / (1.0 - chance)
        return (same - chance) / (1.0 - chance), float(error)
    from scipy.stats import rankdata

    ranks = rankdata(values)
    if float(np.ptp(ranks)) == 0.0:
        return 0.0, 1.0
    ranks = (ranks - ranks.mean()) / ranks.std()
    sums = np.bincount(groups, weights=ranks)
    squares = np.bincount(groups, weights=ranks**2)
    within = float((sums**2 - squares).sum()) / pairs
    return within, float(np.sqrt(2.0 / pairs))
