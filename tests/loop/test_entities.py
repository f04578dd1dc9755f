"""A customer's rows come back on the customer's side: train, predict, label, monitor, train.

The real training job, API and monitor, on files and a bucket in memory; each step is given only
what the one before it wrote.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.bundle import ENTITY_KEY, Bundle
from core.entities import EntityKey
from lambdas.monitor.service import Monitor, Ports
from lambdas.predict.routes import Api
from lambdas.predict.service import Model
from tests.lambdas.monitor_world import HOUR, SETTINGS, START, EndlessWatch, MemoryStore, Recorder
from tests.training.projects import LIGHT, PROBLEMS, make_table, write_project
from training import train
from training.data.dataset import read_data
from training.data.holdout import split_data
from training.jobs import read_folder
from training.log import Log

ROWS, BACK = 240, 120
CUSTOMERS = [f"SECRET-{i // 3:03d}" for i in range(ROWS)]
# Half of those who are served are in the table, half are not.
SERVED = [f"SECRET-{40 + i // 2:03d}" for i in range(BACK)]


class Loop:
    """A project's folder, its bucket, and everything that was said on the way."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        frame = make_table("binary", rows=ROWS).assign(customer=CUSTOMERS)
        problem = PROBLEMS["binary"] + '\ngroup_column = "customer"'
        extra = f'[split]\nstrategy = "group"\n{LIGHT}'
        self.folder = write_project(folder, frame, problem, extra)
        self.store = MemoryStore()
        self.lines: list[str] = []
        self.said: list[str] = []
        self.answers: list[str] = []
        self._capsys = capsys

    def train(self, *more: str) -> Path:
        assert train.main(["--local", str(self.folder), *more]) == 0
        printed = self._capsys.readouterr()
        self.said += [printed.out, printed.err]
        return Path(printed.out.splitlines()[-1])

    def serve(self, bundle: Path, rows: list[dict[str, Any]]) -> list[str]:
        """Predict row by row, deliver the captures, and give the predictions' ids."""
        run = bundle.name
        for file in bundle.iterdir():
            self.store.objects[f"models/{run}/output/model/{file.name}"] = file.read_bytes()
        opened = Bundle.from_folder(bundle)
        self.api = Api(
            deployment="trial",
            load=lambda: Model(opened, run=run, version="1", max_rows=50),
            put_labels=lambda key, body: self.store.write(f"labels/{key}", body),
            write=self.lines.append,
        )
        names = []
        for number, row in enumerate(rows):
            (prediction,) = self._call("/predict", number, {"instances": [row]})["predictions"]
            names.append(prediction["id"])
        captured = "".join(line for line in self.lines if line.startswith('{"capture"'))
        key = "captures/2026/01/01/00/delivered.gz"
        self.store.write(key, gzip.compress(captured.encode()))
        return names

    def label(self, names: list[str], values: list[str]) -> None:
        pairs = zip(names, values, strict=True)
        labels = [{"id": name, "value": value} for name, value in pairs]
        for start in range(0, len(labels), 50):
            body = {"labels": labels[start : start + 50]}
            assert self._call("/feedback", 1000 + start, body)["accepted"] == len(body["labels"])

    def monitor(self) -> None:
        """Run the monitor, and bring what it labelled to the next job as Plan does."""
        out = Recorder()
        found = Monitor(
            deployment="trial",
            stage="dev",
            bucket_name="bucket",
            runbook_url="https://example.com/runbook",
            settings=SETTINGS,
            ports=Ports(self.store, out, out, out, EndlessWatch()),
        ).run(START + 2 * HOUR)
        assert (found["labels"]["joined"], found["unreadable"]) == (BACK, 0)
        self.said += [json.dumps(found), json.dumps(out.lines), json.dumps(out.messages)]
        (self.folder / "labelled").mkdir()
        for key, body in self.store.objects.items():
            if key.startswith("labelled/"):
                (self.folder / key).write_bytes(body)

    def _call(self, path: str, number: int, body: dict[str, Any]) -> dict[str, Any]:
        event = {
            "httpMethod": "POST",
            "path": path,
            "resource": path,
            "headers": {"Content-Type": "application/json"},
            "body": json.dumps(body),
            "requestContext": {"requestId": f"r{number}", "requestTimeEpoch": START + number},
        }
        response = self.api(event, None)
        assert response["statusCode"] in (200, 202), response["body"]
        self.answers.append(response["body"])
        return dict(json.loads(response["body"]))


def make_requests() -> tuple[list[dict[str, Any]], list[str]]:
    frame = make_table("binary", rows=BACK, seed=8)
    labels = frame.pop("answer").tolist()
    plain = frame.astype(object).where(frame.notna(), None)
    rows = [
        {**row, "customer": name}
        for row, name in zip(plain.to_dict("records"), SERVED, strict=True)
    ]
    return rows, labels


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    for file in folder.rglob("*"):
        if file.is_file():
            yield file.name, file.read_bytes()


def test_labelled_rows_come_back_on_their_customers_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the holdout or in training as the customer's rows of the table are, and text nowhere."""
    loop = Loop(tmp_path, capsys)
    first = loop.train()
    rows, labels = make_requests()
    loop.label(loop.serve(first, rows), labels)
    loop.monitor()
    second = loop.train("--champion", str(first))

    job = read_folder(loop.folder, champion=first, trigger="drift", stage=None)
    data = read_data(job, Log(0.0))
    held = np.zeros(len(data.frame), dtype=bool)
    held[split_data(job, data, Log(0.0)).holdout] = True
    side = dict(zip(CUSTOMERS, held[~data.fresh], strict=True))
    # Labelled rows are in an order of their own: the values tell which is whose.
    whose = {round(row["size"], 9): row["customer"] for row in rows}
    back = pd.DataFrame({"size": data.frame["size"], "held": held})[data.fresh]
    back["customer"] = [whose[round(size, 9)] for size in back["size"]]
    assert len(back) == BACK
    known = back[back["customer"].isin(side)]
    assert len(known) == 80
    assert known["held"].tolist() == [side[name] for name in known["customer"]]
    assert 0 < known["held"].sum() < len(known)
    others = back[~back["customer"].isin(side)]
    assert (others.groupby("customer")["held"].nunique() == 1).all()

    assert Bundle.from_folder(second).file(ENTITY_KEY) == Bundle.from_folder(first).file(ENTITY_KEY)


def test_no_text_of_an_entity_is_kept_and_no_key_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every byte of the bucket, the bundles, the logs and the answers is searched."""
    loop = Loop(tmp_path, capsys)
    first = loop.train()
    rows, labels = make_requests()
    loop.label(loop.serve(first, rows), labels)
    loop.monitor()
    second = loop.train("--champion", str(first))
    key = Bundle.from_folder(first).file(ENTITY_KEY)
    spoken = "".join([*loop.lines, *loop.said, *loop.answers])
    assert "SECRET" not in spoken
    assert key.hex() not in spoken
    hashed = str(EntityKey(key, "customer").hash(SERVED[0]))
    assert sum(hashed in line for line in loop.lines) == 2
    kept = {**loop.store.objects, **dict(contents(first)), **dict(contents(second))}
    for name, body in kept.items():
        text = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        assert b"SECRET" not in text, name
        if not name.endswith(ENTITY_KEY):
            assert key not in text, name
            assert key.hex().encode() not in text, name
    labelled = [body for name, body in loop.store.objects.items() if name.startswith("labelled/")]
    assert hashed.encode() in b"".join(map(gzip.decompress, labelled))
