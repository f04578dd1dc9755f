"""Real series in time order: electricity prices by weeks, and US census employment."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.drift.sources import DATA, Figures, Table, make_contract, pair_probabilities
from core import drift


def measure_elec2() -> Figures:
    """Judge the electricity data by weeks, against a baseline of the first 40 weeks."""
    path = DATA / "elec2.csv.gz"
    if not path.exists():
        return {"elec2_skipped": f"{path} is absent"}
    with gzip.open(path, "rt") as file:
        names = file.readline().strip().split(",")
        values = np.loadtxt(file, delimiter=",")
    used = ("nswprice", "nswdemand", "vicprice", "vicdemand", "transfer")
    table = {name: values[:, names.index(name)] for name in used}
    cut, week = 40 * 336, 336
    budget = drift.budget_for(1.0, 7 * 24 * 60)
    before = {name: column[:cut] for name, column in table.items()}
    figures: Figures = {}
    for timed in (True, False):
        times = np.arange(cut) * 1800.0 if timed else None
        baseline = drift.build_baseline(
            make_contract(table), before, times=None if times is None else times.tolist()
        )
        state = None
        alarmed = []
        for number in range(1, 21):
            start = cut + (number - 1) * week
            window = {name: column[start : start + week] for name, column in table.items()}
            counted = drift.summarise_columns(baseline, window)
            verdict, state = drift.judge(baseline, counted, budget, state)
            if verdict.alarm:
                alarmed.append(number)
        early = sum(number < 12 for number in alarmed)
        if timed:
            figures["elec2_first_alarm_week"] = alarmed[0] if alarmed else None
            figures["elec2_alarms_before_week_12"] = early
        else:
            figures["elec2_alarms_before_week_12_without_times"] = early
    return figures


def measure_employment() -> Figures:
    """Judge the census data in windows of 5,000 rows, against 2015, with the file's own scores.

    Once as it is, and once without people in group quarters: until 2016 they are spread over the
    file, later they are concentrated around the turn of 2017.
    """
    paths = [
        DATA / f"employment_{part}.parquet" for part in ("reference", "analysis", "analysis_labels")
    ]
    if not all(path.exists() for path in paths):
        return {"employment_skipped": f"one of {', '.join(map(str, paths))} is absent"}
    import pandas as pd

    reference, analysis, labels = (pd.read_parquet(path) for path in paths)
    analysis = analysis.merge(labels, on="id", validate="one_to_one")
    return {
        "employment": _judge_employment(reference, analysis),
        "employment_without_group_quarters": _judge_employment(
            *(part[~part["RELP"].astype(str).isin(("16", "17"))] for part in (reference, analysis))
        ),
    }


def _judge_employment(reference: Any, analysis: Any) -> Figures:
    left = ["id", "employed", "year", "prediction", "predicted_probability"]
    columns = [name for name in reference if name not in left]

    def read(frame: Any) -> tuple[Table, NDArray[np.float64]]:
        table: Table = {
            str(name): frame[name].to_numpy(dtype=float if name == "AGEP" else object)
            for name in columns
        }
        return table, pair_probabilities(frame["predicted_probability"].to_numpy(dtype=float))

    train, held = reference.iloc[::2], reference.iloc[1::2]
    table, _ = read(train)
    baseline = drift.build_baseline(
        make_contract(table),
        table,
        read(held)[1],
        times=np.arange(len(train), dtype=float).tolist(),
    )
    budget = drift.budget_for(1.0, 3 * 365.25 * 24 * 60 / (len(analysis) / 5000))
    state = None
    years: dict[str, dict[str, int]] = {}
    errors: dict[bool, list[float]] = {False: [], True: []}
    moved: dict[str, int] = {}
    for start in range(0, len(analysis) - 4999, 5000):
        part = analysis.iloc[start : start + 5000]
        window, outputs = read(part)
        counted = drift.summarise_columns(baseline, window, outputs)
        verdict, state = drift.judge(baseline, counted, budget, state)
        year = years.setdefault(str(part["year"].iloc[0]), {"windows": 0, "alarms": 0})
        year["windows"] += 1
        year["alarms"] += verdict.alarm
        errors[verdict.alarm].append(float((part["prediction"] != part["employed"]).mean()))
        for finding in verdict.findings:
            key = f"{finding.column}: {finding.kind}"
            moved[key] = moved.get(key, 0) + 1
    return {
        "by_year": years,
        "error_rates_silent": [round(f(errors[False]), 3) for f in (min, max) if errors[False]],
        "error_rates_alarming": [round(f(errors[True]), 3) for f in (min, max) if errors[True]],
        "findings": moved,
    }
