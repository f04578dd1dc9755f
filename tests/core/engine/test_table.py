"""The table engine: explanations, refusals, and what it imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from core.engine import load_engine
from core.errors import EngineError
from tests.core.engine.models import (
    FEATURES,
    make_model,
    stump,
)


def test_a_first_class_that_is_positive_is_explained_as_such() -> None:
    """Attributions are about the positive class, whichever position it has."""
    yes = load_engine(make_model("trees", stump(), baseline=[[-1.0, 0, 0, 0, 0]]))
    no = load_engine(make_model("trees", stump(), baseline=[[-1.0, 0, 0, 0, 0]], positive=0))
    row = [1.0, 0, 0, 0, 0]
    assert yes.explain(row).outputs == ("yes",)
    assert no.explain(row).outputs == ("no",)
    assert no.explain(row).base == [-b for b in yes.explain(row).base]
    assert no.explain(row).contributions[0][0] == -yes.explain(row).contributions[0][0]


def test_several_baselines_are_averaged() -> None:
    """With more than one baseline row an attribution is the mean of those against each."""
    rows = [[-1.0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0]]
    engine = load_engine(make_model("trees", stump(), baseline=rows))
    explanation = engine.explain([1.0, 0, 0, 0, 0])
    assert explanation.base == [1.0]
    assert explanation.contributions == [[1.5, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "not JSON"),
        (b"[]", "format 'list'"),
        (make_model("trees", {}, format=9), "format 9"),
        (make_model("trees", {}), "do not fit together"),
        (make_model("oracle", {"base": [1.0]}), "do not fit together"),
        (make_model("none", None), "model.onnx"),
        (b'{"format": 1}', "header is incomplete"),
    ],
)
def test_broken_models_are_refused(text: bytes, message: str) -> None:
    """A file that is no model, or no tables, is one clear error."""
    with pytest.raises(EngineError, match=message):
        load_engine(text)


def test_explaining_needs_a_baseline_and_the_right_width() -> None:
    """What cannot be explained is refused with its reason."""
    with pytest.raises(EngineError, match="without a baseline"):
        load_engine(make_model("trees", stump(), baseline=[])).explain([0.0] * FEATURES)
    with pytest.raises(EngineError, match="3 features"):
        load_engine(make_model("trees", stump())).explain([0.0] * 3)


def test_predicting_imports_no_numpy() -> None:
    """The engine runs on the standard library and this project's errors alone."""
    code = (
        "import sys, core.engine; "
        "print(sorted({'numpy', 'sklearn', 'pydantic', 'pandas'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
