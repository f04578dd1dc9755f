"""Champion and challenger, end to end: one is replaced only by a better one."""

from pathlib import Path

import pytest

from tests.training.projects import make_project
from tests.training.runs import drifted, run_local
from training import train


def test_drift_is_answered_by_a_model_that_is_better_on_the_new_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Champion and challenger meet on held-out rows that neither saw; the new rows decide."""
    folder = make_project(
        tmp_path, extra='[training]\ncandidates = ["forest"]\n[training.search]\ntrials = 1\n'
    )
    champion = run_local(folder, capsys)
    path = folder / "models" / champion.lineage()["run"]
    bundle = run_local(drifted(folder), capsys, "--champion", str(path), "--trigger", "drift")
    evaluation = bundle.evaluation()
    assert evaluation["rows"]["fresh"] == 160
    # All labelled rows came after the champion: it saw none, and each is answered by a model that
    # did not learn it, the new one or one of its folds.
    assert evaluation["champion"]["fresh"]["rows"] == 160
    assert evaluation["champion"]["held"]["rows"] < evaluation["champion"]["everything"]["rows"]
    assert evaluation["champion"]["run"] == champion.lineage()["run"]
    assert evaluation["decision"]["promote"] is True
    assert "after drift" in evaluation["decision"]["reason"]
    again = run_local(folder, capsys, "--champion", str(path), "--trigger", "data").evaluation()
    assert again["champion"]["everything"]["rows"] >= again["champion"]["fresh"]["rows"]


def test_a_crippled_challenger_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that learned nothing does not replace one that did, and the report says so."""
    champion = run_local(make_project(tmp_path / "good"), capsys)
    path = tmp_path / "good" / "models" / champion.lineage()["run"]
    dummy = '[training]\ncandidates = ["dummy"]\n'
    folder = make_project(tmp_path / "bad", extra=dummy)
    bundle = run_local(folder, capsys, "--champion", str(path), "--trigger", "data")
    decision = bundle.evaluation()["decision"]
    assert decision["promote"] is False
    assert "not better than knowing nothing" in decision["reason"]
    assert "Not to be promoted" in bundle.file("report.html").decode()


def test_retraining_on_the_same_data_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same model again is within noise of the champion: it is not promoted."""
    folder = make_project(tmp_path)
    champion = run_local(folder, capsys)
    path = folder / "models" / champion.lineage()["run"]
    decision = run_local(folder, capsys, "--champion", str(path)).evaluation()["decision"]
    assert decision["promote"] is False


def test_an_altered_champion_is_not_compared_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A champion whose files do not match their hashes stops the run: nothing is decided on it."""
    folder = make_project(tmp_path)
    champion = run_local(folder, capsys)
    path = folder / "models" / champion.lineage()["run"]
    (path / "model.json").write_bytes(champion.file("model.json") + b" ")
    assert train.main(["--local", str(folder), "--champion", str(path)]) == 1
    assert "altered" in capsys.readouterr().err
