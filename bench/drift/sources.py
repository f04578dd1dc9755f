"""Tables without drift, and how windows and baselines are drawn from them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core import drift
from core.contract import Column, ColumnType, Contract

Table = dict[str, NDArray[Any]]
Figures = dict[str, Any]

DATA = Path("../shared/data")
POOL = 20_000
FULL = {200: 12_000, 1000: 18_000, 10_000: 8_000}
FULL_WIDE = {200: 6_000, 1000: 5_000, 10_000: 5_000}
SIZES = tuple(FULL)


class Population:
    """A source's rows, each assigned to its bins once under one baseline, to draw windows from.

    Counts add up: the summary of a window is the sum of its rows' counts. The result equals
    `summarise_columns` of the drawn rows (a test compares the two), without assigning the same rows
    to the same bins again for every window.
    """

    def __init__(self, source: Source, baseline: drift.Baseline) -> None:
        """Find the slot of each row in each column."""
        slots = drift.place_columns(baseline, source.table, source.outputs)
        self._sizes = [len(column.counts) for column in baseline.columns]
        self._starts = np.cumsum([0, *self._sizes])
        self._slots = np.column_stack(slots).astype(np.int32)
        self._slots += self._starts[:-1].astype(np.int32)
        self._digest = baseline.digest

    def summarise(self, chosen: NDArray[np.int64]) -> drift.Summary:
        """Count the chosen rows."""
        total = np.bincount(self._slots[chosen].ravel(), minlength=int(self._starts[-1]))
        counts = tuple(np.split(total, self._starts[1:-1]))
        return drift.Summary(self._digest, len(chosen), counts)


class Source(NamedTuple):
    """A table to draw rows from, without drift."""

    name: str
    contract: Contract
    table: Table
    outputs: NDArray[np.float64]
    baseline_rows: int
    held_rows: int

    def choose(self, generator: np.random.Generator, rows: int) -> NDArray[np.int64]:
        """Draw row numbers with replacement."""
        return generator.integers(0, len(self.outputs), rows)

    def draw(self, generator: np.random.Generator, rows: int) -> tuple[Table, NDArray[np.float64]]:
        """Draw rows as a table."""
        chosen = self.choose(generator, rows)
        return {name: values[chosen] for name, values in self.table.items()}, self.outputs[chosen]

    def baseline(self, generator: np.random.Generator, seed: int) -> drift.Baseline:
        """Draw a baseline: training rows for the columns, held-out rows for the outputs."""
        columns, _ = self.draw(generator, self.baseline_rows)
        _, outputs = self.draw(generator, self.held_rows)
        return drift.build_baseline(self.contract, columns, outputs, seed=seed)


def make_contract(table: Table) -> Contract:
    """Describe a table: floats are numbers, everything else is a category."""

    def kind(values: NDArray[Any]) -> ColumnType:
        return "number" if values.dtype.kind == "f" else "category"

    columns = tuple(Column(name, kind(values), missing=True) for name, values in table.items())
    return Contract(task="binary", target="y", classes=("no", "yes"), columns=columns)


def pair_probabilities(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities of both classes from those of the second."""
    return np.column_stack([1.0 - p, p])


def breast_cancer() -> Source:
    """Load scikit-learn's breast cancer table: 30 highly correlated numbers, a baseline of 370."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    table = {str(n): found.data[:, i] for i, n in enumerate(found.feature_names)}
    # The score only has to be a fixed function of the row.
    score = 1.0 / (1.0 + np.exp(-(table["mean radius"] - 15.0) / 1.5))
    return Source("breast_cancer", make_contract(table), table, pair_probabilities(score), 370, 92)


def mixed(columns: int, baseline_rows: int) -> Source:
    """Generate a table: numbers (skewed, tied, zero-inflated, missing) and categories."""
    generator = np.random.default_rng(columns)
    numbers = columns // 2
    latent = generator.normal(size=(POOL, numbers)) @ (
        generator.normal(size=(numbers, numbers)) * 0.4 + np.eye(numbers)
    )
    table: Table = {}
    for i in range(numbers):
        values = latent[:, i].copy()
        match i % 5:
            case 1:
                values = np.exp(values / max(values.std(), 1.0))
            case 2:
                values = np.round(values)
            case 3:
                values[generator.random(POOL) < 0.7] = 0.0
            case 4:
                values[generator.random(POOL) < 0.05] = np.nan
        table[f"number_{i}"] = values
    for i in range(columns - numbers):
        size = (3, 12, 60, 400, 2)[i % 5]
        shares = 1.0 / np.arange(1, size + 1) ** 1.2
        if size == 2:
            shares = np.array([0.997, 0.003])
        chosen = generator.choice(size, POOL, p=shares / shares.sum())
        table[f"category_{i}"] = np.array([f"v{j}" for j in range(size)], dtype=object)[chosen]
    score = 1.0 / (1.0 + np.exp(-latent[:, 0]))
    return Source(
        f"mixed_{columns}",
        make_contract(table),
        table,
        pair_probabilities(score),
        baseline_rows,
        baseline_rows // 4,
    )


def telco() -> Source | None:
    """Load the churn table; None where the file is absent."""
    path = DATA / "telco_churn.csv"
    if not path.exists():
        return None
    import pandas as pd

    frame = pd.read_csv(path).drop(columns=["customerID"])
    frame["TotalCharges"] = pd.to_numeric(frame["TotalCharges"], errors="coerce")
    score = frame.pop("Churn").eq("Yes").to_numpy(dtype=float)
    table = {
        str(name): frame[name].to_numpy(dtype=float if frame[name].dtype.kind in "if" else object)
        for name in frame
    }
    smooth = 0.1 + 0.6 * score + 0.2 * (frame["tenure"].to_numpy() / 72.0)
    return Source(
        "telco_churn", make_contract(table), table, pair_probabilities(smooth), 3500, 1000
    )


def list_sources(quick: bool) -> Iterator[tuple[Source, dict[int, int]]]:
    """Yield tables, and how many windows to draw of each size: over 20,000 per size in all."""
    sizes = {200: 1_000, 1000: 200, 10_000: 50} if quick else FULL
    for source in (breast_cancer(), mixed(15, 4000), telco()):
        if source is not None:
            yield source, sizes
    yield mixed(100, 4000), dict.fromkeys(SIZES, 50) if quick else FULL_WIDE
