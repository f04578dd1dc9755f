"""Where a model comes from: its data, settings, code, machine, time and cost (lineage.json)."""

import hashlib
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from training.data.dataset import Data
from training.jobs import Job
from training.log import Log

# USD an hour on demand, us-east-1, list prices of 2025 (Amazon SageMaker pricing page, training).
HOURLY_USD = {
    "ml.t3.medium": 0.05,
    "ml.m5.large": 0.115,
    "ml.m5.xlarge": 0.23,
    "ml.m5.2xlarge": 0.461,
    "ml.m5.4xlarge": 0.922,
    "ml.c5.xlarge": 0.204,
    "ml.c5.2xlarge": 0.408,
    "ml.c5.4xlarge": 0.816,
}
SPOT_SHARE = 0.3  # of the on-demand price; what is paid changes with demand
PRICES_OF = "us-east-1, list prices of 2025, Spot taken as 30% of on demand; not a bill"


def describe_lineage(
    job: Job, data: Data, content: Mapping[str, bytes], log: Log
) -> dict[str, Any]:
    """Say where the model comes from; the one file of the bundle that holds times."""
    settings, plan = job.settings, job.plan
    commit = str(plan.get("commit") or "") or None
    seconds = log.elapsed()
    price = HOURLY_USD.get(settings.training.instance_type)
    cost = None
    if price is not None:
        usd = price * (SPOT_SHARE if settings.training.spot else 1.0) * seconds / 3600
        cost = float(f"{usd:.1g}")  # more digits would claim to know more
    return {
        "format": 1,
        "run": job.run,
        "trigger": job.trigger,
        "reason": job.reason,
        "fingerprint": plan.get("fingerprint"),
        "planned": plan.get("now"),
        "champion": plan.get("champion"),
        "source_uri": plan.get("source_uri"),
        "commit": commit.removesuffix("-dirty") if commit else None,
        "dirty": commit.endswith("-dirty") if commit else None,
        "inputs": [dict(entry) for entry in data.inputs],
        "sha256": {str(entry["key"]): str(entry["sha256"]) for entry in data.inputs},
        "rows": {"total": len(data.frame), "fresh": int(data.fresh.sum())},
        "settings_sha256": settings.training_digest,
        "contract_sha256": data.contract.digest,
        "model_sha256": hashlib.sha256(content["model.json"]).hexdigest(),
        "seed": settings.split.seed,
        "search_seed": job.search_seed,
        "python": platform.python_version(),
        "machine": f"{sys.platform} {platform.machine()}",
        "image": plan.get("image"),
        "packages": _package_versions(),
        "seconds": {**log.seconds, "total": round(seconds, 3)},
        "instance_type": settings.training.instance_type,
        "estimated_usd": cost,
        "prices_of": None if cost is None else PRICES_OF,
    }


def _package_versions() -> dict[str, str]:
    names = (
        "scikit-learn",
        "numpy",
        "scipy",
        "pandas",
        "pyarrow",
        "joblib",
        "onnx",
        "skl2onnx",
        "onnxruntime",
    )
    found = {}
    for name in (*names, "pydantic"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
