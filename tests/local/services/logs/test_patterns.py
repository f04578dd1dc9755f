"""Filter patterns choose log events as CloudWatch Logs documents it."""

from __future__ import annotations

import json

import pytest

from local.services.logs.patterns import PatternError, compile_pattern

CAPTURE = json.dumps(
    {"capture": 1, "run": "r1", "rows": [{"a": None, "b": True}], "note": "ERROR x"}
)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("", True),
        ("{ $.capture = 1 }", True),
        ("{$.capture=1}", True),
        ("{ $.capture = 2 }", False),
        ("{ $.capture != 2 }", True),
        ("{ $.capture >= 1 && $.capture < 2 }", True),
        ('{ $.run = "r1" }', True),
        ('{ $.run = "r*" }', True),
        ("{ $.run = r1 }", True),
        ('{ $.run != "r1" }', False),
        ('{ ($.run = "x" || $.capture = 1) && $.absent NOT EXISTS }', True),
        ("{ $.run NOT EXISTS }", False),
        ("{ $.rows[0].a IS NULL }", True),
        ("{ $.rows[*].b IS TRUE }", True),
        ("{ $.rows[0].b IS FALSE }", False),
        ("ERROR", True),
        ("ERROR capture", True),
        ("ERROR absent", False),
        ("?absent ?ERROR", True),
        ("ERROR -capture", False),
        ('"ERROR x"', True),
    ],
)
def test_filter_patterns(pattern: str, matches: bool) -> None:
    assert compile_pattern(pattern)(CAPTURE) is matches


def test_json_patterns_do_not_match_text() -> None:
    assert not compile_pattern("{ $.capture = 1 }")("capture = 1")
    assert not compile_pattern("{ $.capture = 1 }")("[1]")


@pytest.mark.parametrize(
    "pattern", ["{ $.a = 1", "{ $.a }", "{ a = 1 }", "{ $.a < x }", "{ ($.a = 1 }", "[a, b]"]
)
def test_patterns_that_cannot_be_read_are_refused(pattern: str) -> None:
    with pytest.raises(PatternError, match="pattern"):
        compile_pattern(pattern)
