"""Columns as plain float64, as the checks in `training.doubts` take them."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.contract import ColumnType
from training.data.columns import Series
from training.doubts import Variable


def as_variable(name: str, coerced: NDArray[Any], kind: ColumnType) -> Variable:
    """Turn what `coerce_column` gives into numbers or codes."""
    if kind in ("number", "integer"):
        return Variable(name, "number", coerced.astype(np.float64))
    if kind == "boolean":
        return Variable(name, "category", coerced.astype(np.float64))
    if kind == "timestamp":
        moments = coerced.astype("datetime64[us]")
        seconds = moments.astype(np.int64) / 1e6
        return Variable(name, "number", np.where(np.isnat(moments), np.nan, seconds))
    codes = pd.factorize(coerced, use_na_sentinel=True)[0].astype(np.float64)
    codes[codes < 0] = np.nan
    return Variable(name, "category", codes)


def guess_variable(values: Series) -> Variable:
    """Turn a column that no contract describes into numbers or codes, as it was read."""
    name = str(values.name)
    if pd.api.types.is_numeric_dtype(values.dtype):
        return Variable(name, "number", values.to_numpy(dtype=np.float64))
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    return as_variable(name, values.to_numpy(), "category")
