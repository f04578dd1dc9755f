"""The model: fitted on all training rows, calibrated, with its threshold."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.contract import Contract
from training.arrays import FloatArray
from training.data.dataset import Data
from training.data.splits import Split
from training.fit import calibration
from training.fit.estimators import fit_rows, reference_outputs
from training.fit.selection import Chosen, list_candidates
from training.fit.threads import limit_threads
from training.fit.thresholds import find_threshold
from training.jobs import Job
from training.log import Log


@dataclass(frozen=True)
class Model:
    """The fitted model, with the contract that it was fitted for and its threshold."""

    estimator: Any
    contract: Contract
    threshold: float | None
    threshold_reason: str

    def answer(self, matrix: FloatArray) -> FloatArray:
        """Answer encoded rows, as scikit-learn does."""
        return reference_outputs(self.estimator, matrix, self.contract)


def fit_model(job: Job, data: Data, split: Split, chosen: Chosen, log: Log) -> Model:
    """Fit the chosen model on all training rows, calibrate it, and choose its threshold."""
    contract, best = data.contract, chosen.searched.best
    candidate = list_candidates(job, contract, len(split.train))[best.candidate]
    estimator = candidate.build(best.params)
    train = data.matrix[split.train]
    with limit_threads(train):
        if contract.task in ("anomaly", "clustering"):
            fit_rows(estimator, train)
        else:
            assert data.labels is not None
            labels = data.labels[split.train]
            codes = labels.astype(np.intp) if contract.is_classification else labels
            fit_rows(estimator, train, codes)
    if chosen.calibrates and chosen.raw is not None and data.labels is not None:
        estimator = calibration.calibrate(estimator, chosen.raw, data.labels[chosen.rows])
    if contract.task == "clustering":
        fits = reference_outputs(estimator, train[:1], contract).shape[1] - 1
        contract = replace(contract, classes=tuple(str(i) for i in range(fits)))
    threshold = find_threshold(job, data, split, chosen, estimator)
    log.say(
        f"fitted {best.candidate} on {len(train)} rows"
        + (", calibrated" if chosen.calibrates else "")
        + (f", threshold {threshold.value:.4g}" if threshold else "")
    )
    return Model(
        estimator,
        contract,
        threshold.value if threshold else None,
        threshold.reason if threshold else "",
    )
