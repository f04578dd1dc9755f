"""Spring the traps: run each as a user would, then ask fresh rows for the truth."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.judge.project import Project, Run, write_file
from bench.judge.traps.trap import Delivery, Trap
from bench.judge.truth import ask_bundle, knowing_nothing, measure_truth, overstates
from core.bundle import Bundle
from core.contract import Contract

TARGET = "y"
SECONDS = 10
TRIALS = 3

Figures = dict[str, Any]


def spring(trap: Trap, *, seed: int = 0, seconds: int = SECONDS, trials: int = TRIALS) -> Figures:
    """Run one trap; gives what was claimed, what is true, and what became of it."""
    began = time.perf_counter()
    delivery = trap.deliver(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        looks = _run_looks(trap, delivery, folder, seconds, trials)
    last = looks[-1]
    false = any(look["live"] and look["overstates"] for look in looks)
    # Of several looks the first may have brought the model that is live at the end.
    alive = any(look["live"] for look in looks) if trap.right == "live" else last["live"]
    right = not false and (trap.right == "either" or alive == (trap.right == "live"))
    return {
        "name": trap.name,
        "kind": trap.kind,
        "story": trap.story,
        "expected": trap.right,
        "traceless": trap.traceless,
        "seed": seed,
        "right": right,
        "live_on_false_claim": false,
        **last,
        "earlier": looks[:-1],
        "seconds": round(time.perf_counter() - began, 1),
    }


def _run_looks(
    trap: Trap, delivery: Delivery, folder: Path, seconds: int, trials: int
) -> list[Figures]:
    files = [write_file(f, folder / "sent" / f"{k:03d}.csv") for k, f in enumerate(delivery.files)]
    fresh = write_file(delivery.fresh, folder / "fresh.csv")
    settings: dict[str, Any] = {
        "training": {"time_budget_seconds": seconds},
        "training.search": {"trials": trials},
        **{section: dict(members) for section, members in trap.settings.items()},
    }
    project = Project.begin(folder / "project", files[0], TARGET, settings=settings)
    champion: Path | None = None
    looks: list[Figures] = []
    arrived = 0
    for number in trap.looks or (len(files),):
        for file in files[arrived:number]:
            project.deliver(file, file.name)
        arrived = number
        run = project.train(champion)
        looks.append({"files": number, **_describe(run, fresh)})
        if run.live:
            champion = run.bundle
    return looks


def _describe(run: Run, fresh: Path) -> Figures:
    """Compare a run's claim with the truth on fresh rows."""
    if run.bundle is None:
        return {"live": False, "overstates": False, "refused": run.refused, "doubts": []}
    answers = ask_bundle(run.bundle, fresh)
    contract: Contract = Bundle.from_folder(run.bundle).contract()
    metric = str(run.evaluation["metric"])
    true = measure_truth(answers, metric)
    return {
        "live": run.live,
        "overstates": overstates(dict(run.claim), true, contract.task),
        "metric": metric,
        "claimed": {k: round(run.claim[k], 4) for k in ("value", "low", "high") if k in run.claim},
        "true": round(true.value, 4),
        "nothing": round(knowing_nothing(answers, metric), 4),
        "doubts": run.doubts,
        "promote": run.evaluation["decision"]["promote"],
        "reason": run.reason,
        "split": run.evaluation["split"]["strategy"],
    }


def summarise_traps(figures: Sequence[Figures]) -> Figures:
    """Count the traps that were met rightly, by kind; those that leave no trace stand apart."""
    seen = [entry for entry in figures if not entry["traceless"]]
    kinds = sorted({entry["kind"] for entry in seen})
    return {
        "traps": len(seen),
        "right": sum(entry["right"] for entry in seen),
        "live_on_false_claim": [e["name"] for e in seen if e["live_on_false_claim"]],
        "wrong": [entry["name"] for entry in seen if not entry["right"]],
        "by_kind": {
            kind: [
                sum(entry["right"] for entry in seen if entry["kind"] == kind),
                sum(entry["kind"] == kind for entry in seen),
            ]
            for kind in kinds
        },
        "traceless": {e["name"]: e["live_on_false_claim"] for e in figures if e["traceless"]},
        "each": list(figures),
    }
