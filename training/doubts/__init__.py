"""Doubts: what in a table makes the score on held-out rows promise more than service will show.

Every check works on plain arrays, so that `ops init` can ask before a project exists and the
training job asks again on what it trained on. The kinds follow the taxonomy of leakage by Kapoor
and Narayanan ("Leakage and the reproducibility crisis in machine-learning-based science",
Patterns 4(9), 2023).
"""

from training.doubts.doubt import Doubt, Variable

__all__ = ["Doubt", "Variable"]
