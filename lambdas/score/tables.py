"""Scores matrices from the tables of `model.json`, with the bits of `core.engine`.

A forest is evaluated as `core.engine` does it, but for many rows at once: by masks, gathered and
or-ed for all rows feature by feature; where its trees are too large for masks, by walking all rows
down all trees step by step. Leaves are added tree by tree. Other families are answered row by row,
which takes them a few microseconds.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy
import numpy.typing as npt

from core.bundle import MODEL, Bundle
from core.engine import (
    AMONG_OR_MISSING,
    AT_MOST_OR_MISSING,
    Lookup,
    MaskedForest,
    load_engine,
)
from lambdas.score.columns import Matrix

# So many rows' masks stay in a core's own cache.
CHUNK_ROWS = 512

_Masks = npt.NDArray[numpy.uint64]
_Places = npt.NDArray[numpy.intp]


def open_tables(bundle: Bundle) -> Callable[[Matrix], Matrix]:
    """Return the function from encoded rows to outputs; raises EngineError without tables."""
    engine = load_engine(bundle.file(MODEL))
    answer, masks = engine.answer, engine.masks
    if engine.header.family != "trees":
        return lambda rows: numpy.array(engine.score_many(rows.tolist()))
    forest = Walk(json.loads(bundle.file(MODEL))["tables"]) if masks is None else Forest(masks)
    return lambda rows: numpy.array([answer(found) for found in forest.margins(rows).tolist()])


class _Sum:
    """Adds leaves in the order of the trees, as `core.engine` does."""

    def __init__(self, base: list[float], outputs: list[int], divisor: float) -> None:
        bounds = numpy.searchsorted(outputs, range(len(base) + 1)).tolist()
        self.width = len(base)
        self._spans = list(zip(base, bounds[:-1], bounds[1:], strict=True))
        self._divisor = divisor

    def add(self, values: Matrix, found: Matrix) -> None:
        """Write margins, of shape (rows, margins), from leaves.

        These have the shape (trees, rows), or (trees, rows, margins) where leaves are lists.
        """
        for k, (base, start, stop) in enumerate(self._spans):
            mine = values[:, :, k] if values.ndim == 3 else values[start:stop]
            total = numpy.full(values.shape[1], base)
            for tree in mine:
                total += tree
            found[:, k] = total / self._divisor


class Forest:
    """A forest as arrays of masks."""

    def __init__(self, masks: MaskedForest) -> None:
        """Put the words of trees of one width side by side, so that they are one array.

        The widest come first, so that every word is aligned.
        """
        sizes = [width // 8 for width in masks.widths]
        order = sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True)
        starts = numpy.cumsum([0, *sizes]).tolist()
        places = [at for tree in order for at in range(starts[tree], starts[tree] + sizes[tree])]
        self._lookups = [_Lookup(lookup, starts[-1], places) for lookup in masks.lookups]
        self._every = _pack([masks.every], starts[-1], places)
        # The trees of each width: their words' type and place, and the trees themselves.
        self._groups = []
        begin = 0
        for size in sorted(set(sizes), reverse=True):
            trees = [tree for tree in order if sizes[tree] == size]
            first = begin // size
            self._groups.append((f"<u{size}", slice(first, first + len(trees)), trees))
            begin += size * len(trees)
        # Every tree's leaves, one tree after another; a word's bit 1 is the first.
        lengths = [len(leaves) for leaves in masks.leaves]
        self._offsets = numpy.cumsum([0, *lengths[:-1]], dtype=numpy.intp)
        flat = [leaf for leaves in masks.leaves for leaf in [leaves[1], *leaves[1:]]]
        self._leaves = numpy.array(flat, dtype=numpy.float64)
        self._sum = _Sum(masks.base, masks.outputs, masks.divisor)

    def margins(self, rows: Matrix) -> Matrix:
        """Give the margins of encoded rows; shapes (rows, features) to (rows, margins)."""
        places = [lookup.find(rows[:, lookup.feature]) for lookup in self._lookups]
        found = numpy.empty((len(rows), self._sum.width))
        for start in range(0, len(rows), CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            mine = found[chunk]
            leaves = self._find([place[chunk] for place in places], len(mine))
            self._sum.add(numpy.take(self._leaves, leaves, axis=0), mine)
        return found

    def _find(self, places: Sequence[_Places], count: int) -> _Places:
        """Give the place of each tree's leaf, of shape (trees, rows), from those of the masks."""
        ruled = numpy.zeros((count, self._every.shape[1]), dtype=numpy.uint64)
        one = numpy.empty_like(ruled)
        for lookup, place in zip(self._lookups, places, strict=True):
            numpy.take(lookup.masks, place, axis=0, out=one, mode="clip")
            numpy.bitwise_or(ruled, one, out=ruled)
        left = self._every ^ ruled
        leaves = numpy.empty((len(self._offsets), count), dtype=numpy.intp)
        for kind, words, trees in self._groups:
            # One bit is left: a power of two, whose exponent is the bit's place.
            power = left.view(kind)[:, words].T.astype(numpy.float32, order="C")
            leaves[trees] = (power.view(numpy.uint32) >> 23).astype(numpy.intp) - 126
        leaves += self._offsets[:, None]
        return leaves


class Walk:
    """A forest as arrays of nodes; the first child of a split is the next node."""

    def __init__(self, tables: dict[str, Any]) -> None:
        """Make every test read `x[position] <= threshold`, as `core.engine` does.

        A row is widened by a copy in which missing values are minus infinity, for tests that they
        pass, and by 0 (a member) or 1 for each set of codes.
        """
        trees = tables["trees"]
        feature, test = numpy.array(trees["feature"]), numpy.array(trees["test"])
        self._value = numpy.array(trees["value"], dtype=numpy.float64)
        self._right = numpy.array(trees["right"])
        self._roots = numpy.array(trees["roots"])
        self._split = feature >= 0
        self._features = 1 + int(feature.max())
        among = self._split & (test > AT_MOST_OR_MISSING)
        self._threshold = numpy.where(among, 0.5, self._value)
        lows = self._split & (test == AT_MOST_OR_MISSING)
        self._position = numpy.where(lows, feature + self._features, feature)
        members: dict[tuple[int, int, bool], int] = {}
        for node in numpy.flatnonzero(among).tolist():
            key = (int(feature[node]), int(self._value[node]), test[node] == AMONG_OR_MISSING)
            place = members.setdefault(key, len(members))
            self._position[node] = 2 * self._features + place
        self._members = [(f, trees["sets"][codes], missing) for f, codes, missing in members]
        leaves = trees["leaves"]
        self._leaves = None if leaves is None else numpy.array(leaves, dtype=numpy.float64)
        self._sum = _Sum(tables["base"], trees["outputs"], tables["divisor"])

    def margins(self, rows: Matrix) -> Matrix:
        """Give the margins of encoded rows; shapes (rows, features) to (rows, margins)."""
        found = numpy.empty((len(rows), self._sum.width))
        for start in range(0, len(rows), CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            values = self._value[self._find(rows[chunk])]
            if self._leaves is not None:
                values = self._leaves[values.astype(numpy.intp)]
            self._sum.add(values, found[chunk])
        return found

    def _find(self, rows: Matrix) -> _Places:
        """Give the leaf of each tree, of shape (trees, rows)."""
        wide = self._widen(rows)
        count, width = wide.shape
        values = wide.ravel()
        node = numpy.repeat(self._roots, count)
        row = numpy.tile(numpy.arange(count) * width, len(self._roots))
        active = numpy.flatnonzero(self._split[node])
        while len(active):
            at = node[active]
            holds = values[row[active] + self._position[at]] <= self._threshold[at]
            at = numpy.where(holds, at + 1, self._right[at])
            node[active] = at
            active = active[self._split[at]]
        return node.reshape(len(self._roots), count)

    def _widen(self, rows: Matrix) -> Matrix:
        x = rows[:, : self._features]
        parts = [x, numpy.where(numpy.isnan(x), -numpy.inf, x)]
        for feature, codes, missing in self._members:
            value = rows[:, feature]
            member = numpy.isin(value, codes) | (numpy.isnan(value) & missing)
            parts.append(numpy.where(member, 0.0, 1.0)[:, None])
        return numpy.hstack(parts)


class _Lookup:
    """The masks of one feature's values."""

    def __init__(self, lookup: Lookup, size: int, places: list[int]) -> None:
        self.feature, missing, cuts, masks, codes = lookup
        codes = dict(sorted(codes.items())) if codes else {}
        self.masks = _pack([*masks, missing, *codes.values()], size, places)
        self._cuts = numpy.array(cuts)
        self._missing = len(masks)
        self._codes = numpy.array(list(codes))

    def find(self, values: Matrix) -> _Places:
        """Give the place in `masks` of each value's mask."""
        place = numpy.searchsorted(self._cuts, values)
        if len(self._codes):
            code = numpy.searchsorted(self._codes, values)
            code[code == len(self._codes)] = 0
            listed = self._codes[code] == values
            place[listed] = self._missing + 1 + code[listed]
        place[numpy.isnan(values)] = self._missing
        return place


def _pack(masks: list[int], size: int, places: list[int]) -> _Masks:
    """Write masks of `size` bytes as rows of words, their bytes put in the order of `places`."""
    packed = b"".join(mask.to_bytes(size, "little") for mask in masks)
    rows = numpy.frombuffer(packed, dtype=numpy.uint8).reshape(len(masks), size)
    padded = numpy.zeros((len(masks), -(-size // 8) * 8), dtype=numpy.uint8)
    padded[:, :size] = rows[:, places]
    return padded.view(numpy.uint64)
