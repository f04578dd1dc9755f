"""The values of a category, and the order in which labels are listed."""

import math
from collections.abc import Sequence

import pandas as pd

from core.contract import Column
from training.data.columns import Series, coerce_column

# A category column learns at most this many values, the most frequent; all others count as unseen.
MAX_LEARNED_CATEGORIES = 100


def learn_categories(values: Series) -> tuple[str, ...]:
    """List the values of a category, the most frequent ones if there are many, in sorted order."""
    texts = coerce_column(values, Column(str(values.name), "category", missing=True))
    counts = pd.Series(texts).value_counts()
    ordered = sorted(counts.items(), key=lambda item: (-int(item[1]), str(item[0])))
    return tuple(sort_labels([str(name) for name, _ in ordered[:MAX_LEARNED_CATEGORIES]]))


def sort_labels(names: Sequence[str]) -> list[str]:
    """Sort labels as people expect: numbers by size, then texts."""

    def key(name: str) -> tuple[int, float, str]:
        try:
            number = float(name)
        except ValueError:
            return (1, 0.0, name)
        return (0, number, name) if math.isfinite(number) else (1, 0.0, name)

    return sorted(names, key=key)
