"""The checked table of a job, as every later step sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.contract import Contract
from training.arrays import BoolArray, FloatArray, IntArray
from training.data.entities import Codes, name_entities
from training.data.inspection import resolve_contract
from training.data.sources import Sources, read_sources
from training.data.splits import By, place_entities
from training.data.tables import check_table, encode_table, encode_target
from training.jobs import Job
from training.log import Log

SUPERVISED = ("binary", "multiclass", "regression")


@dataclass(frozen=True)
class Data:
    """The checked table and everything that is read off it, one entry a row.

    `origins` has the place of a row's file among `inputs`, beyond them for labelled rows; `beside`
    the columns that the contract does not know, as they were read. `groups` and `ids` are codes of
    entities, `entity_files` what the bundle keeps of them.
    """

    contract: Contract
    frame: pd.DataFrame
    matrix: FloatArray
    labels: FloatArray | None
    positions: FloatArray
    times: FloatArray | None
    groups: Codes | None
    fresh: BoolArray
    quality: Mapping[str, Any]
    inputs: tuple[Mapping[str, Any], ...]
    origins: IntArray
    beside: pd.DataFrame
    ids: Codes | None
    entity_files: Mapping[str, bytes] = field(repr=False)

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

    def entities(self, strategy: str, seed: int) -> FloatArray:
        """Place each row's entity in [0, 1): what keeps to one side of every cut."""
        return self.place_in(self.matrix, strategy, seed)[0]

    def place_in(self, matrix: FloatArray, strategy: str, seed: int) -> tuple[FloatArray, By]:
        """Place each row's entity, by rows that any contract encoded, and say what it is."""
        groups = self.groups if strategy == "group" else None
        return place_entities(matrix, seed, groups=groups, ids=self.ids, labels=self.labels)

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
    frame, origins = sources.join()
    contract = resolve_contract(job.settings, frame)
    checked = check_table(frame, contract)
    table = checked.frame
    whose = origins[checked.positions]
    fresh = whose == sources.labelled_origin
    for warning in checked.warnings:
        log.say(f"warning: {warning}")
    for unread in sources.unread:
        log.say(f"warning: {unread}; its rows are not in this model")
    labels = None
    if contract.task in SUPERVISED:
        labels = np.asarray(encode_target(table, contract), dtype=np.float64)
    log.say(
        f"read {len(table)} rows ({int(fresh.sum())} of them fresh), "
        f"{len(contract.columns)} columns, task {contract.task}"
    )
    named = name_entities(
        job,
        contract,
        groups=_take_texts(sources, contract.group_column, checked.positions),
        ids=_take_texts(sources, contract.id_column, checked.positions),
        hashes=None if sources.entities is None else sources.entities[checked.positions],
        log=log,
    )
    return Data(
        contract=contract,
        frame=table,
        matrix=encode_table(table, contract),
        labels=labels,
        positions=checked.positions.astype(np.float64),
        times=_read_times(table, contract),
        groups=named.groups,
        fresh=fresh,
        quality={**checked.quality, "unread": [str(what) for what in sources.unread]},
        inputs=sources.files,
        origins=whose,
        beside=_take_beside(frame, checked.positions, contract),
        ids=named.ids,
        entity_files=named.files,
    )


def _take_beside(frame: pd.DataFrame, rows: IntArray, contract: Contract) -> pd.DataFrame:
    """Take the columns that the contract does not know: one of them may own the rows."""
    known = {*contract.column_names, contract.target}
    names = [name for name in frame.columns if name not in known]
    return frame[names].iloc[rows].reset_index(drop=True)


def _read_times(table: pd.DataFrame, contract: Contract) -> FloatArray | None:
    if contract.time_column is None or contract.time_column not in table.columns:
        return None
    values = table[contract.time_column]
    if pd.api.types.is_datetime64_any_dtype(values):
        stamps = values.to_numpy(dtype="datetime64[us]")
        seconds = stamps.astype(np.int64) / 1e6
        return np.where(np.isnat(stamps), np.nan, seconds)
    return values.to_numpy(dtype=np.float64)


def _take_texts(sources: Sources, column: str | None, rows: IntArray) -> NDArray[Any] | None:
    """Take the texts of a column that names entities, as the files have them."""
    if column is None or column not in sources.table.columns:
        return None
    return sources.spell(column)[rows]
