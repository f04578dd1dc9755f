"""evaluation.json: what the gates, the registry, the monitor and the report read."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.settings import METRICS
from training.data.dataset import Data
from training.data.splits import Split
from training.doubts import Doubt
from training.export.artifacts import ExportedModel
from training.fit.model import Model
from training.fit.selection import Chosen
from training.jobs import Job
from training.judge.comparison import Compared
from training.judge.decision import LUCKY_RATE
from training.judge.evaluation import Evaluated
from training.judge.intervals import Interval


def describe_evaluation(
    job: Job,
    data: Data,
    split: Split,
    chosen: Chosen,
    model: Model,
    exported: ExportedModel,
    evaluated: Evaluated,
    compared: Compared,
    doubts: Sequence[Doubt],
) -> dict[str, Any]:
    """Make evaluation.json: what the gates, the registry, the monitor and the report read."""
    task, searched = model.contract.task, chosen.searched
    champion = None
    if compared.champion is not None:
        champion = {
            "run": compared.champion.run,
            "everything": compared.everything.to_dict() if compared.everything else None,
            "held": compared.held.to_dict() if compared.held else None,
            "fresh": compared.fresh.to_dict() if compared.fresh else None,
            "mismatch": compared.mismatch or None,
            "lucky_rate": LUCKY_RATE,
        }
    return {
        "format": 1,
        "task": task,
        "target": model.contract.target,
        "positive": model.contract.classes[model.contract.positive_index]
        if task == "binary"
        else None,
        "metric": chosen.metric,
        "metrics": _list_metrics(evaluated.metrics, task),
        "threshold": model.threshold,
        "threshold_reason": model.threshold_reason,
        "calibrated": chosen.calibrates,
        "chosen": searched.best.to_dict(),
        "candidates": [trial.to_dict() for trial in searched.trials],
        "search_stopped_early": searched.stopped_early,
        "champion": champion,
        "nothing": compared.nothing.to_dict() if compared.nothing else None,
        "decision": compared.decision.to_dict(),
        "doubts": [
            {**doubt.to_dict(), "accepted": doubt.name in job.settings.gates.accepted}
            for doubt in doubts
        ],
        "rows": {
            "total": len(data.frame),
            "train": len(split.train),
            "holdout": len(split.holdout),
            "fresh": int(data.fresh.sum()),
            "fresh_holdout": int(data.fresh[split.holdout].sum()),
            "without_target": int(data.quality.get("rows_without_target", 0)),
        },
        "split": dict(split.record),
        "quality": dict(data.quality),
        "export": {
            "family": exported.family,
            "rows": exported.parity.rows,
            "max_abs_diff": exported.parity.max_abs_diff,
            "flips": exported.parity.flips,
            "bound": exported.bound,
        },
        "curves": dict(evaluated.curves),
        "slices": evaluated.slices,
        "importance": evaluated.importance,
    }


def _list_metrics(found: Mapping[str, Interval], task: str) -> dict[str, dict[str, Any]]:
    """Make the `metrics` member of evaluation.json."""
    return {
        name: {**interval.to_dict(), "better": METRICS[task][name]}
        for name, interval in found.items()
    }
