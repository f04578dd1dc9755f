"""Writes predictions as JSON lines, CSV or Parquet."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy
import orjson

from core.contract import Contract
from core.engine import Header
from core.scoring import Format
from lambdas.score.columns import Matrix


class Output:
    """Collects the predictions of one unit.

    JSON lines have the shape of the API's predictions; CSV and Parquet are flat, a column a number.
    """

    def __init__(self, form: Format, contract: Contract, header: Header) -> None:
        """Choose the names under which labels and numbers are written."""
        self._form = form
        self._header = header
        self._group = ""
        self._numbers: tuple[str, ...] = ("value",)
        self._labels: tuple[str, ...] = ()
        if contract.is_classification:
            self._group, self._numbers = "probabilities", contract.classes
            self._labels = contract.classes
        elif contract.task == "clustering":
            self._group, self._numbers = "scores", contract.classes
            self._labels = contract.classes
        elif contract.task == "anomaly" and header.threshold is not None:
            self._labels = ("normal", "anomaly")
        self._chunks: list[bytes] = []
        self._table: list[list[Any]] = [[] for _ in self._names()]

    def add(self, ids: list[str], outputs: Matrix, unseen: Mapping[int, Sequence[str]]) -> None:
        """Add predictions, in order; `unseen` names columns by a row's place in them."""
        if not ids:
            return
        labels = self._decide(outputs)
        numbers = outputs[:, 1:] if self._header.task == "clustering" else outputs
        if self._form == "jsonl":
            self._chunks.append(self._write_lines(ids, labels, numbers, unseen))
            return
        columns: list[Iterable[Any]] = [ids]
        if labels is not None:
            columns.append([self._labels[label] for label in labels])
        columns += numbers.T.tolist()
        columns.append([";".join(unseen.get(place, ())) for place in range(len(ids))])
        for column, values in zip(self._table, columns, strict=True):
            column += values

    def close(self) -> bytes:
        """Give the whole output."""
        if self._form == "jsonl":
            return b"".join(self._chunks)
        if self._form == "parquet":
            from lambdas.score.parquet import write_parquet

            return write_parquet(self._names(), self._table)
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self._names())
        writer.writerows(zip(*self._table, strict=True))
        return text.getvalue().encode()

    def _names(self) -> list[str]:
        """Name the columns of a flat table."""
        singular = {"probabilities": "probability ", "scores": "score ", "": ""}[self._group]
        labels = ["label"] if self._labels else []
        return ["id", *labels, *(f"{singular}{name}" for name in self._numbers), "unseen"]

    def _decide(self, outputs: Matrix) -> list[int] | None:
        """Give each row's label as its place in `labels`, by the rules of `core.engine.decide`."""
        header = self._header
        if not self._labels:
            return None
        if header.task == "clustering":
            places: Any = outputs[:, 0]
        elif header.task == "anomaly":
            places = outputs[:, 0] >= cast("float", header.threshold)
        elif header.threshold is None or header.positive is None or outputs.shape[1] != 2:
            places = outputs.argmax(axis=1)
        else:
            above = outputs[:, header.positive] >= header.threshold
            places = above == bool(header.positive)
        return cast("list[int]", places.astype(numpy.intp).tolist())

    def _write_lines(
        self,
        ids: list[str],
        labels: list[int] | None,
        numbers: Matrix,
        unseen: Mapping[int, Sequence[str]],
    ) -> bytes:
        """Write lines from columns of bytes; an object a row would take three times as long."""
        count, width = numbers.shape
        flat = orjson.dumps(numbers.ravel(), option=orjson.OPT_SERIALIZE_NUMPY)
        texts = flat[1:-1].split(b",")
        columns: list[Sequence[bytes]] = [[b'{"id":'] * count, list(map(orjson.dumps, ids))]
        if labels is not None:
            names = [b',"label":' + orjson.dumps(name) for name in self._labels]
            columns.append([names[label] for label in labels])
        opening = b',"%s":{' % self._group.encode() if self._group else b","
        for place, name in enumerate(self._numbers):
            columns.append([opening + orjson.dumps(name) + b":"] * count)
            columns.append(texts[place::width])
            opening = b","
        ends = [b"}}\n" if self._group else b"}\n"] * count
        for place, found in unseen.items():
            ends[place] = ends[place][:-2] + b',"unseen":' + orjson.dumps(found) + b"}\n"
        columns.append(ends)
        pieces: list[bytes] = [b""] * (count * len(columns))
        for place, column in enumerate(columns):
            pieces[place :: len(columns)] = column
        return b"".join(pieces)
