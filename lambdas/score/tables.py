"""Scores matrices from the tables of `model.json`, with the bits of `core.engine`.

A forest is evaluated as `core.engine` does it, by masks, but for many rows at once: of each feature
the masks of all rows are gathered and or-ed, and the leaves are added tree by tree. Other families
are answered row by row, which takes them a few microseconds.
"""

from collections.abc import Callable, Sequence

import numpy
import numpy.typing as npt

from core.bundle import MODEL, Bundle
from core.engine import Lookup, MaskedForest, load_engine
from lambdas.score.columns import Matrix

# So many rows' masks stay in a core's own cache.
CHUNK_ROWS = 512

_Masks = npt.NDArray[numpy.uint64]
_Places = npt.NDArray[numpy.intp]


def open_tables(bundle: Bundle) -> Callable[[Matrix], Matrix]:
    """Return the function from encoded rows to outputs; raises EngineError without tables."""
    engine = load_engine(bundle.file(MODEL))
    answer, masks = engine.answer, engine.masks
    if masks is None:
        return lambda rows: numpy.array(engine.score_many(rows.tolist()))
    forest = Forest(masks)
    return lambda rows: numpy.array([answer(found) for found in forest.margins(rows).tolist()])


class Forest:
    """A forest as arrays."""

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
        outputs = numpy.array(masks.outputs)
        bounds = numpy.searchsorted(outputs, range(len(masks.base) + 1)).tolist()
        self._spans = list(zip(masks.base, bounds[:-1], bounds[1:], strict=True))
        self._base, self._divisor = masks.base, masks.divisor

    def margins(self, rows: Matrix) -> Matrix:
        """Give the margins of encoded rows; shapes (rows, features) to (rows, margins)."""
        places = [lookup.find(rows[:, lookup.feature]) for lookup in self._lookups]
        found = numpy.empty((len(rows), len(self._base)))
        for start in range(0, len(rows), CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            mine = found[chunk]
            self._add(self._find([place[chunk] for place in places], len(mine)), mine)
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

    def _add(self, leaves: _Places, found: Matrix) -> None:
        """Add the leaves in the order of the trees, as `core.engine` does."""
        values = numpy.take(self._leaves, leaves, axis=0)
        for k, (base, start, stop) in enumerate(self._spans):
            mine = values[:, :, k] if values.ndim == 3 else values[start:stop]
            total = numpy.full(leaves.shape[1], base)
            for tree in mine:
                total += tree
            found[:, k] = total / self._divisor


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
