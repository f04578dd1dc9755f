"""Every doubt that the job can raise is one that project.toml can accept."""

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import training
from core.doubts import DOUBT_KINDS, find_unknown_doubts
from training.doubts import Variable
from training.doubts.knowers import find_knowers

SOURCES = sorted(Path(training.__file__).parent.rglob("*.py"))


def written_names() -> Iterator[ast.expr]:
    """Give the first argument of every `Doubt(...)` in the sources of training."""
    nodes = (node for path in SOURCES for node in ast.walk(ast.parse(path.read_text())))
    for node in nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Doubt":
            yield node.args[0]


def literal_start(name: ast.expr) -> str | None:
    """Give the text that a name begins with; None where that is computed."""
    first = name.values[0] if isinstance(name, ast.JoinedStr) else name
    return str(first.value) if isinstance(first, ast.Constant) else None


def combined_kinds() -> set[str]:
    """Give the kinds of the doubts about a target that is made of two columns."""
    random = np.random.default_rng(4)
    one, two, three = np.exp(random.normal(size=(3, 400)))
    variables = [Variable(n, "number", v) for n, v in (("one", one), ("two", two), ("x", three))]
    found = [
        *find_knowers(variables, 2.0 * one + 3.0 * two),
        *find_knowers(variables, one * two),
    ]
    assert {doubt.name.partition(":")[2] for doubt in found} == {"one,two"}
    assert list(find_unknown_doubts(doubt.name for doubt in found)) == []
    return {doubt.name.partition(":")[0] for doubt in found}


def test_every_kind_of_doubt_can_be_accepted_and_every_accepted_kind_raised() -> None:
    """The list of kinds is said once, in core; what training raises is that list."""
    starts = [literal_start(name) for name in written_names()]
    # The one name whose start is computed is that of sums and products; `combined_kinds` raises it.
    assert starts.count(None) == 1
    written = {start.partition(":")[0] for start in starts if start is not None}
    assert written | combined_kinds() == set(DOUBT_KINDS)
    # A name has a colon where the kind may be about something, and none where it may be alone.
    for start in starts:
        if start is not None:
            kind, colon, _ = start.partition(":")
            assert any(bool(about) == bool(colon) for about in DOUBT_KINDS[kind]), start
