"""What files under `data/` say about each other by their ids, and whether `[data] arrival` fits.

A full export a day that is taken for new rows puts every customer on both sides of the holdout, and
the score of a model that learned them by heart looks perfect. So a claim that the ids refute stops
the run. Plan judges by samples and holds the run, `ops data` refuses to send, and the training job
judges by every row; the limits and the sentences of all three are here.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

Arrival = Literal["append", "snapshot", "merge"]

MIN_IDS = 5
KNOWN_AGAIN = 0.02  # of a file's ids that other files have with other values: more are no new rows
FULL_EXPORT = 0.5
NEW_SNAPSHOT = 0.1
MIN_PAIRS = 50  # two rows of one id each, to say whether they have anything in common
LITTLE_IN_COMMON = 0.1
# An estimate from a sample counts as above (or below) a limit where it is this sure.
STANDARD_ERRORS = 3.0


@dataclass(frozen=True)
class Overlap:
    """How the ids of one file stand in the files before it.

    Of its `ids`, `known` are in those files, `changed` of them with other values; `other` is the
    file that has most of them. `unlike` says that the rows of one id have no more in common than
    any two rows. `sampled` says that the counts are of a sample of the ids, `whole` that every file
    was read to its end.
    """

    name: str
    other: str
    ids: int
    known: int
    changed: int
    unlike: bool
    sampled: bool = False
    whole: bool = True

    @property
    def known_share(self) -> float:
        """Give the share of ids that the files before have."""
        return self.known / self.ids

    @property
    def changed_share(self) -> float:
        """Give the share of ids that the files before have with other values."""
        return self.changed / self.ids

    def describe(self, count: int, id_column: str) -> str:
        """Write how many of the ids are in the other file."""
        share = f"{'about ' if self.sampled or not self.whole else ''}{count / self.ids:.0%}"
        text = f"{share} of the ids ({id_column!r}) in {self.name} are in {self.other}"
        return text[0].upper() + text[1:] if text.startswith("about") else text


def natural_order(name: str) -> tuple[tuple[int, int, str], ...]:
    """Give a key that sorts names as people expect: day-9 before day-10."""
    parts = re.split(r"(\d+)", name)
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)


def explain_misfit(
    found: Overlap, *, arrival: Arrival, id_column: str, newest: bool = True
) -> str | None:
    """Say how the ids of a file refute what `arrival` claims, with what to set; None if they fit.

    `newest` says that no file came after it. What a sample leaves open is taken to fit.
    """
    if arrival == "snapshot":
        if newest and found.whole and found.ids >= MIN_IDS and _is_below(found, NEW_SNAPSHOT):
            return (
                f"{found.describe(found.known, id_column)}: these are other rows, not the newest "
                'state of the same ones. Set [data] arrival = "append", or remove the file'
            )
        return None
    if arrival == "append":
        # Of a file that was not read to its end the share is that of its first rows alone.
        limit = KNOWN_AGAIN if found.whole else FULL_EXPORT
        if found.changed >= MIN_IDS and _is_above(found, limit):
            return f"{found.describe(found.changed, id_column)} with other values: {_guess(found)}"
        return None
    if found.changed >= MIN_PAIRS and found.unlike:
        return (
            f"{found.describe(found.changed, id_column)}, but the rows of one id have no more in "
            "common than any two rows: an id that starts anew in each file names no row. Leave "
            "[problem] id_column out, or bring one that lasts"
        )
    return None


def are_unlike(*, equal: float, chance: float, cells: float) -> bool:
    """Say whether two rows of one id have no more equal cells than two rows taken at random.

    All three are sums over the columns: the share of equal cells in rows of one id, the same of
    rows taken at random, and 1.
    """
    return equal <= chance + LITTLE_IN_COMMON * max(cells - chance, 0.0)


def _guess(found: Overlap) -> str:
    if found.unlike:
        return (
            "the rows of one id have nothing in common, so it starts anew in each file. Leave "
            "[problem] id_column out, or bring an id that lasts"
        )
    if found.known_share >= FULL_EXPORT:
        return (
            'a full export? Set [data] arrival = "snapshot" if the newest file is the whole table, '
            'or "merge" if rows of older files that it does not have still count'
        )
    return (
        'rows that were updated? Set [data] arrival = "merge", so that the newest of an id counts'
    )


def _is_above(found: Overlap, limit: float) -> bool:
    """Say whether the share of changed ids is at least the limit; of a sample, surely so."""
    doubt = STANDARD_ERRORS * math.sqrt(found.changed) if found.sampled else 0.0
    return found.changed - doubt >= limit * found.ids


def _is_below(found: Overlap, limit: float) -> bool:
    """Say whether the share of known ids is below the limit; of a sample, surely so."""
    doubt = STANDARD_ERRORS * math.sqrt(found.known + 1) if found.sampled else 0.0
    return found.known + doubt < limit * found.ids
