"""The models whose rows are watched, read from their bundles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core import bundle, drift
from core.bundle import Bundle
from core.contract import Contract
from core.errors import DriftlessError, StorageError
from lambdas.monitor.quality import read_threshold


@dataclass(frozen=True)
class Model:
    """What the monitor needs of a run's bundle."""

    run: str
    uri: str
    contract: Contract
    baseline: drift.Baseline
    evaluation: dict[str, Any]

    @property
    def importance(self) -> dict[str, float]:
        """Give each column's importance to the model, where training measured it."""
        raw = self.evaluation.get("importance") or []
        found = {}
        for item in raw if isinstance(raw, list) else []:
            value = item.get("drop")
            if isinstance(value, int | float):
                found[str(item.get("column"))] = max(float(value), 0.0)
        return found

    @property
    def threshold(self) -> float | None:
        """Give the probability from which the positive class is answered."""
        return read_threshold(self.evaluation)


class Models:
    """The models of one bucket, each read once."""

    def __init__(self, bucket_name: str, read: Callable[[str], bytes | None]) -> None:
        self._bucket = bucket_name
        self._read = read
        self._found: dict[str, Model | DriftlessError] = {}

    def get(self, run: str) -> Model:
        """Read a run's bundle; raises DriftlessError where there is none that can be used."""
        if run not in self._found:
            try:
                self._found[run] = self._open(run, f"models/{run}/output/model/")
            except DriftlessError as error:
                self._found[run] = error
        found = self._found[run]
        if isinstance(found, DriftlessError):
            raise found
        return found

    def find(self, run: str, note: Callable[[str], None]) -> Model | None:
        """Read a run's bundle; None (and a note) where there is none that can be used."""
        try:
            return self.get(run)
        except DriftlessError as error:
            note(f"rows of run {run!r} are not judged: {error}")
            return None

    def _open(self, run: str, prefix: str) -> Model:
        def fetch(name: str) -> bytes:
            found = self._read(prefix + name)
            if found is None:
                raise StorageError(f"there is no s3://{self._bucket}/{prefix}{name}")
            return found

        files = Bundle(fetch)
        contract = files.contract()
        baseline = drift.Baseline.from_json(files.file(bundle.BASELINE))
        if baseline.contract != contract.digest:
            raise StorageError("its baseline was counted under another contract: train again")
        return Model(run, f"s3://{self._bucket}/{prefix}", contract, baseline, files.evaluation())
