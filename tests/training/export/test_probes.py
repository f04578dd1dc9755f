"""Adversarial rows stand where an inexact export would show."""

from __future__ import annotations

import json

import numpy as np

from tests.training.export.models import (
    CATEGORIES,
    CLASSIFIERS,
    export,
    fit,
)
from training.export.probes import adversarial_rows


def test_adversarial_rows_stand_on_and_beside_every_threshold() -> None:
    """Each split threshold appears, with the floats on both sides, and so do the odd values."""
    model, contract, fresh = fit(CLASSIFIERS["boosting"](), "binary", 2)
    exported = export(model, contract, fresh)
    rows = adversarial_rows(exported, fresh, contract)
    trees = json.loads(exported.model_json)["tables"]["trees"]
    for feature, test, value in zip(trees["feature"], trees["test"], trees["value"], strict=True):
        if feature >= 0 and feature not in CATEGORIES:
            wanted = [np.nextafter(value, -np.inf), value, np.nextafter(value, np.inf)]
            assert np.isin(wanted, rows[:, feature]).all(), test
    assert np.isnan(rows).any(axis=0).all()
    assert (rows[:, 4] == 7.0).any(), "the unseen category"
