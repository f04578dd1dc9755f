"""Count alarms in windows without drift, with an upper bound of their share."""

from __future__ import annotations

import numpy as np

from bench.drift.psi import psi_alarms
from bench.drift.sources import Figures, Population, Source
from core import drift

PROMISED = 1 / 1000
"""False alarms per window: rare, but frequent enough to be counted in 20,000 windows."""
BLOCK = 50
PSI_WINDOWS = 100


def upper95(alarms: int, windows: int) -> float:
    """Return the exact (Clopper-Pearson) upper 95% bound of a share."""
    from scipy.stats import beta

    return float(beta.ppf(0.95, alarms + 1, windows - alarms)) if alarms < windows else 1.0


def measure_false_alarms(source: Source, rows: int, windows: int, seed: int = 0) -> Figures:
    """Count windows without drift that alarm, with a new baseline every BLOCK windows."""
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
