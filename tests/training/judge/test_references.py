"""The golden rows are nobody's."""

from pathlib import Path

import pandas as pd
import pytest

from tests.training.projects import make_project
from tests.training.runs import run_local


def test_sensitive_values_of_one_person_do_not_reach_the_golden_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A golden row's sensitive value is another row's, so the row is nobody's."""
    folder = make_project(tmp_path)
    text = (folder / "project.toml").read_text()
    head, tail = text.split('[columns."Größe"]\n')
    (folder / "project.toml").write_text(f'{head}[columns."Größe"]\nsensitive = true\n{tail}')
    rows = run_local(folder, capsys).golden()["rows"]
    table = pd.read_csv(folder / "table.csv")
    kept = sum(
        bool(((table["size"] == row["size"]) & (table["Größe"] == row["Größe"])).any())
        for row in rows
    )
    assert kept <= 4
