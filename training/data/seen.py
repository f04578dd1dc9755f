"""Which entities a model was trained on, kept in its bundle as sorted hashes.

The next job asks it which of today's rows the champion cannot have seen: all that came after it,
not only those of the holdout. Hashes of many entities are kept for a part of the hash space only;
rows beyond it count as seen.
"""

from dataclasses import dataclass

import numpy as np

from core.errors import BundleError
from training.arrays import BoolArray, FloatArray
from training.data.splits import By

SEED = 0
MAX_ENTITIES = 1_000_000  # 8 bytes each
# The first two are of a release that placed a row without a name by its position.
_KINDS: tuple[By, ...] = ("group", "id", "row", "case", "group", "id")
_NUMBERS: dict[By, int] = {"group": 4, "id": 5, "row": 2, "case": 3}


@dataclass(frozen=True)
class Seen:
    """Places in [0, 1) of the entities trained on, in order; `bound` is where the record ends.

    `earlier` marks the record of a release that spelled whole numbers as 17.0 where a column had
    gaps, and placed rows without a name by their position.
    """

    by: By
    bound: float
    places: FloatArray
    earlier: bool = False

    @classmethod
    def of(cls, places: FloatArray, by: By) -> "Seen":
        """Record the places (one a training row) of what a model is trained on."""
        distinct = np.unique(places)
        if len(distinct) <= MAX_ENTITIES:
            return cls(by, 1.0, distinct)
        bound = float(distinct[MAX_ENTITIES])
        return cls(by, bound, distinct[:MAX_ENTITIES])

    def excludes(self, places: FloatArray) -> BoolArray:
        """Say of each row whether the model certainly was not trained on its entity."""
        at = np.searchsorted(self.places, places)
        at = np.minimum(at, max(0, len(self.places) - 1))
        known = self.places[at] == places if len(self.places) else np.zeros(len(places), dtype=bool)
        return ~known & (places < self.bound)

    def to_bytes(self) -> bytes:
        """Write the kind's number, the bound and the places as little-endian float64."""
        head = np.asarray([_NUMBERS[self.by], self.bound], dtype="<f8")
        return head.tobytes() + self.places.astype("<f8").tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Seen":
        """Read what `to_bytes` wrote; raises BundleError for anything else."""
        if len(content) < 16 or len(content) % 8:
            raise BundleError("seen.bin is not a record of entities")
        values = np.frombuffer(content, dtype="<f8").astype(np.float64)
        if values[0] not in range(len(_KINDS)):
            raise BundleError("seen.bin names a kind of entity that this version does not know")
        kind = int(values[0])
        return cls(_KINDS[kind], float(values[1]), values[2:], kind < _KINDS.index("row"))
