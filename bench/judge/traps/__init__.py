"""Tables that make a holdout lie, with fresh rows that tell the truth.

At least one for each of the eight types of leakage of Kapoor and Narayanan ("Leakage and the
reproducibility crisis in machine-learning-based science", Patterns 4(9), 2023).
"""

from bench.judge.traps import features, rows, sampling
from bench.judge.traps.trap import Delivery, Trap

TRAPS: tuple[Trap, ...] = (*rows.TRAPS, *features.TRAPS, *sampling.TRAPS)

__all__ = ["TRAPS", "Delivery", "Trap"]
