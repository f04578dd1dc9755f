"""Match log events against CloudWatch Logs filter patterns: terms and JSON."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn

Matcher = Callable[[str], bool]
_Test = Callable[[Any], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<string>\"(?:[^\"\\]|\\.)*\")|(?P<symbol>&&|\|\||!=|<=|>=|=|<|>|\(|\))"
    r"|(?P<path>\$(?:\.[A-Za-z0-9_\-]+|\[(?:\d+|\*|\"[^\"]*\")\])+)|(?P<word>[^\s()=<>!&|]+))"
)
_STEP = re.compile(r"\.([A-Za-z0-9_\-]+)|\[(\d+)\]|\[(\*)\]|\[\"([^\"]*)\"\]")
_TERM = re.compile(r"([-?]?)(?:\"((?:[^\"\\]|\\.)*)\"|(\S+))")
_NUMERIC: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class PatternError(ValueError):
    """Say what in a filter pattern is not understood."""


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> Matcher:
    """Return the test of a filter pattern (CloudWatch Logs, "Filter pattern syntax")."""
    text = pattern.strip()
    if not text:
        return lambda message: True
    if text.startswith("{"):
        if not text.endswith("}"):
            raise PatternError(f"the filter pattern {pattern!r} lacks its closing brace")
        return _compile_json(text[1:-1], pattern)
    if text.startswith(("[", "%")):
        raise PatternError(f"the filter pattern {pattern!r} is of a kind that is not modelled here")
    return _compile_terms(text)


def _compile_terms(text: str) -> Matcher:
    needed: list[str] = []
    any_of: list[str] = []
    refused: list[str] = []
    for sign, quoted, plain in _TERM.findall(text):
        term = re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        {"": needed, "?": any_of, "-": refused}[sign].append(term)

    def matches(message: str) -> bool:
        if any(term in message for term in refused):
            return False
        if any_of:
            return any(term in message for term in [*any_of, *needed])
        return all(term in message for term in needed)

    return matches


def _compile_json(text: str, pattern: str) -> Matcher:
    tokens: list[tuple[str, str]] = []
    position = 0
    while text[position:].strip():
        found = _TOKEN.match(text, position)
        if found is None:
            raise PatternError(f"cannot read the filter pattern {pattern!r} at {text[position:]!r}")
        tokens.append((str(found.lastgroup), str(found[str(found.lastgroup)])))
        position = found.end()
    parser = _JsonParser(tokens, pattern)
    test = parser.either()
    parser.expect_end()

    def matches(message: str) -> bool:
        try:
            document = json.loads(message)
        except ValueError:
            return False
        return isinstance(document, dict) and test(document)

    return matches


class _JsonParser:
    """Read `$.a = 1 && ($.b != "x" || $.c IS NULL)` by descent."""

    def __init__(self, tokens: list[tuple[str, str]], pattern: str) -> None:
        self._tokens, self._at, self._pattern = tokens, 0, pattern

    def either(self) -> _Test:
        tests = [self._both()]
        while self._take("||"):
            tests.append(self._both())
        return tests[0] if len(tests) == 1 else lambda value: any(test(value) for test in tests)

    def expect_end(self) -> None:
        if self._at < len(self._tokens):
            self._fail()

    def _both(self) -> _Test:
        tests = [self._one()]
        while self._take("&&"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda value: all(test(value) for test in tests)

    def _one(self) -> _Test:
        if self._take("("):
            test = self.either()
            if not self._take(")"):
                self._fail()
            return test
        path = self._next("path")
        kind, text = self._peek()
        if kind == "word":
            return self._condition(path)
        if kind == "symbol" and text in _NUMERIC:
            self._at += 1
            return self._comparison(path, text)
        return self._fail()

    def _condition(self, path: str) -> _Test:
        words = []
        while self._peek()[0] == "word":
            words.append(self._next("word").upper())
        conditions: dict[tuple[str, ...], _Test] = {
            ("IS", "NULL"): lambda value: value is None,
            ("IS", "TRUE"): lambda value: value is True,
            ("IS", "FALSE"): lambda value: value is False,
        }
        if tuple(words) == ("NOT", "EXISTS"):
            return lambda document: not _select(path, document)
        test = conditions.get(tuple(words))
        if test is None:
            self._fail()
        return lambda document: any(test(value) for value in _select(path, document))

    def _comparison(self, path: str, symbol: str) -> _Test:
        kind, text = self._peek()
        self._at += 1
        if kind == "word":
            try:
                number = float(text)
            except ValueError:
                return self._text(path, symbol, text)
            compare = _NUMERIC[symbol]
            return lambda document: any(
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and compare(float(value), number)
                for value in _select(path, document)
            )
        if kind == "string":
            return self._text(path, symbol, str(json.loads(text)))
        return self._fail()

    def _text(self, path: str, symbol: str, text: str) -> _Test:
        if symbol not in ("=", "!="):
            self._fail()
        wanted = re.compile(".*".join(re.escape(part) for part in text.split("*")), re.DOTALL)
        equal = symbol == "="
        return lambda document: any(
            isinstance(value, str) and (wanted.fullmatch(value) is not None) is equal
            for value in _select(path, document)
        )

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _take(self, symbol: str) -> bool:
        if self._peek() == ("symbol", symbol):
            self._at += 1
            return True
        return False

    def _next(self, kind: str) -> str:
        found, text = self._peek()
        if found != kind:
            self._fail()
        self._at += 1
        return text

    def _fail(self) -> NoReturn:
        rest = " ".join(text for _, text in self._tokens[self._at :]) or "its end"
        raise PatternError(f"cannot read the filter pattern {self._pattern!r} at {rest!r}")


def _select(path: str, document: Any) -> list[Any]:
    values = [document]
    for name, index, every, quoted in _STEP.findall(path):
        found: list[Any] = []
        for value in values:
            if every and isinstance(value, list):
                found += value
            elif index and isinstance(value, list) and int(index) < len(value):
                found.append(value[int(index)])
            elif (name or quoted) and isinstance(value, dict) and (name or quoted) in value:
                found.append(value[name or quoted])
        values = found
    return values
