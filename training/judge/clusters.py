"""Clusters and anomalies: how stable they are and what sets them apart."""

import warnings
from typing import Any

import numpy as np

from core.contract import Contract
from training.arrays import FloatArray


def summarise_clusters(
    contract: Contract, matrix: FloatArray, labels: FloatArray
) -> list[dict[str, Any]]:
    """Describe each cluster: its share of the rows and the columns in which it differs most."""
    # A column without values has no centre; neither has a cluster without values in a column.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return _describe_clusters(contract, matrix, labels)


def _describe_clusters(
    contract: Contract, matrix: FloatArray, labels: FloatArray
) -> list[dict[str, Any]]:
    described = []
    spread = np.nanstd(matrix, axis=0)
    centre = np.nanmean(matrix, axis=0)
    for index, name in enumerate(contract.classes):
        members = matrix[labels == index]
        entry: dict[str, Any] = {
            "cluster": name,
            "rows": len(members),
            "share": len(members) / len(matrix),
        }
        if len(members):
            shift = (np.nanmean(members, axis=0) - centre) / spread
            shift = np.where(np.isfinite(shift), shift, 0.0)
            top = np.argsort(-np.abs(shift), kind="stable")[:4]
            numeric = [i for i in top if contract.features[i].kind != "category"]
            entry["differs"] = [
                {"feature": contract.features[i].name, "deviations": float(shift[i])}
                for i in numeric
            ]
        described.append(entry)
    return described
