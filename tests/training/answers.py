"""Made-up answers of models, for the metrics."""

import numpy as np

from training.metrics import Answers


def binary(rows: int = 300, seed: int = 0, ties: bool = False) -> Answers:
    random = np.random.default_rng(seed)
    labels = (random.uniform(size=rows) < 0.35).astype(float)
    scores = 1 / (1 + np.exp(-(2 * labels - 1 + random.normal(size=rows))))
    if ties:
        scores = np.round(scores, 1).clip(0.05, 0.95)
    return Answers("binary", labels, np.column_stack([1 - scores, scores]), 1, 0.4)


def multiclass(rows: int = 300, seed: int = 0) -> Answers:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, rows).astype(float)
    logits = random.normal(size=(rows, 3)) + 1.5 * (labels[:, None] == np.arange(3))
    outputs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Answers("multiclass", labels, outputs)
