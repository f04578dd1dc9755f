"""Runs of the training job on a folder, and labelled captures beside its table."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from core.bundle import Bundle
from tests.training.projects import make_table
from training import train


def run_local(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> Bundle:
    """Train and open the bundle whose folder is the last line printed."""
    assert train.main(["--local", str(folder), *more]) == 0
    return Bundle.from_folder(capsys.readouterr().out.splitlines()[-1])


def fail_local(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """Train in vain; gives what was said, and checks that nothing was left behind."""
    assert train.main(["--local", str(folder), *more]) == 1
    models = folder / "models"
    assert not models.exists() or not list(models.iterdir())
    said = capsys.readouterr().err
    assert said.startswith("training failed: ")
    assert "Traceback" not in said
    return said


def drifted(folder: Path, rows: int = 160) -> Path:
    """Put labelled captures beside the table, in which the size is in new units."""
    frame = make_table("binary", rows=rows, seed=8, shift=6.0)
    frame["prediction_id"] = [f"p{i}" for i in range(rows)]
    frame["prediction_time"] = 1_790_000_000_000 + np.arange(rows) * 60_000
    (folder / "labelled").mkdir()
    text = frame.to_csv(index=False).encode()
    (folder / "labelled" / "part-0001.csv.gz").write_bytes(gzip.compress(text))
    return folder
