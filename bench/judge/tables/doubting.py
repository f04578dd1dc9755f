"""What the judge says of real tables: of honest ones nothing, of known leaks their columns."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.judge.project import Project, silenced
from bench.judge.stages import Judged
from bench.judge.tables.sources import RealTable
from core.errors import DriftlessError

SECONDS = 8
CANDIDATES = ("linear", "boosting")
SETTINGS: dict[str, dict[str, object]] = {
    "training": {"candidates": list(CANDIDATES), "time_budget_seconds": SECONDS},
    "training.search": {"trials": 1},
}

Figures = dict[str, Any]


def judge_table(table: RealTable) -> Figures:
    """Let `ops init` describe the table, and the job's stages judge it as it stands."""
    began = time.perf_counter()
    figures: Figures = {"table": table.title, "target": table.target, "doubts": []}
    with tempfile.TemporaryDirectory() as name:
        try:
            project = Project.begin(Path(name), table.path, table.target, settings=SETTINGS)
            project.deliver(table.path, table.path.name)
            with silenced():
                job = project.job()
                judged = Judged.of(job)
                evaluated = judged.evaluate()
                compared = judged.compare(evaluated)
                doubts = judged.doubt(evaluated, compared)
        except DriftlessError as error:
            return {**figures, "stopped": str(error)}
    problem = job.settings.problem
    claim = evaluated.metrics[job.settings.metric]
    return {
        **figures,
        "rows": len(judged.data.frame),
        "task": problem.task,
        "split": job.settings.split.strategy,
        "group": problem.group_column,
        "inputs": list(judged.data.contract.column_names),
        "metric": job.settings.metric,
        "claimed": [round(value, 4) for value in (claim.value, claim.low, claim.high)],
        "promote": compared.decision.promote,
        "doubts": [doubt.name for doubt in doubts],
        "columns": sorted({column for doubt in doubts for column in doubt.columns}),
        "sentences": [doubt.sentence for doubt in doubts],
        "seconds": round(time.perf_counter() - began, 1),
    }


def find_leak(table: RealTable, figures: Figures) -> str:
    """Say how a known leak was met: named, held, not an input, its group kept whole; or missed."""
    if "stopped" in figures:
        return "refused"
    if not table.leak and figures["split"] != "random":
        return "split"
    if set(table.leak) & set(figures["columns"]):
        return "named"
    if figures["split"] == "group" and figures["group"] in table.leak:
        return "group"
    if figures["doubts"]:
        return "held"
    if table.leak and not table.people and not set(table.leak) & set(figures["inputs"]):
        return "not an input"
    return "missed" if figures["promote"] else "not promoted"


def summarise_honest(figures: Sequence[Figures]) -> Figures:
    """Count the false doubts on honest tables."""
    judged = [entry for entry in figures if "stopped" not in entry]
    doubted = [entry for entry in judged if entry["doubts"]]
    return {
        "tables": len(judged),
        "doubted": len(doubted),
        "share": round(len(doubted) / max(1, len(judged)), 4),
        "doubts": {entry["table"]: entry["doubts"] for entry in doubted},
        "stopped": {e["table"]: e["stopped"] for e in figures if "stopped" in e},
    }


def summarise_leaks(tables: Sequence[RealTable], figures: Sequence[Figures]) -> Figures:
    """Count how the known leaks were met."""
    met: dict[str, list[str]] = {}
    for table, entry in zip(tables, figures, strict=True):
        met.setdefault(find_leak(table, entry), []).append(table.title)
    return {
        "tables": len(figures),
        "missed": len(met.get("missed", ())),
        "met": dict(sorted(met.items())),
    }
