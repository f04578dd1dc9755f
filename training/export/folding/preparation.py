"""Preprocessing: which feature each column comes from, and what its values become."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from training.arrays import FloatArray
from training.export.folding.tables import NotFoldable


@dataclass(frozen=True)
class Channel:
    """One column that an estimator is given, as a function of one feature of the encoded vector.

    A number (`codes` is None) rises with the feature: `(x - centre) * scale` if `scale` is known.
    Otherwise it has one value for each of `codes`, one for all other values, one for missing.
    """

    feature: int
    codes: tuple[float, ...] | None = None
    centre: float = 0.0
    scale: float | None = 1.0
    raw: bool = True


@dataclass(frozen=True)
class Preparation:
    """The fitted preprocessing: its channels, and its values for any column of numbers."""

    steps: list[Any]
    channels: list[Channel]
    template: FloatArray

    def transform(self, rows: FloatArray) -> FloatArray:
        """Apply the fitted transformers."""
        for step in self.steps:
            rows = step.transform(rows)
            if hasattr(rows, "toarray"):
                rows = rows.toarray()
        return np.asarray(rows, dtype=np.float64)

    def evaluate(self, queries: Sequence[FloatArray]) -> list[FloatArray]:
        """Give, for each channel, its values where its own feature takes the values asked."""
        longest = max((len(q) for q in queries), default=0)
        rows = np.repeat(self.template[None, :], longest, axis=0)
        # Channels of one feature may ask different things of it: one pass for each of them.
        order: dict[int, int] = {}
        passes: list[list[int]] = []
        for index, channel in enumerate(self.channels):
            turn = order.get(channel.feature, 0)
            order[channel.feature] = turn + 1
            if turn == len(passes):
                passes.append([])
            passes[turn].append(index)
        found: list[FloatArray] = [np.empty(0)] * len(self.channels)
        for chosen in passes:
            wanted = [index for index in chosen if len(queries[index])]
            if not wanted:
                continue
            asked = rows.copy()
            for index in wanted:
                asked[: len(queries[index]), self.channels[index].feature] = queries[index]
            given = self.transform(asked)
            for index in wanted:
                found[index] = given[: len(queries[index]), index]
        return found


def follow_steps(steps: list[Any], template: FloatArray) -> Preparation:
    """Follow each feature of the encoded vector through the fitted transformers."""
    channels = [Channel(feature) for feature in range(len(template))]
    for step in steps:
        channels = _follow_step(step, channels)
    return Preparation(steps, channels, template)


def _follow_step(step: Any, channels: list[Channel]) -> list[Channel]:
    """Give the channels that a fitted transformer makes of those that it is given."""
    from sklearn import compose, impute, pipeline, preprocessing
    from sklearn.feature_selection import SelectorMixin

    if step is None or isinstance(step, str):
        return channels if step != "drop" else []
    if isinstance(step, pipeline.Pipeline):
        for _, inner in step.steps:
            channels = _follow_step(inner, channels)
        return channels
    if isinstance(step, compose.ColumnTransformer):
        return _follow_columns(step, channels)
    if isinstance(step, impute.SimpleImputer):
        return _follow_imputer(step, channels)
    if isinstance(step, SelectorMixin):
        return [channels[i] for i in step.get_support(indices=True)]
    if isinstance(step, preprocessing.FunctionTransformer) and step.func is None:
        return channels
    if isinstance(
        step,
        preprocessing.OneHotEncoder | preprocessing.OrdinalEncoder | preprocessing.TargetEncoder,
    ):
        return _follow_encoder(step, channels)
    return _follow_scaler(step, channels)


def _follow_columns(step: Any, channels: list[Channel]) -> list[Channel]:
    found: list[Channel | None] = [None] * sum(
        s.stop - s.start for s in step.output_indices_.values()
    )
    for name, inner, columns in step.transformers_:
        place = step.output_indices_[name]
        if place.stop == place.start:
            continue
        positions = np.arange(len(channels))[columns]
        made = _follow_step(inner, [channels[i] for i in np.atleast_1d(positions)])
        found[place] = made
    return [channel for channel in found if channel is not None]


def _follow_imputer(step: Any, channels: list[Channel]) -> list[Channel]:
    if not _is_nan(step.missing_values):
        raise NotFoldable(f"SimpleImputer(missing_values={step.missing_values!r})")
    kept = [
        channel
        for channel, value in zip(channels, step.statistics_, strict=True)
        if step.keep_empty_features or not _is_nan(value)
    ]
    if step.indicator_ is not None:
        kept += [
            replace(channels[i], codes=channels[i].codes or (), raw=False)
            for i in step.indicator_.features_
        ]
    return kept


def _follow_encoder(step: Any, channels: list[Channel]) -> list[Channel]:
    # The public names tell which input an output comes from, whatever was dropped or grouped.
    names = step.get_feature_names_out([f"{i}|" for i in range(len(channels))])
    found = []
    for name in names:
        index = int(str(name).split("|", 1)[0])
        channel = channels[index]
        if not channel.raw:
            raise NotFoldable(f"{type(step).__name__} after another change of the same column")
        codes = tuple(float(c) for c in step.categories_[index] if not _is_nan(c))
        found.append(replace(channel, codes=codes, raw=False))
    return found


def _follow_scaler(step: Any, channels: list[Channel]) -> list[Channel]:
    from sklearn import preprocessing

    count = len(channels)
    if isinstance(step, preprocessing.StandardScaler):
        centres = step.mean_ if step.with_mean else np.zeros(count)
        scales = 1.0 / step.scale_ if step.with_std else np.ones(count)
    elif isinstance(step, preprocessing.RobustScaler):
        centres = step.center_ if step.with_centering else np.zeros(count)
        scales = 1.0 / step.scale_ if step.with_scaling else np.ones(count)
    elif isinstance(step, preprocessing.MaxAbsScaler):
        centres, scales = np.zeros(count), 1.0 / step.scale_
    elif isinstance(step, preprocessing.MinMaxScaler):
        centres, scales = step.data_min_ - step.feature_range[0] / step.scale_, step.scale_
        if step.clip:
            return [replace(channel, scale=None, raw=False) for channel in channels]
    else:
        raise NotFoldable(f"the transformer {type(step).__name__}")
    return [
        replace(
            channel,
            centre=channel.centre + float(centre) / channel.scale if channel.scale else 0.0,
            scale=channel.scale * float(scale) if channel.scale else None,
            raw=False,
        )
        for channel, centre, scale in zip(channels, centres, scales, strict=True)
    ]


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
