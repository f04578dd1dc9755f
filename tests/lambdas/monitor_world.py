"""A bucket in memory, a small trained model, and traffic for it."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from core import bundle, drift
from core.bundle import Manifest
from core.contract import Column, Contract
from core.errors import StorageError
from lambdas.monitor.service import Monitor, Ports
from lambdas.monitor.storage import Entry

HOUR = 3_600_000
START = 1_767_225_600_000  # 2026-01-01T00:00:00Z
SETTINGS = {
    "schedule_minutes": 60,
    "false_alarms_per_year": 1.0,
    "min_window_rows": 200,
    "min_labels": 100,
    "max_quality_drop": 0.05,
    "min_new_labels": 100,
    "buffer_seconds": 60,
    "parallel_above_mb": 0,
}


class MemoryStore:
    """A versionless bucket that keeps S3's promises about listing and conditional writes."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.reads: list[str] = []

    def list(self, prefix: str, after: str = "") -> list[Entry]:
        return [
            Entry(key, len(body), hashlib.md5(body).hexdigest())
            for key, body in sorted(self.objects.items())
            if key.startswith(prefix) and key > after
        ]

    def list_folder(self, prefix: str) -> Any:
        return [entry for entry in self.list(prefix) if "/" not in entry.key[len(prefix) :]]

    def read(self, key: str) -> bytes | None:
        self.reads.append(key)
        return self.objects.get(key)

    def read_tagged(self, key: str) -> tuple[bytes | None, str]:
        body = self.objects.get(key)
        return body, "" if body is None else hashlib.md5(body).hexdigest()

    def stream(self, key: str) -> Iterator[bytes]:
        self.reads.append(key)
        body = self.objects[key]
        for i in range(0, len(body), 1000):
            yield body[i : i + 1000]

    def write(self, key: str, body: bytes, content_type: str = "application/json") -> None:
        self.objects[key] = body

    def write_new(self, key: str, body: bytes) -> bool:
        return self.objects.setdefault(key, body) is body

    def write_over(self, key: str, body: bytes, tag: str) -> str:
        if self.read_tagged(key)[1] != tag:
            raise StorageError(f"another run of the monitor wrote {key} first")
        self.objects[key] = body
        return self.read_tagged(key)[1]


class Recorder:
    """People, events and log at once."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.lines: list[dict[str, Any]] = []

    def publish(self, subject: str, message: str) -> None:
        self.messages.append((subject, message))

    def put(self, detail_type: str, detail: dict[str, Any]) -> None:
        self.events.append((detail_type, detail))

    def write(self, record: dict[str, Any]) -> None:
        self.lines.append(record)

    def metric(self, name: str) -> list[float]:
        return [line[name] for line in self.lines if name in line]


class EndlessWatch:
    """A watch that never runs out."""

    def is_up(self) -> bool:
        return False


CONTRACT = Contract(
    task="binary",
    target="churned",
    classes=("no", "yes"),
    positive="yes",
    columns=(
        Column("age", "number"),
        Column("income", "number", missing=True),
        Column("plan", "category", categories=("basic", "plus", "pro")),
        Column("active", "boolean"),
    ),
)


def make_rows(
    generator: np.random.Generator, count: int, age: float = 40.0
) -> list[dict[str, Any]]:
    ages = generator.normal(age, 10.0, count)
    incomes = ages * 1000 + generator.normal(0, 8000, count)
    plans = generator.choice(["basic", "plus", "pro"], count, p=[0.6, 0.3, 0.1])
    return [
        {
            "age": float(ages[i]),
            "income": None if generator.random() < 0.03 else float(incomes[i]),
            "plan": str(plans[i]),
            "active": bool(generator.random() < 0.7),
        }
        for i in range(count)
    ]


def answer(row: Mapping[str, Any]) -> list[float]:
    p = 1.0 / (1.0 + np.exp(-(float(row["age"]) - 40.0) / 5.0))
    return [float(1.0 - p), float(p)]


def make_bundle(store: MemoryStore, run: str, seed: int = 0, **changes: bytes) -> None:
    generator = np.random.default_rng(seed)
    rows = make_rows(generator, 1000)
    held = make_rows(generator, 300)
    baseline = drift.build_baseline(
        CONTRACT,
        {column.name: [row[column.name] for row in rows] for column in CONTRACT.columns},
        [answer(row) for row in held],
        seed=seed,
    )
    evaluation = {
        "threshold": 0.5,
        "metric": "roc_auc",
        "metrics": {
            "roc_auc": {"value": 0.95, "low": 0.93, "high": 0.97},
            "accuracy": {"value": 0.88, "low": 0.85, "high": 0.91},
        },
        "importance": [{"column": "age", "drop": 0.3}, {"column": "plan", "drop": 0.0}],
    }
    files = {
        bundle.CONTRACT: CONTRACT.to_json(),
        bundle.BASELINE: baseline.to_json(),
        bundle.EVALUATION: json.dumps(evaluation).encode(),
        **changes,
    }
    prefix = f"models/{run}/output/model/"
    for name, content in files.items():
        store.objects[prefix + name] = content
    store.objects[prefix + bundle.MANIFEST] = Manifest.of(files).to_json()


def capture(
    rows: list[dict[str, Any]], run: str, time: int, request: str, **changes: Any
) -> dict[str, Any]:
    return {
        "capture": 1,
        "time": time,
        "request": request,
        "run": run,
        "version": "1",
        "weight": 1.0,
        "rows": [[f"{request}-{i}", row, answer(row)] for i, row in enumerate(rows)],
        **changes,
    }


def pack(captures: list[dict[str, Any]]) -> bytes:
    return gzip.compress("".join(json.dumps(one) + "\n" for one in captures).encode(), mtime=0)


class World:
    """A deployment's bucket with one model, run `alpha`, and its monitor."""

    def __init__(self, **settings: Any) -> None:
        self.store = MemoryStore()
        self.out = Recorder()
        self.settings = {**SETTINGS, **settings}
        self.generator = np.random.default_rng(1)
        self.requests = 0
        make_bundle(self.store, "alpha")

    def monitor(self, store: Any = None, out: Any = None, watch: Any = None) -> Monitor:
        out = out or self.out
        return Monitor(
            deployment="shop-dev",
            stage="dev",
            bucket_name="bucket",
            runbook_url="https://example.com/runbook",
            settings=self.settings,
            ports=Ports(store or self.store, out, out, out, watch or EndlessWatch()),
        )

    def run(self, hours: float) -> dict[str, Any]:
        return self.monitor().run(START + round(hours * HOUR))

    def serve(
        self, hours: float, count: int = 250, age: float = 40.0, run: str = "alpha"
    ) -> list[dict[str, Any]]:
        """Serve rows within the hour that begins at `hours`, and deliver them as one object."""
        captures = []
        rows = make_rows(self.generator, count, age)
        for i in range(0, count, 10):
            self.requests += 1
            time = START + round(hours * HOUR) + i * 1000
            captures.append(capture(rows[i : i + 10], run, time, f"r{self.requests}"))
        self.deliver(hours, pack(captures), f"{run}-{self.requests}")
        return captures

    def deliver(self, hours: float, body: bytes, name: str) -> str:
        day, hour = divmod(int(hours), 24)
        key = f"captures/2026/01/{day + 1:02d}/{hour:02d}/{name}.gz"
        self.store.objects[key] = body
        return key

    def label(self, labels: list[dict[str, Any]], name: str, hours: float = 0.0) -> None:
        day = int(hours // 24) + 1
        body = "".join(json.dumps(one) + "\n" for one in labels).encode()
        self.store.objects[f"labels/2026/01/{day:02d}/{name}.jsonl"] = body

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.store.objects["monitor/state.json"])
        return found
