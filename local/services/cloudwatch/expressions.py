"""Evaluate CloudWatch metric math over series of windows."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local.syntax import build_alone

# A series maps the age of a window (0 is the newest) to its value; an absent age has no data.
Series = dict[int, float]
Value = Series | float | list[Series]


class MetricMathError(ValueError):
    """Say what in an expression is not understood."""


@dataclass(frozen=True)
class Windows:
    """Describe the windows that an expression is evaluated over."""

    count: int
    period_seconds: float


def evaluate_expression(expression: str, series: Mapping[str, Series], windows: Windows) -> Series:
    """Evaluate an expression over named series (CloudWatch User Guide, "Using metric math").

    Two series meet only where both have data; a number meets every window.
    """
    text = re.sub(r"\bAND\b|&&", " and ", expression)
    text = re.sub(r"\bOR\b|\|\|", " or ", text)
    text = re.sub(r"\bNOT\b", " not ", text).replace("^", "**").strip()
    try:
        tree = build_alone(lambda: ast.parse(text, mode="eval"))
    except SyntaxError as error:
        raise MetricMathError(f"cannot read the metric expression {expression!r}") from error
    value = _Evaluator(expression, series, windows).visit(tree.body)
    if isinstance(value, list):
        raise MetricMathError(f"the metric expression {expression!r} gives several series, not one")
    if isinstance(value, float):
        return dict.fromkeys(range(windows.count), value)
    return value


_BINARY: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.Mod: operator.mod,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ACROSS: dict[str, Callable[[list[float]], float]] = {
    "SUM": sum,
    "AVG": lambda values: sum(values) / len(values),
    "MIN": min,
    "MAX": max,
}
_EACH: dict[str, Callable[[float], float]] = {
    "ABS": abs,
    "CEIL": lambda value: float(math.ceil(value)),
    "FLOOR": lambda value: float(math.floor(value)),
    "LOG": math.log,
    "LOG10": math.log10,
}


class _Evaluator:
    def __init__(self, text: str, series: Mapping[str, Series], windows: Windows) -> None:
        self._text, self._series, self._windows = text, series, windows

    def visit(self, node: ast.AST) -> Value:
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return float(node.value)
        if isinstance(node, ast.Name):
            if node.id not in self._series:
                raise MetricMathError(f"{self._text!r} names {node.id!r}, which is not defined")
            return self._series[node.id]
        if isinstance(node, ast.List):
            return [self._one(self.visit(item)) for item in node.elts]
        if isinstance(node, ast.UnaryOp):
            value = self.visit(node.operand)
            if isinstance(node.op, ast.Not):
                return self._each(lambda number: float(not number), value)
            sign = -1.0 if isinstance(node.op, ast.USub) else 1.0
            return self._each(lambda number: sign * number, value)
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            return self._meet(_BINARY[type(node.op)], node.left, node.right)
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _BINARY:
            return self._meet(_BINARY[type(node.ops[0])], node.left, node.comparators[0])
        if isinstance(node, ast.BoolOp):
            value = self.visit(node.values[0])
            both = isinstance(node.op, ast.And)
            for other in node.values[1:]:
                value = self._combine(
                    (lambda a, b: float(bool(a) and bool(b)))
                    if both
                    else (lambda a, b: float(bool(a) or bool(b))),
                    value,
                    self.visit(other),
                )
            return value
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self._call(node.func.id, node.args)
        raise MetricMathError(f"{self._text!r} uses metric math that is not modelled here")

    def _call(self, name: str, nodes: list[ast.expr]) -> Value:
        if name == "METRICS" and not nodes:
            return list(self._series.values())
        if name == "FILL" and len(nodes) == 2:
            return self._fill(self.visit(nodes[0]), nodes[1])
        arguments = [self.visit(node) for node in nodes]
        if name == "IF" and len(arguments) == 3:
            return self._choose(*arguments)
        if name in _EACH and len(arguments) == 1:
            return self._each(_EACH[name], arguments[0])
        if name in _ACROSS and len(arguments) == 1:
            return self._across(_ACROSS[name], arguments[0])
        if name == "DATAPOINT_COUNT" and len(arguments) == 1:
            return float(len(self._one(arguments[0])))
        if name in ("DIFF", "RATE") and len(arguments) == 1:
            series = self._one(arguments[0])
            per = self._windows.period_seconds if name == "RATE" else 1.0
            return {
                age: (value - series[age + 1]) / per
                for age, value in series.items()
                if age + 1 in series
            }
        raise MetricMathError(
            f"{self._text!r} calls {name} with {len(nodes)} arguments, which is not modelled here"
        )

    def _fill(self, value: Value, node: ast.expr) -> Value:
        if isinstance(value, list):
            return [self._one(self._fill(series, node)) for series in value]
        series = self._one(value)
        if isinstance(node, ast.Name) and node.id in ("REPEAT", "LINEAR"):
            filled, last = dict(series), None
            for age in range(self._windows.count - 1, -1, -1):
                last = series.get(age, last)
                if last is not None:
                    filled[age] = last
            return filled
        other = self.visit(node)
        if not isinstance(other, float):
            raise MetricMathError(f"{self._text!r}: FILL takes a number, REPEAT or LINEAR")
        return {age: series.get(age, other) for age in range(self._windows.count)}

    def _choose(self, condition: Value, yes: Value, no: Value) -> Value:
        if isinstance(condition, float):
            return yes if condition else no
        chosen: Series = {}
        for age, holds in self._one(condition).items():
            side = yes if holds else no
            value = side if isinstance(side, float) else self._one(side).get(age)
            if value is not None:
                chosen[age] = value
        return chosen

    def _across(self, function: Callable[[list[float]], float], value: Value) -> Value:
        if isinstance(value, float):
            return value
        if isinstance(value, dict):
            return float(function(list(value.values()))) if value else {}
        ages = {age for series in value for age in series}
        return {
            age: float(function([series[age] for series in value if age in series])) for age in ages
        }

    def _each(self, function: Callable[[float], float], value: Value) -> Value:
        if isinstance(value, float):
            return function(value)
        if isinstance(value, list):
            return [self._one(self._each(function, series)) for series in value]
        return {age: function(number) for age, number in value.items()}

    def _meet(
        self, function: Callable[[float, float], Any], left: ast.AST, right: ast.AST
    ) -> Value:
        return self._combine(function, self.visit(left), self.visit(right))

    def _combine(self, function: Callable[[float, float], Any], left: Value, right: Value) -> Value:
        def apply(a: float, b: float) -> float | None:
            try:
                return float(function(a, b))
            except (ZeroDivisionError, OverflowError):
                return None  # CloudWatch leaves a window out that divides by zero.

        if isinstance(left, float) and isinstance(right, float):
            both = apply(left, right)
            return {} if both is None else both
        ages = range(self._windows.count)
        combined: Series = {}
        for age in ages:
            a = left if isinstance(left, float) else self._one(left).get(age)
            b = right if isinstance(right, float) else self._one(right).get(age)
            if a is not None and b is not None and (value := apply(a, b)) is not None:
                combined[age] = value
        return combined

    def _one(self, value: Value) -> Series:
        if isinstance(value, list):
            raise MetricMathError(f"{self._text!r} uses several series where one is needed")
        if isinstance(value, float):
            return dict.fromkeys(range(self._windows.count), value)
        return value
