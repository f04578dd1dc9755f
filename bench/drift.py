"""How often the drift alarm is false, how soon it is true, and what it costs, beside others."""

from __future__ import annotations

import gzip
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import drift_peers
from core import drift
from core.contract import Column, ColumnType, Contract

Table = dict[str, NDArray[Any]]
Figures = dict[str, Any]

DATA = Path("../shared/data")
PROMISED = 1 / 1000
"""False alarms a window: rare as an alarm should be, common enough to count in 20,000 windows."""
HOURLY = drift.budget_for(1.0, 60)
POOL = 20_000
BLOCK = 50
PSI_WINDOWS = 100
PEER_LIMIT = 3
SPEED_REFERENCE = 20_000
FULL = {200: 12_000, 1000: 18_000, 10_000: 8_000}
FULL_WIDE = {200: 6_000, 1000: 5_000, 10_000: 5_000}
SIZES = tuple(FULL)


class Population:
    """A source's rows, each counted once under one baseline, to draw windows from.

    Counts add up, so that the summary of a window is the sum of those of its rows: what
    `summarise_columns` gives for the drawn rows (a test holds the two together), without placing
    the same rows in the same bins again for every window.
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
        """Draw rows with replacement: rows of one population, whatever it is."""
        return generator.integers(0, len(self.outputs), rows)

    def draw(self, generator: np.random.Generator, rows: int) -> tuple[Table, NDArray[np.float64]]:
        """Draw rows as a table."""
        chosen = self.choose(generator, rows)
        return {name: values[chosen] for name, values in self.table.items()}, self.outputs[chosen]

    def baseline(self, generator: np.random.Generator, seed: int) -> drift.Baseline:
        """Draw a baseline: training rows, and held-out rows for the outputs."""
        columns, _ = self.draw(generator, self.baseline_rows)
        _, outputs = self.draw(generator, self.held_rows)
        return drift.build_baseline(self.contract, columns, outputs, seed=seed)


def _contract(table: Table) -> Contract:
    def kind(values: NDArray[Any]) -> ColumnType:
        return "number" if values.dtype.kind == "f" else "category"

    columns = tuple(Column(name, kind(values), missing=True) for name, values in table.items())
    return Contract(task="binary", target="y", classes=("no", "yes"), columns=columns)


def _two(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([1.0 - p, p])


def breast_cancer() -> Source:
    """Give scikit-learn's breast cancer table: 30 highly correlated numbers, a baseline of 370."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    table = {str(n): found.data[:, i] for i, n in enumerate(found.feature_names)}
    # Any fixed function of a row will do as its score.
    score = 1.0 / (1.0 + np.exp(-(table["mean radius"] - 15.0) / 1.5))
    return Source("breast_cancer", _contract(table), table, _two(score), 370, 92)


def mixed(columns: int, baseline_rows: int) -> Source:
    """Give a generated table: numbers (skewed, tied, zero-inflated, missing) and categories."""
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
        f"mixed_{columns}", _contract(table), table, _two(score), baseline_rows, baseline_rows // 4
    )


def telco() -> Source | None:
    """Give the churn table, where it is there."""
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
    return Source("telco_churn", _contract(table), table, _two(smooth), 3500, 1000)


def upper95(alarms: int, windows: int) -> float:
    """Give the exact (Clopper-Pearson) upper 95% bound of a share."""
    from scipy.stats import beta

    return float(beta.ppf(0.95, alarms + 1, windows - alarms)) if alarms < windows else 1.0


def measure_false_alarms(source: Source, rows: int, windows: int, seed: int = 0) -> Figures:
    """Count windows without drift that alarm; a new baseline every BLOCK windows."""
    budget = drift.Budget(PROMISED, 1.0)
    alarms = psi = compared = judged = 0
    baselines: set[int] = set()
    kinds: dict[str, int] = {}
    while judged < windows:
        generator = np.random.default_rng([seed, rows, judged])
        baseline = source.baseline(generator, judged)
        population = Population(source, baseline)
        state = None
        block = judged // BLOCK
        for _ in range(min(BLOCK, windows - judged)):
            counted = population.summarise(source.choose(generator, rows))
            verdict, state = drift.judge(baseline, counted, budget, state)
            judged += 1
            if verdict.alarm:
                alarms += 1
                baselines.add(block)
                first = verdict.findings[0]
                kind = f"{first.rule} {first.kind}"
                kinds[kind] = kinds.get(kind, 0) + 1
        if compared < PSI_WINDOWS:
            reference, _ = source.draw(generator, source.baseline_rows)
            table, _ = source.draw(generator, rows)
            psi += psi_alarms(reference, table)
            compared += 1
    bound = upper95(alarms, windows)
    return {
        "table": source.name,
        "columns": len(source.table),
        "window_rows": rows,
        "windows": windows,
        "alarms": alarms,
        "baselines_that_alarm": len(baselines),
        "alarms_by": kinds,
        "promised": PROMISED,
        "upper95": round(bound, 6),
        "held": bound <= PROMISED,
        "psi_over_0.2_share": round(psi / compared, 4),
    }


def psi_alarms(reference: Table, window: Table) -> bool:
    """Say whether any column's population stability index over 10 quantile bins exceeds 0.2."""
    for name, before in reference.items():
        after = window[name]
        if before.dtype.kind == "f":
            edges = np.unique(np.nanquantile(before, np.arange(1, 10) / 10))
            a = np.bincount(np.searchsorted(edges, before[~np.isnan(before)]), minlength=10)
            b = np.bincount(np.searchsorted(edges, after[~np.isnan(after)]), minlength=10)
        else:
            names = sorted(set(before) | set(after))
            place = {value: i for i, value in enumerate(names)}
            a = np.bincount([place[value] for value in before], minlength=len(names))
            b = np.bincount([place[value] for value in after], minlength=len(names))
        p = np.maximum(a / max(a.sum(), 1), 1e-4)
        q = np.maximum(b / max(b.sum(), 1), 1e-4)
        if float(((p - q) * np.log(p / q)).sum()) > 0.2:
            return True
    return False


Change = Callable[[np.random.Generator, Table], None]


def _shift(generator: np.random.Generator, table: Table) -> None:
    table["x3"] = table["x3"] + 0.25


def _unit(generator: np.random.Generator, table: Table) -> None:
    hit = generator.random(len(table["x4"])) < 0.10
    table["x4"] = np.where(hit, table["x4"] * 1000.0, table["x4"])


def _inches(generator: np.random.Generator, table: Table) -> None:
    hit = generator.random(len(table["x4"])) < 0.10
    table["x4"] = np.where(hit, table["x4"] * 2.54, table["x4"])


def _lose(generator: np.random.Generator, table: Table) -> None:
    hit = generator.random(len(table["x5"])) < 0.05 / 0.95
    table["x5"] = np.where(hit, np.nan, table["x5"])


def _decouple(generator: np.random.Generator, table: Table) -> None:
    table["x6"] = generator.permutation(table["x6"])


CHANGES: dict[str, Change] = {
    "one column by 0.25 sd": _shift,
    "a unit error in 10% of rows": _unit,
    "inches for centimetres in 10% of rows": _inches,
    "missing 5% to 10%": _lose,
    "correlations of one column": _decouple,
}


def _correlated(generator: np.random.Generator, rows: int) -> Table:
    mixing = np.random.default_rng(5).normal(size=(30, 30)) * 0.3 + np.eye(30)
    values = generator.normal(size=(rows, 30)) @ mixing / np.sqrt((mixing**2).sum(axis=0))
    table: Table = {f"x{i}": values[:, i] for i in range(30)}
    table["x4"] = np.exp(table["x4"]) * 100.0
    table["x5"] = np.where(generator.random(rows) < 0.05, np.nan, table["x5"])
    return table


def _changed(name: str, rows: int, repeat: int) -> tuple[Table, Iterator[Table]]:
    """Give a reference, and windows that a shift changes, without end."""
    generator = np.random.default_rng([repeat, rows])
    reference = _correlated(generator, 10_000)

    def windows() -> Iterator[Table]:
        while True:
            table = _correlated(generator, rows)
            CHANGES[name](generator, table)
            yield table

    return reference, windows()


def measure_power(repeats: int) -> list[Figures]:
    """Measure in how many windows known shifts are found, at one false alarm a year, hourly.

    PSI, which forgets each window, is asked about the first three.
    """
    found = []
    for name, rows, limit in _shifts():
        delays, psi = [], []
        for repeat in range(repeats):
            reference, windows = _changed(name, rows, repeat)
            baseline = drift.build_baseline(_contract(reference), reference, seed=repeat)
            state = None
            delay = by_psi = limit + 1
            for number, table in enumerate(itertools.islice(windows, limit), 1):
                if delay > limit:
                    counted = drift.summarise_columns(baseline, table)
                    verdict, state = drift.judge(baseline, counted, HOURLY, state)
                    delay = number if verdict.alarm else delay
                if by_psi > limit and number <= PEER_LIMIT and psi_alarms(reference, table):
                    by_psi = number
                if delay <= limit and (by_psi <= limit or number >= PEER_LIMIT):
                    break
            delays.append(delay)
            psi.append(by_psi)
        found.append(_power("driftless", name, rows, delays, limit))
        found.append(_power("psi > 0.2", name, rows, psi, PEER_LIMIT))
    return found


def _shifts() -> Iterator[tuple[str, int, int]]:
    """Give shifts, rows a window, and how many windows we are given to find them."""
    for name in CHANGES:
        yield name, 200, 48 if CHANGES[name] is _inches else 24
        yield name, 1000, 12 if CHANGES[name] is _inches else 8


def _power(tool: str, shift: str, rows: int, delays: Sequence[int], limit: int) -> Figures:
    """Sum up delays in windows; one beyond `limit` was not found within it."""
    median = statistics.median(delays)
    return {
        "tool": tool,
        "shift": shift,
        "window_rows": rows,
        "repeats": len(delays),
        "share": round(sum(delay == 1 for delay in delays) / len(delays), 3),
        "median_windows": None if median > limit else median,
        "slowest": max(delays) if max(delays) <= limit else None,
        "limit": limit,
    }


def _million(rows: int) -> Table:
    """Give a table of 20 columns: 15 numbers, 5 categories."""
    generator = np.random.default_rng(0)
    table: Table = {f"n{i}": generator.normal(size=rows) for i in range(15)}
    names = np.array([f"v{i}" for i in range(30)], dtype=object)
    for i in range(5):
        table[f"c{i}"] = names[generator.integers(0, 30, rows)]
    return table


def measure_speed(table: Table) -> tuple[float, float]:
    """Count and judge a table on a baseline of its first rows: seconds, CPU seconds, best of 3."""
    rows = len(table["n0"])
    first = {name: values[:SPEED_REFERENCE] for name, values in table.items()}
    baseline = drift.build_baseline(_contract(table), first)
    took, spent = [], []
    for _ in range(3):
        began, used = time.perf_counter(), time.process_time()
        total = drift.Summary.empty(baseline)
        for start in range(0, rows, 100_000):
            part = {name: values[start : start + 100_000] for name, values in table.items()}
            total = total + drift.summarise_columns(baseline, part)
        drift.judge(baseline, total, HOURLY)
        took.append(time.perf_counter() - began)
        spent.append(time.process_time() - used)
    return round(min(took), 3), round(min(spent), 3)


class _Stream:
    """A bucket that holds one hour of captures, each object made when it is read.

    Two bodies take turns under names of their own: few objects hold no row twice.
    """

    def __init__(self, objects: int, rows: int) -> None:
        from core.bundle import BASELINE, CONTRACT, EVALUATION, MANIFEST, Manifest

        source = mixed(10, 4000)
        generator = np.random.default_rng(0)
        baseline = source.baseline(generator, 0)
        self._bodies = [self._body(source, generator, rows) for _ in range(min(objects, 2))]
        files = {
            CONTRACT: source.contract.to_json(),
            BASELINE: baseline.to_json(),
            EVALUATION: b"{}",
        }
        manifest = Manifest.of(files).to_json()
        self.objects = {
            f"models/r/output/model/{k}": v for k, v in {**files, MANIFEST: manifest}.items()
        }
        self.captures = [f"captures/2026/01/01/00/{i:06d}.gz" for i in range(objects)]

    @staticmethod
    def _body(source: Source, generator: np.random.Generator, rows: int) -> bytes:
        table, outputs = source.draw(generator, rows)
        named = [
            {k: None if v != v else v for k, v in zip(table, row, strict=True)}
            for row in zip(*(column.tolist() for column in table.values()), strict=True)
        ]
        lines = []
        for start in range(0, rows, 10):
            part = [
                [f"@@-{i}", named[i], outputs[i].tolist()]
                for i in range(start, min(start + 10, rows))
            ]
            one = {"capture": 1, "time": 1_767_225_600_000, "request": f"@@-{start}", "run": "r"}
            lines.append(json.dumps({**one, "version": "1", "weight": 1.0, "rows": part}))
        return "\n".join(lines).encode()

    def list(self, prefix: str, after: str = "") -> Any:
        from lambdas.monitor.storage import Entry

        found = self.captures if prefix == "captures/" else []
        return [Entry(key, len(self._bodies[0]), "0" * 32) for key in found if key > after]

    def list_folder(self, prefix: str) -> Any:
        return []

    def read(self, key: str) -> bytes | None:
        return self.objects.get(key)

    def read_tagged(self, key: str) -> tuple[bytes | None, str]:
        return self.objects.get(key), ""

    def stream(self, key: str) -> Iterator[bytes]:
        number = key[-9:-3]
        text = self._bodies[int(number) % len(self._bodies)]
        body = gzip.compress(text.replace(b"@@", number.encode()), 1)
        for start in range(0, len(body), 1 << 20):
            yield body[start : start + (1 << 20)]

    def write(self, key: str, body: bytes, content_type: str = "") -> None:
        # What a run reads again: the counts. The names of rows stay in the bucket.
        if key.startswith("monitor/summaries/"):
            self.objects[key] = body

    def write_new(self, key: str, body: bytes) -> bool:
        raise AssertionError("only workers of a distributed count write so")

    def write_over(self, key: str, body: bytes, tag: str) -> str:
        return ""


class _Quiet:
    """People, events, log and watch that keep silent."""

    def publish(self, subject: str, message: str) -> None:
        """Send nothing."""

    def put(self, detail_type: str, detail: Figures) -> None:
        """Send nothing."""

    def write(self, record: Figures) -> None:
        """Write nothing."""

    def is_up(self) -> bool:
        """Never stop."""
        return False


def stream_window(objects: int, rows: int) -> Figures:
    """Run the deployed monitor over one window; to be called in a process of its own."""
    from lambdas.monitor.service import Monitor, Ports

    out = _Quiet()
    monitor = Monitor(
        deployment="bench",
        stage="dev",
        bucket_name="bench",
        runbook_url="",
        settings={
            "schedule_minutes": 60, "false_alarms_per_year": 1.0, "min_window_rows": 200,
            "min_labels": 100, "max_quality_drop": 0.05, "min_new_labels": 100,
            "buffer_seconds": 60, "parallel_above_mb": 0,
        },
        ports=Ports(_Stream(objects, rows), out, out, out, out),
    )  # fmt: skip
    began = time.process_time()
    done = monitor.run(1_767_225_600_000 + 2 * 3_600_000)
    seconds = time.process_time() - began
    return {
        "rows": objects * rows,
        "objects": objects,
        "columns": 10,
        "windows_judged": done["judged"],
        "alarms": done["alarms"],
        "cpu_seconds": round(seconds, 1),
        "rows_per_s": round(objects * rows / seconds),
        "peak_mib": round(_peak_kib() / 1024),
    }


def _peak_kib() -> int:
    """Give this program's largest memory; `ru_maxrss` would count what its parent had before it."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(
            int(line.split()[1])
            for line in status.read_text().splitlines()
            if line.startswith("VmHWM")
        )
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure_streaming(rows: int) -> Figures:
    """Measure a window's memory and time, through gzip and JSON as it is captured."""
    call = f"stream_window({rows // 20_000}, 20_000)"
    code = f"import json; from bench.drift import stream_window; print(json.dumps({call}))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=3600
    )
    if done.returncode != 0:
        raise RuntimeError(f"the monitor failed on a window of {rows} rows:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure_elec2() -> Figures:
    """Judge the electricity data by weeks, on a baseline of the 40 weeks before."""
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
            _contract(table), before, times=None if times is None else times.tolist()
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
    """Judge the census by windows of 5,000 rows, on 2015, with its own scores.

    As it is, and without people in group quarters: until 2016 they are all over the file, later
    they all come at the end of 2017 and the beginning of 2018.
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
        return table, _two(frame["predicted_probability"].to_numpy(dtype=float))

    train, held = reference.iloc[::2], reference.iloc[1::2]
    table, _ = read(train)
    baseline = drift.build_baseline(
        _contract(table), table, read(held)[1], times=np.arange(len(train), dtype=float).tolist()
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


def _sources(quick: bool) -> Iterator[tuple[Source, dict[int, int]]]:
    """Give tables, and how many windows to draw of each size: over 20,000 a size in all.

    Windows of 200 rows, whose counts are smallest and chance largest, are drawn most often.
    """
    sizes = {200: 1_000, 1000: 200, 10_000: 50} if quick else FULL
    for source in (breast_cancer(), mixed(15, 4000), telco()):
        if source is not None:
            yield source, sizes
    yield mixed(100, 4000), dict.fromkeys(SIZES, 50) if quick else FULL_WIDE


def _peer_jobs(quick: bool, speed: Table) -> Iterator[drift_peers.Job]:
    """Give the windows that the other tools are asked about, as `_peer_figures` reads them."""
    import pandas as pd

    for source in [breast_cancer()] if quick else [source for source, _ in _sources(quick)]:
        for rows in (200,) if quick else SIZES:
            for part in range(1 if quick else 2 if rows < 10_000 else 1):
                generator = np.random.default_rng([part, rows])
                reference, _ = source.draw(generator, source.baseline_rows)
                windows, _ = source.draw(generator, rows * (5 if len(source.table) > 50 else 10))
                name = json.dumps(["still", source.name, len(source.table), rows, part])
                yield drift_peers.Job(name, pd.DataFrame(reference), pd.DataFrame(windows), rows)
    for shift, rows, _ in [("one column by 0.25 sd", 1000, 1)] if quick else _shifts():
        for repeat in range(1 if quick else 5):
            reference, changed = _changed(shift, rows, repeat)
            tables = [pd.DataFrame(table) for table in itertools.islice(changed, PEER_LIMIT)]
            name = json.dumps(["shift", shift, 0, rows, repeat])
            yield drift_peers.Job(name, pd.DataFrame(reference), pd.concat(tables), rows)
    frame = pd.DataFrame(speed)
    name = json.dumps(["speed", "", 20, len(frame), 0])
    yield drift_peers.Job(name, frame.iloc[:SPEED_REFERENCE], frame, len(frame))


def _peer_figures(
    tool: str, answers: dict[str, drift_peers.Answer]
) -> tuple[Figures, list[Figures]]:
    """Sum up a tool's answers by its rules: alarms without drift and seconds; power."""
    still: dict[tuple[str, int, int, str], list[bool]] = {}
    delays: dict[tuple[str, str, int], list[int]] = {}
    figures: Figures = {"packages": drift_peers.PACKAGES[tool]}
    for key, answer in answers.items():
        kind, name, columns, rows, _ = json.loads(key)
        if kind == "speed":
            figures["cpu_seconds"] = round(answer.cpu_seconds, 2)
            figures["rows_timed"] = rows
            continue
        for rule, alarms in answer.alarms.items():
            if kind == "still":
                still.setdefault((name, columns, rows, rule), []).extend(alarms)
            else:
                first = alarms.index(True) + 1 if True in alarms else PEER_LIMIT + 1
                delays.setdefault((rule, name, rows), []).append(first)
    figures["false_alarms"] = [
        {
            "table": table, "columns": columns, "window_rows": rows, "rule": rule,
            "windows": len(alarms), "share": round(sum(alarms) / len(alarms), 4),
        }
        for (table, columns, rows, rule), alarms in still.items()
    ]  # fmt: skip
    power = [
        _power(f"{tool}, {rule}", shift, rows, found, PEER_LIMIT)
        for (rule, shift, rows), found in delays.items()
    ]
    return figures, power


def measure_peers(quick: bool, speed: Table) -> tuple[Figures, list[Figures]]:
    """Ask other tools about like windows; gives figures by tool and power."""
    peers: Figures = {}
    power: list[Figures] = []
    for tool in drift_peers.PACKAGES:
        answers = drift_peers.ask(tool, _peer_jobs(quick, speed), 120.0 if quick else 1500.0)
        if isinstance(answers, str):
            peers[tool] = {"absent": answers}
            continue
        peers[tool], found = _peer_figures(tool, answers)
        power += found
    return peers, power


def _say(name: str, figures: object, began: float) -> None:
    print(f"  {time.perf_counter() - began:.0f} s: {name}: {json.dumps(figures)}", file=sys.stderr)


def run(quick: bool) -> Figures:
    """Measure the alarm; quick means fewer windows and fewer repeats: wider intervals."""
    false_alarms = []
    began = time.perf_counter()
    for source, sizes in _sources(quick):
        for rows, windows in sizes.items():
            false_alarms.append(measure_false_alarms(source, rows, windows))
            _say("no drift", false_alarms[-1], began)
    by_size = {}
    for rows in SIZES:
        same = [entry for entry in false_alarms if entry["window_rows"] == rows]
        alarms, windows = (sum(entry[key] for entry in same) for key in ("alarms", "windows"))
        bound = upper95(alarms, windows)
        by_size[str(rows)] = {
            "windows": windows,
            "alarms": alarms,
            "promised": PROMISED,
            "upper95": round(bound, 6),
            "held": bound <= PROMISED,
        }
    power = measure_power(2 if quick else 40)
    for found in power:
        _say("power", found, began)
    real = {**measure_elec2(), **measure_employment()}
    million = _million(1_000_000)
    seconds, cpu_seconds = measure_speed(million)
    speed = {name: values[:40_000] for name, values in million.items()} if quick else million
    peers, by_peers = measure_peers(quick, speed)
    for figures in peers.values():
        if "rows_timed" in figures:
            theirs = figures["cpu_seconds"] / figures["rows_timed"]
            figures["times_ours_a_row"] = round(theirs / (cpu_seconds / 1_000_000), 1)
    for tool, figures in peers.items():
        _say(tool, figures, began)
    for found in by_peers:
        _say("power", found, began)
    streaming = measure_streaming(100_000 if quick else 10_000_000)
    return {
        "false_alarms": false_alarms,
        "false_alarms_by_window_rows": by_size,
        "power": power + by_peers,
        "seconds_1m_x_20": seconds,
        "cpu_seconds_1m_x_20": cpu_seconds,
        "streaming": streaming,
        "real": real,
        "peers": peers,
    }
