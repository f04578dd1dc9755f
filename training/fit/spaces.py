"""Search spaces: what hyperparameters are drawn from."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    values: tuple[Any, ...]

    def draw(self, random: np.random.Generator) -> Any:
        """Draw a value, each as likely."""
        return self.values[int(random.integers(len(self.values)))]


@dataclass(frozen=True)
class Range:
    """A number between two limits, evenly or (with `log`) evenly in its logarithm."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def draw(self, random: np.random.Generator) -> float | int:
        """Draw a number; three significant digits are all that the search can tell apart."""
        if self.log:
            value = math.exp(random.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = random.uniform(self.low, self.high)
        return round(value) if self.integer else float(f"{value:.3g}")
