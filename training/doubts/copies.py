"""Copies: rows that were drawn again, and rows that are nearly another row's twin.

Exact copies within a file are cases of their own or one case drawn often; which of the two shows in
whether equal inputs have equal answers. Near copies (an export of the same people every day,
interpolated rows, repeated measures without an id) lie on both sides of a random split, so that a
model is tested on what it has learned by heart. They are told by two things at once: the nearest
training row of a held-out row is much nearer than the others, and it has the same answer far more
often than the others have.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.arrays import BoolArray, FloatArray, IntArray
from training.doubts.doubt import Doubt, sample_rows

MAX_HELD = 1_500
MAX_TRAIN = 200_000
MAX_CELLS = 40_000_000
RANKS = (2, 4, 8, 16, 32, 64, 128, 256)
NEAR = 0.33  # of the distance to the neighbour that it is compared with
MIN_SHARE = 0.05
MIN_ROWS = 30
REDUCTION = 0.35  # of the disagreement with further neighbours
SIGMAS = 5.0
MAX_REFITTED = 400
RESTING = 0.3  # of the gain over knowing nothing
SLIGHT, MANIFOLD = 0.1, 4.0  # or a tenth of it, if the error becomes four times as large
DRAWN_AGAIN = 0.5  # distinct rows of a class, as a share: fewer are copies


@dataclass(frozen=True)
class NearCopies:
    """Held-out rows that have a near copy among the training rows.

    `held` are their row positions, `copies` the training rows that are near one of them, `others`
    as many training rows that are the next nearest and no copies; `share` is
    their share of the held-out rows. `disagreement` and `further` are how often their answers
    differ from the near copy's and from a further neighbour's (numbers: mean squared differences of
    ranks).
    """

    held: IntArray
    copies: IntArray
    others: IntArray
    share: float
    disagreement: float
    further: float


@dataclass(frozen=True)
class Rest:
    """The score on rows that have near copies, as it is and after training without the copies.

    Losses are squared errors, a row's mean; `base` is that of knowing nothing.
    """

    loss: float
    loss_without: float
    base: float
    sure: bool

    @property
    def figures(self) -> str:
        """Write the three losses."""
        return (
            f"squared error {self.loss:.4g} becomes {self.loss_without:.4g}, knowing nothing "
            f"{self.base:.4g}"
        )

    @property
    def resting(self) -> float:
        """Give the share of the gain over knowing nothing that goes with the copies."""
        gain = self.base - self.loss
        return (self.loss_without - self.loss) / gain if gain > 0 else 0.0

    @property
    def doubtful(self) -> bool:
        """Say whether a good part of the claim goes with them, or its error multiplies."""
        much = self.resting >= RESTING
        manifold = self.resting >= SLIGHT and self.loss_without >= MANIFOLD * self.loss
        return self.sure and (much or manifold)


def find_near_copies(
    matrix: FloatArray,
    categories: Sequence[bool],
    labels: FloatArray,
    train: IntArray,
    holdout: IntArray,
    *,
    classes: bool,
) -> NearCopies | None:
    """Look for near copies across the split; None where there are none beyond chance.

    `matrix` is the encoded table, `categories` says which of its columns hold codes. A find is a
    reason to ask `measure_rest`, not yet a doubt: where the columns give the answer without noise,
    near rows agree too.
    """
    held = holdout[np.isfinite(labels[holdout])]
    held = held[sample_rows(len(held), MAX_HELD)]
    train = train[np.isfinite(labels[train])]
    train = train[sample_rows(len(train), MAX_TRAIN)]
    if len(held) < MIN_ROWS or len(train) < 4 * RANKS[0] or matrix.shape[1] == 0:
        return None
    points = _coordinates(matrix, categories, train)
    ranks = [rank for rank in RANKS if rank <= len(train) // 4]
    distances, neighbours = _nearest(points, train, held, max(ranks))
    answers = labels if classes else _to_ranks(labels)
    differ = _difference(answers, held, neighbours, classes=classes)
    found = [_compare(held, distances, neighbours, differ, rank) for rank in ranks]
    shares = [0.0 if near is None else near.share for near in found]
    if max(shares) == 0.0:
        return None
    # The smallest neighbourhood that shows nearly all of them takes away the least beside copies.
    enough = 0.8 * max(shares)
    return next(near for near in found if near is not None and near.share >= enough)


def _compare(
    held: IntArray, distances: FloatArray, neighbours: IntArray, differ: FloatArray, rank: int
) -> NearCopies | None:
    """Compare the nearest neighbour with a further one, over the rows where it is much nearer."""
    first, other = distances[:, 0], distances[:, rank - 1]
    near = (first < NEAR * other) & (other > 0)
    if near.sum() < max(MIN_ROWS, MIN_SHARE * len(held)):
        return None
    closer, further = differ[near, 0], differ[near, rank - 1]
    gaps = further - closer
    spread = float(gaps.std()) / np.sqrt(len(gaps))
    mean = float(further.mean())
    if mean <= 0 or float(gaps.mean()) < max(REDUCTION * mean, SIGMAS * spread):
        return None
    chosen = np.flatnonzero(near)
    chosen = chosen[sample_rows(len(chosen), MAX_REFITTED)]
    inside = distances[chosen] < NEAR * other[chosen][:, None]
    copies = np.unique(neighbours[chosen][inside])
    others = _take_next(neighbours[chosen], inside, copies)
    return NearCopies(held[chosen], copies, others, float(near.mean()), float(closer.mean()), mean)


def _take_next(neighbours: IntArray, inside: BoolArray, copies: IntArray) -> IntArray:
    """Take for each held-out row as many further neighbours as it has copies, but no copies."""
    taken: list[IntArray] = []
    for row, near in zip(neighbours, inside, strict=True):
        further = row[~near]
        taken.append(further[~np.isin(further, copies)][: int(near.sum())])
    return np.unique(np.concatenate(taken)) if taken else np.array([], dtype=np.intp)


def measure_rest(losses: FloatArray, without: FloatArray, base: FloatArray) -> Rest:
    """Compare the losses of the same rows: as claimed, and without what the claim may rest on.

    `base` holds the losses of knowing nothing; all three have one entry a row.
    """
    gaps = without - losses
    spread = float(gaps.std()) / np.sqrt(len(gaps))
    return Rest(
        float(losses.mean()),
        float(without.mean()),
        float(base.mean()),
        bool(float(gaps.mean()) > 3.0 * spread),
    )


def doubt_near_copies(found: NearCopies, rest: Rest) -> Doubt | None:
    """Hold the claim where a good part of it rests on near copies."""
    if not rest.doubtful:
        return None
    return Doubt(
        "near-copies",
        f"{found.share:.0%} of the held-out rows have a near copy among the training rows, and "
        f"{min(rest.resting, 1.0):.0%} of what the model knows of them goes when it is trained "
        f"without those copies ({rest.figures}): an export of the same things over and over, "
        "repeated measures or made-up rows? Name what tells them apart: [problem] id_column with "
        "[data] arrival, or group_column",
    )


def _coordinates(matrix: FloatArray, categories: Sequence[bool], train: IntArray) -> FloatArray:
    """Place rows so that distances compare: numbers by their ranks, codes one column a value."""
    from scipy.stats import rankdata

    columns = []
    for position, is_code in enumerate(categories):
        values = matrix[:, position]
        missing = np.isnan(values)
        known = values[train][~missing[train]]
        distinct, counts = np.unique(known, return_counts=True)
        if len(distinct) < 2 and not missing.any():
            continue
        if is_code or len(distinct) <= 2:
            for value in distinct[np.argsort(-counts, kind="stable")[:20]]:
                columns.append((values == value) / np.sqrt(2.0))
        else:
            order = rankdata(values[~missing]) / max(1, (~missing).sum())
            placed = np.full(len(values), 0.5)
            placed[~missing] = order
            columns.append(placed)
        if missing.any():
            columns.append(missing.astype(np.float64))
    if not columns:
        return np.zeros((len(matrix), 1))
    points = np.column_stack(columns)
    most = max(1, MAX_CELLS // max(1, len(train)))
    if points.shape[1] > most:  # a random projection keeps distances (Johnson and Lindenstrauss)
        random = np.random.default_rng(points.shape[1])
        points = points @ random.normal(size=(points.shape[1], most)) / np.sqrt(most)
    return points


def _nearest(
    points: FloatArray, train: IntArray, held: IntArray, most: int
) -> tuple[FloatArray, IntArray]:
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=most, algorithm="auto").fit(points[train])
    distances, places = index.kneighbors(points[held])
    return distances, train[places]


def _difference(
    answers: FloatArray, held: IntArray, neighbours: IntArray, *, classes: bool
) -> FloatArray:
    mine, theirs = answers[held][:, None], answers[neighbours]
    if classes:
        return np.asarray(mine != theirs, dtype=np.float64)
    squared: FloatArray = (mine - theirs) ** 2
    return squared


def _to_ranks(labels: FloatArray) -> FloatArray:
    from scipy.stats import rankdata

    ranks = np.full(len(labels), np.nan)
    known = np.isfinite(labels)
    ranks[known] = rankdata(labels[known]) / max(1, int(known.sum()))
    return ranks


def are_copies(places: FloatArray, labels: FloatArray | None) -> bool:
    """Say whether rows with equal inputs are one case drawn often, rather than cases of their own.

    `places` are hashes of the rows' inputs. Cases of their own differ in their answers as the
    target's noise has it; copies never do.
    """
    # In random order, so that a table that is sorted by its answers is no different.
    shuffled = np.random.default_rng(len(places)).permutation(len(places))
    order = shuffled[np.argsort(places[shuffled], kind="stable")]
    same = places[order][1:] == places[order][:-1]
    if not same.any():
        return True
    if labels is None:
        return len(np.unique(places)) >= 0.5 * len(places)
    values = labels[order]
    differ = float((values[1:][same] != values[:-1][same]).mean())
    _, counts = np.unique(labels[np.isfinite(labels)], return_counts=True)
    chance = 1.0 - float(((counts / counts.sum()) ** 2).sum())
    return differ < 0.2 * chance


def find_drawn_again(places: FloatArray, labels: FloatArray, classes: Sequence[str]) -> list[Doubt]:
    """Find classes whose rows are mostly copies of a few, while the others' are not."""
    if not are_copies(places, labels):
        return []  # a table of counts: equal rows are cases of their own
    found = []
    random = np.random.default_rng(len(places))
    sizes = [int((labels == code).sum()) for code in range(len(classes))]
    equal = min((size for size in sizes if size), default=0)
    distinct: list[float] = []  # shares of as many rows of each class: more rows repeat more
    for code in range(len(classes)):
        members = random.permutation(places[labels == code])[:equal]
        distinct.append(len(np.unique(members)) / max(1, len(members)))
    for code, share in enumerate(distinct):
        rows = int((labels == code).sum())
        others = max((s for k, s in enumerate(distinct) if k != code), default=0.0)
        if rows >= MIN_ROWS and share < DRAWN_AGAIN * others and share < DRAWN_AGAIN:
            cases = len(np.unique(places[labels == code]))
            found.append(
                Doubt(
                    f"drawn-again:{classes[code]}",
                    f"the {rows} rows of {classes[code]!r} are copies of {cases} cases, those of "
                    "other classes are not: the class was drawn again, so probabilities and scores "
                    "are for a share of it that service will not show; bring the table as it was",
                )
            )
    return found
