"""Terms: what each feature adds to the sums of linear models, or the coordinates of others."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from training.arrays import FloatArray
from training.export.folding.preparation import Preparation
from training.export.folding.tables import NotFoldable


def fold_terms(
    preparation: Preparation, weigh: Callable[[int], FloatArray] | None
) -> tuple[list[dict[str, Any]], list[int]]:
    """Make one term a feature out of its channels, and list the channels in the terms' order.

    With `weigh`, a term is the sum of its channels times their weights (one a margin); without, it
    is the vector of its channels.
    """
    channels = preparation.channels
    groups: dict[int, list[int]] = {}
    for index, channel in enumerate(channels):
        if channel.codes is None and channel.scale is None:
            raise NotFoldable("a column that is clipped, in a model of sums")
        groups.setdefault(channel.feature, []).append(index)
    codes = {
        feature: sorted({c for i in indices for c in channels[i].codes or ()})
        for feature, indices in groups.items()
    }
    # Every channel is asked for its feature's codes, a value that is none of them, and missing.
    asked = [
        np.array([*codes[c.feature], unlisted_value(codes[c.feature]), math.nan]) for c in channels
    ]
    values = preparation.evaluate(asked)
    terms, order = [], []
    for feature, indices in groups.items():
        order += indices
        if weigh is None:
            mixing = np.eye(len(indices))
        else:
            mixing = np.stack([weigh(index) for index in indices], axis=1)
        numbers = [index for index in indices if channels[index].codes is None]
        centre = channels[numbers[0]].centre if numbers else 0.0
        slopes = np.zeros(len(indices))
        level = np.zeros(len(indices))
        for place, index in enumerate(indices):
            channel = channels[index]
            if channel.codes is None:
                slopes[place] = channel.scale or 0.0
                level[place] = (centre - channel.centre) * slopes[place]
            else:
                level[place] = values[index][-2]
        listed = np.stack([values[index] for index in indices], axis=0)
        terms.append(
            {
                "feature": feature,
                "centre": centre,
                "weight": (mixing @ slopes).tolist() if numbers else None,
                "other": (mixing @ level).tolist(),
                # Without weights each channel keeps its own: 0 * NaN would spread to the others.
                "missing": (listed[:, -1] if weigh is None else mixing @ listed[:, -1]).tolist(),
                "codes": codes[feature],
                "values": (mixing @ listed[:, :-2]).T.tolist(),
            }
        )
    return terms, order


def unlisted_value(codes: Sequence[float]) -> float:
    """Give a value that is none of the codes, as an unseen category is."""
    return max(codes, default=-1.0) + 1.0
