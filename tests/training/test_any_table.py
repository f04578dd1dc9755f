"""Whatever the table: init, train, bundle, predict end in scikit-learn's answers or one error."""

import argparse
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.bundle import Bundle
from core.contract.rows import RowAdapter
from core.engine import decide, load_engine
from core.errors import DriftlessError
from ops import init
from training import train
from training.data import tables
from training.data.reading import read_table
from training.export.formats import FOLDED_BOUND
from training.fit.estimators import reference_outputs

EXAMPLES = 20
CANDIDATES = {
    "binary": ("linear", "boosting", "forest"),
    "multiclass": ("linear", "boosting", "forest"),
    "regression": ("linear", "boosting", "forest"),
    "anomaly": ("isolation_forest",),
    "clustering": ("kmeans", "mixture"),
}
NAMES = ("plain", "with space", "Größe (cm)", 'say "hi"', "a,b", "名前", "x=1", "[0]", "#5", "f' g")


def _gaps(values: list[Any], random: np.random.Generator) -> list[Any]:
    share = random.choice([0.0, 0.2, 0.9])
    return [None if random.random() < share else value for value in values]


def make_column(kind: str, rows: int, random: np.random.Generator) -> list[Any]:
    """Make a column as tables out there have them."""
    made: dict[str, Any] = {
        "number": lambda: random.normal(0, 10.0 ** random.integers(-3, 7), rows).tolist(),
        "steps": lambda: (random.integers(0, 4, rows) / 4).tolist(),
        "integer": lambda: random.integers(-50, 50, rows).tolist(),
        "huge": lambda: (random.integers(1, 9, rows) * 10.0**15).tolist(),
        "category": lambda: random.choice(["red", "green", "blau", "μ"], rows).tolist(),
        "wide": lambda: [f"city {i}" for i in random.integers(0, rows, rows)],
        "words": lambda: random.choice(["yes", "No", "YES", "no"], rows).tolist(),
        "date": lambda: [f"2025-{i % 12 + 1:02d}-{i % 28 + 1:02d}" for i in range(rows)],
        "text": lambda: [" ".join(random.choice(list("abcdef"), 6)) for _ in range(rows)],
        "constant": lambda: [3.5] * rows,
        "empty": lambda: [None] * rows,
        "blanks": lambda: [f" {i} " for i in random.integers(0, 99, rows)],
    }
    return list(made[kind]())


KINDS = (
    *("number", "steps", "integer", "huge", "category", "wide"),
    *("words", "date", "text", "constant", "empty", "blanks"),
)


def make_answer(task: str, rows: int, random: np.random.Generator) -> Any:
    """Make a target that has something to do with chance only; parity does not ask for more."""
    if task == "binary":
        return random.choice(["stay", "leave"], rows, p=[0.7, 0.3])
    if task == "multiclass":
        return random.choice([1, 2, 3], rows)
    return random.normal(size=rows) * 1e3


@st.composite
def problems(draw: st.DrawFn) -> tuple[str, str, pd.DataFrame]:
    task = draw(st.sampled_from(list(CANDIDATES)))
    candidate = draw(st.sampled_from(CANDIDATES[task]))
    rows = draw(st.sampled_from([10, 40, 120]))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5))
    names = draw(st.permutations(NAMES))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    frame = pd.DataFrame(
        {
            name: _gaps(make_column(kind, rows, random), random)
            for name, kind in zip(names, kinds, strict=False)
        }
    )
    if task not in ("anomaly", "clustering"):
        frame["answer"] = _gaps(make_answer(task, rows, random), random)
    return task, candidate, frame


def write_project(folder: Path, task: str, candidate: str, frame: pd.DataFrame) -> None:
    """Run `ops init`, then cut the search short."""
    frame.to_csv(folder / "any.csv", index=False)
    parser = argparse.ArgumentParser()
    init.add_parser(parser.add_subparsers())
    target = ["--target", "answer"] if "answer" in frame else []
    file = folder / "project.toml"
    words = ["init", str(folder / "any.csv"), "--task", task, *target, "--output", str(file)]
    args = parser.parse_args([*words, "--force", "--json"])
    args.func(args)
    text = file.read_text().replace(
        "[training]\n", f'[training]\ncandidates = ["{candidate}"]\n', 1
    )
    file.write_text(text + "\n[training.search]\ntrials = 1\n")


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(problem=problems())
def test_a_generated_table_is_served_as_scikit_learn_answers(
    problem: tuple[str, str, pd.DataFrame],
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From the raw row through contract and tables: scikit-learn's answer, or no bundle at all."""
    task, candidate, frame = problem
    folder = tmp_path_factory.mktemp("any")
    try:
        write_project(folder, task, candidate, frame)
    except DriftlessError:
        return  # nothing to learn from; `ops init` has said so
    code = train.main(["--local", str(folder)])
    printed = capsys.readouterr()
    if code:
        assert printed.err.startswith("training failed: "), printed.err
        assert "unexpected" not in printed.err
        assert not list(folder.glob("models/*"))
        return
    bundle = Bundle.from_folder(printed.out.splitlines()[-1])
    bundle.verify()
    contract, engine = bundle.contract(), load_engine(bundle.file("model.json"))
    with (folder / "models" / bundle.lineage()["run"] / "model.joblib").open("rb") as file:
        model = joblib.load(file)
    table = read_table(folder / "any.csv")
    rows = tables.table_rows(table, contract)
    accepted = RowAdapter(contract).validate_rows(rows)
    found = np.asarray([engine.score(contract.encode(row)) for row in accepted])
    expected = reference_outputs(model, tables.encode_table(table, contract), contract)
    if task == "clustering":
        assert [decide(engine.header, row) for row in found.tolist()] == [
            decide(engine.header, row) for row in expected.tolist()
        ]
    scale = np.maximum(1.0, np.abs(expected))
    assert (np.abs(found - expected) / scale).max() <= max(
        FOLDED_BOUND, bundle.evaluation()["export"]["bound"]
    )
