"""The champion: the model that is live, opened from its bundle to answer the same rows."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from core import bundle as files
from core.bundle import Bundle
from core.contract import Contract
from core.engine import load_engine, read_header
from training.arrays import Answer, BoolArray, FloatArray, IntArray
from training.data import hashing, seen
from training.data.dataset import Data
from training.data.seen import Seen
from training.data.splits import Split, unseen_by
from training.data.tables import encode_table
from training.export.sessions import open_onnx


@dataclass(frozen=True)
class Champion:
    """The model that is live: its contract, its answers, and how it came about."""

    contract: Contract
    split: dict[str, Any]
    lineage: dict[str, Any]
    answer: Answer
    threshold: float | None
    seen: Seen | None

    @property
    def run(self) -> str:
        """Name the run that trained it."""
        return str(self.lineage.get("run", "unknown"))


def load_champion(folder: Path) -> Champion:
    """Open the champion's bundle; it answers from its tables, or from ONNX where it has none.

    Raises BundleError if a file is absent or altered.
    """
    opened = Bundle.from_folder(folder)
    model = opened.file(files.MODEL)
    header = read_header(model)
    has_tables = json.loads(model).get("tables") is not None
    answer = _answer_from_tables(model) if has_tables else open_onnx(opened.file(files.ONNX))
    return Champion(
        contract=opened.contract(),
        split=dict(opened.evaluation().get("split") or {}),
        lineage=opened.lineage(),
        answer=answer,
        threshold=header.threshold,
        seen=Seen.from_bytes(opened.file(files.SEEN)) if files.SEEN in opened else None,
    )


def _answer_from_tables(model: bytes) -> Answer:
    engine = load_engine(model)
    return lambda matrix: np.asarray(engine.score_many(matrix.tolist()), dtype=np.float64)


def explain_mismatch(champion: Contract, challenger: Contract) -> str | None:
    """Say why two models cannot be compared, or None if they answer the same question."""
    if champion.task != challenger.task:
        return f"the champion's task is {champion.task}, the challenger's {challenger.task}"
    if champion.target != challenger.target:
        return f"the champion predicts {champion.target!r}, the challenger {challenger.target!r}"
    if challenger.is_classification and not set(champion.classes) & set(challenger.classes):
        return "the champion's classes are none of the challenger's"
    return None


def align_outputs(outputs: FloatArray, champion: Contract, challenger: Contract) -> FloatArray:
    """Put a champion's outputs into the order of the challenger's classes; a new class gets 0."""
    if not challenger.is_classification or champion.classes == challenger.classes:
        return outputs
    aligned = np.zeros((len(outputs), len(challenger.classes)))
    for position, name in enumerate(challenger.classes):
        if name in champion.classes:
            aligned[:, position] = outputs[:, champion.classes.index(name)]
    return aligned


def encode_for(champion: Champion, data: Data, rows: IntArray) -> FloatArray:
    """Encode rows as the champion was taught to, without the limits that it had."""
    relaxed = replace(
        champion.contract,
        columns=tuple(
            replace(column, min=None, max=None, missing=True, unseen="accept")
            for column in champion.contract.columns
        ),
    )
    return encode_table(data.frame.iloc[rows].reset_index(drop=True), relaxed)


def find_unseen(champion: Champion, data: Data, split: Split) -> BoolArray:
    """Say of each row of the table whether the champion cannot have been trained on it.

    The champion's record of what it was trained on says so; by a bundle without one, only rows of
    the holdout are known to be unseen, by the cut that the bundle keeps.
    """
    if not champion.split:
        return np.zeros(len(data.frame), dtype=bool)
    strategy = str(champion.split["strategy"])
    every = np.arange(len(data.frame))
    matrix = encode_for(champion, data, every)
    if champion.seen is not None:
        places, by = data.place_in(matrix, strategy, seen.SEED)
        if by == champion.seen.by:
            unseen = champion.seen.excludes(places)
            entities = data.groups if by == "group" else data.ids
            if champion.seen.earlier and entities is not None:
                other = hashing.hash_values(hashing.code_longer(entities, ".0"), seen.SEED)
                unseen &= champion.seen.excludes(other) & ~hashing.find_nameless(entities)
            return unseen
    strata = data.strata
    if strata is not None and champion.contract.classes != data.contract.classes:
        names = champion.contract.classes
        codes = [names.index(c) if c in names else -1 for c in data.contract.classes]
        strata = np.asarray(codes, dtype=np.intp)[strata]
    unseen = unseen_by(
        champion.split,
        matrix,
        strata=strata,
        times=data.order(strategy),
        groups=data.groups,
        ids=data.ids,
    )
    unseen[split.train] = False
    return unseen
