"""The pieces of HTML that the report is made of: names, numbers, tables."""

import math
from collections.abc import Mapping, Sequence
from html import escape

_NAMES = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "f1": "F1",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
    "log_loss": "log loss",
    "brier": "Brier score",
    "error_p90": "90% of errors are within",
    "error_p95": "95% of errors are within",
    "separation_auc": "separation AUC",
    "davies_bouldin": "Davies-Bouldin index",
}


def name_metric(name: str) -> str:
    """Write a metric's name for people."""
    return _NAMES.get(name, name.replace("_", " "))


def format_value(interval: Mapping[str, float]) -> str:
    """Write the value of an interval."""
    return format_figure(interval["value"], 4) if "value" in interval else "undefined"


def format_figure(value: float, digits: int) -> str:
    """Write a number with so many digits that count, and all before the point up to a million."""
    size = abs(value)
    if not 1e-4 <= size < 1e9:
        return f"{value:.{digits}g}"
    decimals = digits - 1 - math.floor(math.log10(size))
    return f"{value:,.{min(max(decimals, 0), digits)}f}"


def format_interval(found: Mapping[str, float], digits: int) -> str:
    """Write the limits of an interval; nothing where it has none."""
    if "low" not in found:
        return ""
    return f"{format_figure(found['low'], digits)} to {format_figure(found['high'], digits)}"


def format_param(value: object) -> str:
    """Write the value of a hyperparameter."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def make_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Make a table of cells that are HTML already; a head with # is a column of numbers.

    A wide one scrolls in a frame of its own, which the keyboard can reach.
    """
    numeric = [title.startswith("#") for title in head]
    classes = [' class="n"' if is_number else "" for is_number in numeric]
    top = "".join(
        f'<th scope="col"{style}>{escape(title.lstrip("#"))}</th>'
        for title, style in zip(head, classes, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{style}>{cell}</td>" for cell, style in zip(row, classes, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide" tabindex="0"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
