"""The checked table of a job, as every later step sees it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.contract import Contract
from training.arrays import BoolArray, FloatArray, IntArray
from training.data.inspection import resolve_contract
from training.data.sources import read_sources
from training.data.tables import check_table, encode_table, encode_target
from training.jobs import Job
from training.log import Log

SUPERVISED = ("binary", "multiclass", "regression")


@dataclass(frozen=True)
class Data:
    """The checked table and what is derived from it, one entry a row."""

    contract: Contract
    frame: pd.DataFrame
    matrix: FloatArray
    labels: FloatArray | None
    positions: FloatArray
    times: FloatArray | None
    groups: NDArray[Any] | None
    fresh: BoolArray
    quality: Mapping[str, Any]
    inputs: tuple[Mapping[str, Any], ...]

    @property
    def strata(self) -> IntArray | None:
        """Give the class of each row, to stratify by."""
        if not self.contract.is_classification or self.labels is None:
            return None
        return self.labels.astype(np.intp)

    def order(self, strategy: str) -> FloatArray | None:
        """Give what a split by `strategy` puts the rows in order by, or None."""
        if strategy in ("random", "group"):
            return None
        return self.positions if strategy == "order" else self.times

    @property
    def truth(self) -> FloatArray | None:
        """Give 1 for known anomalies, 0 for ordinary rows, NaN for the rest; None if none is."""
        target = self.contract.target
        if target is None or target not in self.frame.columns:
            return None
        return np.asarray(encode_target(self.frame, self.contract), dtype=np.float64)


def read_data(job: Job, log: Log) -> Data:
    """Read and check the tables; raises DataError with every problem of the table."""
    sources = read_sources(job)
    frame = sources.join()
    contract = resolve_contract(job.settings, frame)
    checked = check_table(frame, contract)
    fresh_rows = 0
    if sources.labelled is not None:
        fresh_rows = len(check_table(sources.labelled, contract).frame)
    table = checked.frame
    for warning in checked.warnings:
        log.say(f"warning: {warning}")
    labels = None
    if contract.task in SUPERVISED:
        labels = np.asarray(encode_target(table, contract), dtype=np.float64)
    log.say(
        f"read {len(table)} rows ({fresh_rows} of them fresh), {len(contract.columns)} columns, "
        f"task {contract.task}"
    )
    return Data(
        contract=contract,
        frame=table,
        matrix=encode_table(table, contract),
        labels=labels,
        positions=checked.positions.astype(np.float64),
        times=_read_times(table, contract),
        groups=_read_groups(table, contract),
        fresh=np.arange(len(table)) >= len(table) - fresh_rows,
        quality=checked.quality,
        inputs=sources.files,
    )


def _read_times(table: pd.DataFrame, contract: Contract) -> FloatArray | None:
    if contract.time_column is None or contract.time_column not in table.columns:
        return None
    values = table[contract.time_column]
    if pd.api.types.is_datetime64_any_dtype(values):
        stamps = values.to_numpy(dtype="datetime64[us]")
        seconds = stamps.astype(np.int64) / 1e6
        return np.where(np.isnat(stamps), np.nan, seconds)
    return values.to_numpy(dtype=np.float64)


def _read_groups(table: pd.DataFrame, contract: Contract) -> NDArray[Any] | None:
    if contract.group_column is None or contract.group_column not in table.columns:
        return None
    values = table[contract.group_column]
    names = values.astype(str).to_numpy(dtype=object)
    lone = values.isna().to_numpy()
    # A row without a group is one of its own.
    names[lone] = [f"row {i}" for i in np.flatnonzero(lone)]
    return names
