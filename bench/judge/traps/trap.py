"""What a trap is: files in the order in which they arrive, and rows that tell the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

Right = Literal["live", "held", "either"]


@dataclass(frozen=True)
class Delivery:
    """The files of a trap in order of arrival, and rows as service will see them, with answers."""

    files: Sequence[pd.DataFrame]
    fresh: pd.DataFrame


@dataclass(frozen=True)
class Trap:
    """A table that makes a holdout lie, or that only looks so.

    `kind` is its place in the taxonomy of Kapoor and Narayanan. `right` says what should become of
    the last run: it goes live and its claim holds, it is held (waits for a person, is refused, or
    keeps the champion), or either, as long as nothing goes live on a false claim. `looks` says
    after how many files a run starts, each against the model that is live by then; left out, one
    run has all files. `traceless` marks what no look at these files can tell.
    """

    name: str
    kind: str
    story: str
    right: Right
    make: Callable[[np.random.Generator], Delivery]
    looks: tuple[int, ...] = ()
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    traceless: bool = False

    def deliver(self, seed: int = 0) -> Delivery:
        """Draw the trap's rows; the same seed gives the same rows."""
        return self.make(np.random.default_rng([seed, *self.name.encode()]))


def shuffle(frame: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """Put rows in random order."""
    return frame.iloc[random.permutation(len(frame))].reset_index(drop=True)
