"""The baseline: what training saw, as counts; `baseline.json` of a model bundle."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property

from core.drift.budget import split_budget
from core.drift.columns import ColumnBaseline, parse_column
from core.drift.components import Followed, follow
from core.drift.dispersion import Dispersion
from core.drift.joint import Joint, parse_joint
from core.errors import DriftError

FORMAT = 1
DISTANCE = "distance from the training rows"
MEANS = "all number columns together"

_STATISTICS = ("location", "spread", "shape", "missing", "unseen", "below", "above", "means")


@dataclass(frozen=True)
class Baseline:
    """What training saw, as counts: the reference of every window."""

    contract: str
    columns: tuple[ColumnBaseline, ...]
    joint: Joint | None
    rows: int
    output_rows: int
    outputs: tuple[int, ...]
    format: int = FORMAT

    @cached_property
    def digest(self) -> str:
        """Give the SHA-256 that ties summaries and states to this baseline."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @property
    def calibration(self) -> str:
        """Say what the error rate rests on."""
        timed = any(column.dispersion for column in self.columns)
        return (
            "calibrated with the variance between stretches of time"
            if timed
            else ("calibrated for independent rows only: the baseline has no time order")
        )

    @cached_property
    def shares(self) -> dict[str, float]:
        """Give the share of the error budget that each column of a group has."""
        return split_budget(self.columns, joint=self.joint is not None)

    @cached_property
    def followed(self) -> Followed:
        """Give what the creep rule follows."""
        return follow(self.columns, self.shares)

    def dispersion_of(self, column: ColumnBaseline) -> Dispersion | None:
        """Give a column's design effects.

        Outputs come from other rows than the inputs; their dependence in time is taken to be that
        of the columns together. So is that of the distance, where it is larger than the distance's
        own: an hour whose level is further out than any before moves all of its distances.
        """
        means = self.joint.dispersion if self.joint else None
        if column.group == "input" or means is None:
            return column.dispersion
        common = means.effects["means"]
        own = column.dispersion.effects if column.group == "joint" and column.dispersion else {}
        effects = {}
        for name in _STATISTICS:
            padded = (*own.get(name, ()), *common)[: len(common)]
            effects[name] = tuple(map(max, common, padded))
        return Dispersion(means.sizes, means.groups, effects)

    def to_json(self) -> bytes:
        """Write the baseline; the same baseline gives the same bytes."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes | str) -> Baseline:
        """Read a baseline; raises DriftError if it is none, or of another release's format."""
        try:
            raw = json.loads(text)
            if raw["format"] != FORMAT:
                raise DriftError(
                    f"baseline format {raw['format']!r} is not the one that this release reads, "
                    f"{FORMAT}: train again to get a baseline of this release"
                )
            return cls(
                contract=raw["contract"],
                columns=tuple(parse_column(item) for item in raw["columns"]),
                joint=parse_joint(raw["joint"]),
                rows=raw["rows"],
                output_rows=raw["output_rows"],
                outputs=tuple(raw["outputs"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DriftError(f"this is not a drift baseline: {error!r}") from error
