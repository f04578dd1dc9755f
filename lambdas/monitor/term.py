"""The labelled rows that are kept of one model version's term, in `monitor/quality/<run>.json`.

Format 2 is `{"format": 2, "from_start": ..., "rows": [[prediction, label, outputs, time], ...]}`
with the time of the prediction in epoch milliseconds. Format 1, of releases before, is the list of
the last rows that were joined, without times; it is read as it is, and its rows count as older than
any with a time.

Of a long term three kinds of rows are kept: the first ones, the last ones, and of those between a
random sample, the same whatever the order in which labels came.
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple, Self

from core.errors import StorageError
from lambdas.monitor.captures import hash_text
from lambdas.monitor.storage import dump

FORMAT = 2
FIRST = 1_000
BETWEEN = 2_000
LATEST = 5_000
KEPT_BY_FORMAT_1 = 5_000


class LabelledRow(NamedTuple):
    """A prediction with its label: the model's outputs (NaN where not finite) and its time."""

    prediction: str
    label: str | float
    outputs: list[float]
    time: float


class LabelledTerm:
    """The kept rows of a term; `from_start` says whether its first ones are among them."""

    def __init__(self, rows: dict[str, LabelledRow], *, from_start: bool) -> None:
        """Hold rows by prediction id."""
        self._rows = rows
        self.from_start = from_start

    @classmethod
    def from_json(cls, raw: bytes | None) -> Self:
        """Read what `to_json` wrote, or begin anew; raises StorageError for anything else."""
        if raw is None:
            return cls({}, from_start=True)
        try:
            found = json.loads(raw)
            if isinstance(found, list):
                rows = [_read([*item[:3], None]) for item in found]
                from_start = len(rows) < KEPT_BY_FORMAT_1
            elif found["format"] == FORMAT:
                rows, from_start = [_read(item) for item in found["rows"]], found["from_start"]
            else:
                raise StorageError(
                    f"an object under monitor/quality/ has format {found['format']!r}, this "
                    f"release reads 1 and {FORMAT}: move it away to begin anew"
                )
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise StorageError(
                "an object under monitor/quality/ holds no labelled rows: restore an earlier "
                "version of it"
            ) from error
        return cls({row.prediction: row for row in rows}, from_start=bool(from_start))

    def to_json(self) -> bytes:
        """Write the rows, in order."""
        rows = [
            [name, label, [_finite(one) for one in outputs], _finite(time)]
            for name, label, outputs, time in self.in_order()
        ]
        return dump({"format": FORMAT, "from_start": self.from_start, "rows": rows})

    def __len__(self) -> int:
        """Count the rows that are kept."""
        return len(self._rows)

    def label(self, prediction: str) -> str | float | None:
        """Give the label of a prediction; None where it is not kept."""
        found = self._rows.get(prediction)
        return None if found is None else found.label

    def add(self, row: LabelledRow) -> None:
        """Add a row, or take it in place of the one with its prediction id."""
        self._rows[row.prediction] = row

    def in_order(self) -> list[LabelledRow]:
        """Give the rows in the order of their predictions, those without a time first."""
        # Rows without a time keep the order in which they were joined: sorting is stable.
        known = sorted(
            (row for row in self._rows.values() if math.isfinite(row.time)),
            key=lambda row: (row.time, row.prediction),
        )
        return [*(row for row in self._rows.values() if not math.isfinite(row.time)), *known]

    def trim(self) -> None:
        """Leave out rows between the first and the last that are more than are kept."""
        rows = self.in_order()
        between = rows[FIRST:-LATEST] if len(rows) > FIRST + LATEST else []
        if len(between) <= BETWEEN:
            return
        # Those whose names hash lowest: of any rows that were ever between, the same are left.
        sampled = sorted(between, key=lambda row: hash_text(row.prediction))[:BETWEEN]
        kept = [*rows[:FIRST], *sampled, *rows[-LATEST:]]
        self._rows = {row.prediction: row for row in kept}


def _read(item: list[Any]) -> LabelledRow:
    name, label, outputs, time = item
    return LabelledRow(
        str(name),
        label,
        [math.nan if one is None else float(one) for one in outputs],
        math.nan if time is None else float(time),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
