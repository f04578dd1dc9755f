"""Measure the memory and time of the deployed monitor on one large window of captures."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.drift.sources import Figures, Source, mixed


class _Stream:
    """A bucket that holds one hour of captures; objects are generated when they are read.

    Objects alternate between two bodies, with prediction ids that differ per object.
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
        # Only the summaries are read again in the run.
        if key.startswith("monitor/summaries/"):
            self.objects[key] = body

    def write_new(self, key: str, body: bytes) -> bool:
        raise AssertionError("only workers of a distributed count call this")

    def write_over(self, key: str, body: bytes, tag: str) -> str:
        return ""


class _Quiet:
    """Stand-in for notifications, events, log and time limit; does nothing."""

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
    """Run the deployed monitor over one window; call it in a process of its own."""
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
    """Return this program's peak memory; `ru_maxrss` may include its parent's from before exec."""
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
    """Measure a window's memory and time, from gzipped JSON as it is captured."""
    call = f"stream_window({rows // 20_000}, 20_000)"
    code = (
        f"import json; from bench.drift.streaming import stream_window; print(json.dumps({call}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=3600
    )
    if done.returncode != 0:
        raise RuntimeError(f"the monitor failed on a window of {rows} rows:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))
