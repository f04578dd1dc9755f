"""The proof that the exported files answer as scikit-learn does.

`prove_parity` scores rows, ordinary and adversarial, through scikit-learn and through each engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.contract import Contract
from core.engine import decide, load_engine, read_header
from core.errors import ExportError
from training.arrays import FloatArray
from training.export.formats import Exported
from training.export.probes import MOST_ADVERSARIAL_ROWS, adversarial_rows
from training.export.sessions import run_onnx, take_batches
from training.fit.estimators import reference_outputs

# A wide table gets fewer rows, since the cost of each grows with the number of features.
_MOST_ADVERSARIAL_CELLS = 8_000_000


@dataclass(frozen=True)
class ParityReport:
    """What a proof found: rows compared, the largest difference and the answers that changed.

    Differences are relative to max(1, |answer|), by engine; `refused` rows are those that
    scikit-learn itself refuses to score (missing values, where the model takes none).
    """

    rows: int
    max_abs_diff: float
    flips: int
    bound: float
    engines: dict[str, float] = field(default_factory=dict)
    refused: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Give the report as JSON-ready members."""
        return {
            "rows": self.rows,
            "max_abs_diff": self.max_abs_diff,
            "flips": self.flips,
            "bound": self.bound,
            "engines": self.engines,
            "refused": self.refused,
        }


def prove_parity(
    model: Any,
    exported: Exported,
    holdout: FloatArray,
    contract: Contract,
    *,
    most_adversarial_rows: int | None = None,
    seed: int = 0,
) -> ParityReport:
    """Compare the exported files with scikit-learn over the holdout and adversarial rows.

    Every row goes through `model.json` (where it has tables) and through `model.onnx`. Raises
    ExportError, naming the engine, the size and the row, beyond the family's bound.
    """
    holdout = np.asarray(holdout, dtype=np.float64)
    if most_adversarial_rows is None:
        width = len(contract.features)
        affordable = max(2 * width, _MOST_ADVERSARIAL_CELLS // width)
        most_adversarial_rows = min(MOST_ADVERSARIAL_ROWS, affordable)
    crafted = adversarial_rows(
        exported, holdout, contract, most_rows=most_adversarial_rows, seed=seed
    )
    rows, expected, refused = _answerable(model, np.concatenate([holdout, crafted]), contract)
    header = read_header(exported.model_json)
    answers: dict[str, FloatArray] = {"onnx": run_onnx(exported.onnx, rows)}
    if exported.family != "none":
        engine = load_engine(exported.model_json)
        answers["table"] = np.array(engine.score_many(rows.tolist())).reshape(expected.shape)
    decisions = [decide(header, row) for row in expected.tolist()]
    worst: dict[str, float] = {}
    flips = 0
    for name, found in answers.items():
        given = [decide(header, row) for row in found.tolist()]
        changed = [
            a != b if isinstance(a, str) else False for a, b in zip(given, decisions, strict=True)
        ]
        flips = max(flips, sum(changed))
        worst[name] = _compare(name, found, expected, rows, exported, contract)
    return ParityReport(
        len(rows), max(worst.values(), default=0.0), flips, exported.bound, worst, refused
    )


def _compare(
    name: str,
    found: FloatArray,
    expected: FloatArray,
    rows: FloatArray,
    exported: Exported,
    contract: Contract,
) -> float:
    if found.shape != expected.shape:
        raise ExportError(f"the {name} engine answers {found.shape}, not {expected.shape}")
    if not len(rows):
        return 0.0
    with np.errstate(invalid="ignore"):
        difference = np.abs(found - expected) / np.maximum(1.0, np.abs(expected))
        difference[found == expected] = 0.0
    difference = np.where(np.isnan(difference), np.inf, difference)
    if contract.task == "clustering":
        # Of two clusters as near as rounding can tell, either is the right one.
        tie = difference[:, 1:].max(axis=1) <= exported.bound
        top = np.sort(expected[:, 1:], axis=1)
        near = (top[:, -1] - top[:, -2] if top.shape[1] > 1 else np.full(len(top), np.inf)) <= (
            4 * exported.bound * np.maximum(1.0, np.abs(top[:, -1]))
        )
        difference[tie & near, 0] = 0.0
    where = int(difference.max(axis=1).argmax())
    largest = float(difference[where].max())
    if largest > exported.bound:
        row = dict(zip((f.name for f in contract.features), rows[where].tolist(), strict=True))
        raise ExportError(
            f"the {name} engine differs from scikit-learn by {largest:.3g} (bound "
            f"{exported.bound:.0e}, family {exported.family}): {found[where].tolist()} instead of "
            f"{expected[where].tolist()} for the encoded row {row}"
        )
    return largest


def _answerable(
    model: Any, rows: FloatArray, contract: Contract
) -> tuple[FloatArray, FloatArray, int]:
    """Keep the rows that scikit-learn itself scores, with its outputs and the count of others."""
    kept, outputs = [], []
    for chunk in take_batches(rows):
        try:
            outputs.append(reference_outputs(model, chunk, contract))
            kept.append(chunk)
            continue
        except ValueError:
            pass
        complete = chunk[~np.isnan(chunk).any(axis=1)]
        # A model of float32 refuses numbers that float32 cannot hold.
        complete = complete[(np.abs(complete) < 1e29).all(axis=1)]
        if len(complete):
            try:
                outputs.append(reference_outputs(model, complete, contract))
            except ValueError as error:
                raise ExportError(f"scikit-learn cannot score the holdout: {error}") from error
            kept.append(complete)
    width = len(contract.outputs)
    if not kept:
        return np.empty((0, rows.shape[1])), np.empty((0, width)), len(rows)
    scored = np.concatenate(kept)
    return scored, np.concatenate(outputs), len(rows) - len(scored)
