"""Trees as bit masks: the leaves of all trees are found at once, by bitwise or.

Every leaf of every tree is one bit of a long integer. For each feature the integers of the leaves
that a value rules out are worked out at load, one for each interval between neighbouring
thresholds, so that finding a row's leaves is a binary search and a bitwise *or* per feature, after
which exactly one bit a tree is left (after Lucchese et al., "QuickScorer", SIGIR 2015).
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from operator import getitem, or_
from typing import Any, NamedTuple

from core.engine.margins import Vector
from core.engine.trees import AMONG_OR_MISSING, AT_MOST_OR_MISSING, Trees

# More than this, and a forest is walked instead of looked up. A Lambda of 512 MB has room for it.
MASK_BYTES = 48 * 2**20
MASK_LEAVES = 64


# Of one feature: its place, the mask where it is missing, cuts in ascending order, the mask of each
# interval between them (at most the first cut, at most the second, ...), and those of listed codes.
Lookup = tuple[int, int, list[float], list[int], dict[float, int] | None]


class MaskedForest(NamedTuple):
    """A forest as bit masks, for those who score many rows at once and have numpy to do it.

    A mask is one word a tree, of `widths` bits, little-endian and in the order of the trees; its
    bits are the leaves that a value rules out. Of the bits in `every`, the masks of a row's values
    leave one in each word; counted from 1, that is the leaf's place in `leaves` of its tree. A leaf
    is a number for the margin that `outputs` says, or a list of one number a margin. A margin is
    `base`, plus the leaves one by one, divided by `divisor`.
    """

    lookups: list[Lookup]
    widths: list[int]
    every: int
    leaves: list[list[Any]]
    outputs: list[int]
    base: list[float]
    divisor: float


class Masks:
    """Finds the leaves of all trees at once, by bitwise or."""

    def __init__(self, lookups: list[Lookup], layout: _Layout) -> None:
        self._lookups = lookups
        self._leaves = layout.leaves
        self._widths = layout.widths
        self._split = layout.words.unpack
        self._bytes = layout.words.size
        self._all = layout.all

    def find(self, vector: Vector) -> Iterable[Any]:
        """Give the leaf that the row reaches in each tree, in order."""
        ruled = 0
        for feature, missing, cuts, masks, codes in self._lookups:
            value = vector[feature]
            if value != value:
                ruled |= missing
            elif codes is None:
                ruled |= masks[bisect_left(cuts, value)]
            else:
                known = codes.get(value)
                ruled |= masks[bisect_left(cuts, value)] if known is None else known
        # One bit is left in the word of each tree; its position is the leaf's, counted from 1.
        words = self._split((self._all ^ ruled).to_bytes(self._bytes, "little"))
        return map(getitem, self._leaves, map(int.bit_length, words))

    def describe(self, outputs: list[int], base: list[float], divisor: float) -> MaskedForest:
        """Give the masks with all that the sum of the leaves needs."""
        return MaskedForest(
            self._lookups, self._widths, self._all, self._leaves, outputs, base, divisor
        )

    @classmethod
    def build(cls, trees: Trees) -> Masks | None:
        """Work out the masks, or give None where they would take too much memory."""
        layout = _Layout(trees)
        if layout.largest > MASK_LEAVES:
            return None
        splits: dict[int, list[int]] = {}
        for node, feature in enumerate(trees.feature):
            if feature >= 0:
                splits.setdefault(feature, []).append(node)
        cells = sum(len(nodes) + 2 for nodes in splits.values())
        cells += sum(len(codes) for codes in trees.sets)
        if cells * layout.bits // 8 > MASK_BYTES:
            return None
        lookups = [_build_lookup(trees, layout, f, nodes) for f, nodes in sorted(splits.items())]
        return cls(lookups, layout)


_WORDS = {8: "B", 16: "H", 32: "I", 64: "Q"}


class _Layout:
    """Which bit each leaf is: trees one after another, each in the smallest word that holds it."""

    def __init__(self, trees: Trees) -> None:
        feature, other, roots = trees.feature, trees.other, trees.roots
        size = len(feature)
        counts = [1] * size
        for i in range(size - 1, -1, -1):
            if feature[i] >= 0:
                counts[i] = counts[i + 1] + counts[other[i]]
        self.largest = max((counts[root] for root in roots), default=0)
        if self.largest > MASK_LEAVES:
            return
        self.widths = [next(w for w in _WORDS if w >= counts[root]) for root in roots]
        self.words = struct.Struct("<" + "".join(_WORDS[width] for width in self.widths))
        self.leaves: list[list[Any]] = []
        self.tree_of = [0] * size
        self._offset = list(accumulate(self.widths, initial=0))
        self._place = [0] * size
        # The leaves below a node, as bits of its tree's word.
        self._word = [0] * size
        place, word = self._place, self._word
        for tree, (root, end) in enumerate(zip(roots, [*roots[1:], size], strict=True)):
            leaves: list[Any] = [None]
            for i in range(root, end):
                self.tree_of[i] = tree
                count, at = counts[i], place[i]
                word[i] = ((1 << count) - 1) << at
                if feature[i] >= 0:
                    place[i + 1] = at
                    place[other[i]] = at + counts[i + 1]
                else:
                    leaves.append(trees.leaf(i))
            self.leaves.append(leaves)
        self.all = self.join([word[root] for root in roots])
        self.bits = self._offset[-1]

    def word(self, node: int) -> int:
        """Give the leaves below a node as bits of its tree's word."""
        return self._word[node]

    def below(self, node: int) -> int:
        """Give the leaves below a node as bits of all trees' words."""
        return self._word[node] << self._offset[self.tree_of[node]]

    def join(self, words: list[int]) -> int:
        """Put one word a tree together."""
        return int.from_bytes(self.words.pack(*words), "little")


def _build_lookup(trees: Trees, layout: _Layout, feature: int, nodes: list[int]) -> Lookup:
    """Work out, for one feature, the leaves that each value rules out."""
    test, value, other, sets = trees.test, trees.value, trees.other, trees.sets
    below = layout.below
    ordered = sorted((n for n in nodes if test[n] <= AT_MOST_OR_MISSING), key=value.__getitem__)
    grouped = [n for n in nodes if test[n] > AT_MOST_OR_MISSING]
    # Tests turn over tree by tree: what a tree's tests rule out together fits its small word.
    missed = [0] * len(layout.widths)
    for n in nodes:
        holds = test[n] in (AT_MOST_OR_MISSING, AMONG_OR_MISSING)
        missed[layout.tree_of[n]] |= layout.word(other[n] if holds else n + 1)
    missing = layout.join(missed)
    # Below every cut all tests hold and rule out their other child; each cut that a value has
    # passed turns its test over. Of equal cuts the first is found, and the cells between are idle.
    cuts = [value[n] for n in ordered]
    passed = accumulate((below(n + 1) for n in ordered), or_, initial=0)
    ahead = list(accumulate((below(other[n]) for n in reversed(ordered)), or_, initial=0))
    by_order = list(map(or_, passed, reversed(ahead)))
    if not grouped:
        return feature, missing, cuts, by_order, None
    by_tree: dict[int, list[int]] = {}
    touched: dict[float, set[int]] = {}
    unlisted = [0] * len(layout.widths)
    for n in grouped:
        tree = layout.tree_of[n]
        by_tree.setdefault(tree, []).append(n)
        unlisted[tree] |= layout.word(n + 1)
        for code in sets[int(value[n])]:
            touched.setdefault(code, set()).add(tree)
    # A listed code differs from an unlisted one only in the trees whose sets have it.
    codes = {}
    for code, changed in touched.items():
        words = unlisted.copy()
        for tree in changed:
            word = 0
            for n in by_tree[tree]:
                word |= layout.word(other[n] if code in sets[int(value[n])] else n + 1)
            words[tree] = word
        codes[code] = by_order[bisect_left(cuts, code)] | layout.join(words)
    rest = layout.join(unlisted)
    return feature, missing, cuts, [ruled | rest for ruled in by_order], codes
