"""Trees over channels, rewritten as trees over the features of the encoded vector."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from core.engine import AMONG, AMONG_OR_MISSING, AT_MOST, AT_MOST_OR_MISSING
from training.arrays import BoolArray, FloatArray
from training.export.folding.preparation import Preparation
from training.export.folding.tables import NotFoldable, Tables
from training.export.folding.terms import unlisted_value

# Values beyond this are taken to fall on the outer side of every threshold.
_FAR = 1e150
# Sign, exponent and mantissa: so many halvings separate any two floats.
_HALVINGS = 64


@dataclass(frozen=True)
class Tree:
    """A fitted tree over channels, as arrays over its nodes; leaves have `left` -1.

    `members[node]` are the codes that go left at a split on categories.
    """

    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    channel: npt.NDArray[np.int64]
    threshold: FloatArray
    missing_left: BoolArray
    value: Any
    members: dict[int, frozenset[float]] = field(default_factory=dict)
    output: int = 0


def fold_trees(
    trees: list[Tree],
    preparation: Preparation,
    base: list[float],
    divisor: float,
    link: str,
    *,
    single: bool = False,
    categories: dict[int, list[float]] | None = None,
) -> Tables:
    """Write trees over channels as trees over features; `single`: they compare in float32."""
    splits = _Splits(trees, preparation, single, categories or {})
    vectors = trees[0].value.ndim == 2
    writer = _Writer(splits, vectors)
    # One margin's trees stand together, in the order in which scikit-learn adds them.
    for tree in sorted(trees, key=lambda tree: tree.output):
        writer.write(tree)
    return Tables(
        "trees",
        {
            "base": base,
            "divisor": divisor,
            "link": link,
            "trees": {
                "feature": writer.feature,
                "test": writer.test,
                "value": writer.value,
                "right": writer.right,
                "roots": writer.roots,
                "outputs": writer.outputs,
                "sets": [list(codes) for codes in writer.sets],
                "leaves": writer.leaves if vectors else None,
            },
        },
    )


@dataclass(frozen=True)
class _Split:
    """A test of a feature: at most a threshold, or (`codes`) one of a set.

    `holds_left` says which child is taken where it holds, `missing_holds` whether it holds for
    missing values.
    """

    feature: int
    threshold: float
    codes: tuple[float, ...] | None
    holds_left: bool
    missing_holds: bool


class _Splits:
    """Turns splits on channels into splits on features."""

    def __init__(
        self,
        trees: list[Tree],
        preparation: Preparation,
        single: bool,
        categories: dict[int, list[float]],
    ) -> None:
        self._channels = preparation.channels
        self._single = single
        self._categories = categories
        self._codes = [
            np.array(
                categories_of
                if (categories_of := self._own_categories(index)) is not None
                else channel.codes or ()
            )
            for index, channel in enumerate(self._channels)
        ]
        asked = [
            np.array([*codes, unlisted_value(codes.tolist()), math.nan]) for codes in self._codes
        ]
        self._values = preparation.evaluate(asked) if preparation.channels else []
        self._thresholds = self._bisect(trees, preparation)

    def _own_categories(self, index: int) -> list[float] | None:
        known = self._categories.get(index)
        if known is None:
            return None
        channel = self._channels[index]
        if not channel.raw or channel.codes is not None:
            raise NotFoldable("categories of histogram boosting that were encoded before it")
        return [code for code in known if not math.isnan(code)]

    def _is_number(self, index: int) -> bool:
        return self._channels[index].codes is None and index not in self._categories

    def _bisect(self, trees: list[Tree], preparation: Preparation) -> list[dict[float, float]]:
        """Find, for each threshold on a number, the largest float of its feature on the left."""
        wanted: list[list[FloatArray]] = [[] for _ in self._channels]
        for tree in trees:
            inner = tree.left >= 0
            for index in np.unique(tree.channel[inner]):
                if self._is_number(int(index)):
                    chosen = inner & (tree.channel == index)
                    wanted[index].append(tree.threshold[chosen])
        targets = [np.unique(np.concatenate(w)) if w else np.empty(0) for w in wanted]
        plain = not preparation.steps
        if plain and not self._single:
            return [dict(zip(t.tolist(), t.tolist(), strict=True)) for t in targets]
        low = [np.full(len(t), _to_key(np.array([-_FAR]))[0]) for t in targets]
        high = [np.full(len(t), _to_key(np.array([_FAR]))[0]) for t in targets]
        for _ in range(_HALVINGS + 1):
            middle = [(a >> 1) + (b >> 1) + (a & b & 1) for a, b in zip(low, high, strict=True)]
            points = [_from_key(m) for m in middle]
            given = points if plain else preparation.evaluate(points)
            for i, target in enumerate(targets):
                value = given[i].astype(np.float32) if self._single else given[i]
                at_most = value.astype(np.float64) <= target
                low[i] = np.where(at_most, middle[i], low[i])
                high[i] = np.where(at_most, high[i], middle[i])
        return [
            dict(zip(t.tolist(), _from_key(a).tolist(), strict=True))
            for t, a in zip(targets, low, strict=True)
        ]

    def _goes_left(self, value: float, tree: Tree, node: int) -> bool:
        if math.isnan(value):
            return bool(tree.missing_left[node])
        if self._single:
            value = float(np.float32(value))
        return value <= float(tree.threshold[node])

    def read(self, tree: Tree, node: int) -> _Split | bool:
        """Give the split of a node, or True (False) where all rows go left (right)."""
        index = int(tree.channel[node])
        feature = self._channels[index].feature
        values = self._values[index]
        if self._is_number(index):
            missing_left = self._goes_left(float(values[-1]), tree, node)
            threshold = self._thresholds[index][float(tree.threshold[node])]
            if abs(threshold) < _FAR * 0.999:
                return _Split(feature, threshold, None, True, missing_left)
            all_left = threshold > 0
            if missing_left == all_left:
                return all_left
            return _Split(feature, 0.0, (), not all_left, True)
        codes = self._codes[index].tolist()
        if index in self._categories:
            left = set(tree.members[node])
            other_left = missing_left = bool(tree.missing_left[node])
        else:
            left = {
                code
                for code, value in zip(codes, values, strict=False)
                if self._goes_left(float(value), tree, node)
            }
            other_left = self._goes_left(float(values[-2]), tree, node)
            missing_left = self._goes_left(float(values[-1]), tree, node)
        # The test lists the codes that part from all the others.
        chosen = tuple(code for code in codes if (code in left) != other_left)
        missing_holds = missing_left != other_left
        if not chosen and not missing_holds:
            return other_left
        return _Split(feature, 0.0, chosen, not other_left, missing_holds)


class _Writer:
    """Writes trees as flat lists: a split, then all of the child where it holds, then the other."""

    def __init__(self, splits: _Splits, vectors: bool) -> None:
        self._splits = splits
        self._vectors = vectors
        self.feature: list[int] = []
        self.test: list[int] = []
        self.value: list[float | int] = []
        self.right: list[int] = []
        self.roots: list[int] = []
        self.outputs: list[int] = []
        self.sets: dict[tuple[float, ...], int] = {}
        self.leaves: list[list[float]] = []

    def write(self, tree: Tree) -> None:
        """Append one tree."""
        self.roots.append(len(self.feature))
        self.outputs.append(tree.output)
        for node, split in self._walk(tree):
            if split is None:
                self._append(-1, AT_MOST, self._leaf(tree.value[node]))
            elif split.codes is None:
                test = AT_MOST_OR_MISSING if split.missing_holds else AT_MOST
                self._append(split.feature, test, split.threshold)
            else:
                test = AMONG_OR_MISSING if split.missing_holds else AMONG
                self._append(split.feature, test, self.sets.setdefault(split.codes, len(self.sets)))

    def _append(self, feature: int, test: int, value: float) -> None:
        self.feature.append(feature)
        self.test.append(test)
        self.value.append(value)
        self.right.append(0)

    def _leaf(self, value: Any) -> float:
        if not self._vectors:
            return float(value)
        self.leaves.append([float(v) for v in value])
        return len(self.leaves) - 1

    def _walk(self, tree: Tree) -> Iterator[tuple[int, _Split | None]]:
        """Visit what is left of a tree in the order of writing, without splits that never part."""
        # A waiting node and the split whose other child it is.
        waiting: list[tuple[int, int]] = [(0, -1)]
        while waiting:
            node, parent = waiting.pop()
            split: _Split | bool | None = None
            while tree.left[node] >= 0:
                split = self._splits.read(tree, node)
                if isinstance(split, _Split):
                    break
                node = int(tree.left[node] if split else tree.right[node])
                split = None
            here = len(self.feature)
            if parent >= 0:
                self.right[parent] = here
            if isinstance(split, _Split):
                left, right = int(tree.left[node]), int(tree.right[node])
                held, other = (left, right) if split.holds_left else (right, left)
                waiting += [(other, here), (held, -1)]
                yield node, split
            else:
                yield node, None


def _to_key(values: FloatArray) -> npt.NDArray[np.int64]:
    """Give each float its number in the order of floats."""
    bits = values.view(np.int64)
    return np.where(bits >= 0, bits, np.int64(-(2**63)) - bits)


def _from_key(keys: npt.NDArray[np.int64]) -> FloatArray:
    """Give the floats of their numbers."""
    return np.where(keys >= 0, keys, np.int64(-(2**63)) - keys).view(np.float64)
