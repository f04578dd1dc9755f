"""Watch a model's inputs and outputs: summaries, tests, and alarms at a rate that the user sets."""

from core.drift.everything import (
    DISTANCE,
    MEANS,
    Baseline,
    Budget,
    ColumnBaseline,
    Creep,
    Finding,
    Summary,
    Verdict,
    budget_for,
    build_baseline,
    judge,
    place_columns,
    show_number,
    summarise,
    summarise_columns,
)

__all__ = [
    "DISTANCE",
    "MEANS",
    "Baseline",
    "Budget",
    "ColumnBaseline",
    "Creep",
    "Finding",
    "Summary",
    "Verdict",
    "budget_for",
    "build_baseline",
    "judge",
    "place_columns",
    "show_number",
    "summarise",
    "summarise_columns",
]
