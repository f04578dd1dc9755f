"""Writes predictions as JSON lines, CSV or Parquet."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from core.contract import Contract
from core.engine import Header
from core.scoring import Format

Answers = Sequence[Mapping[str, Any]]


class Output:
    """Collects the predictions of one unit."""

    def __init__(self, form: Format, contract: Contract, header: Header) -> None:
        """Choose the columns of a flat table; JSON lines keep the API's own shape."""
        self._form = form
        self._chunks: list[bytes] = []
        self._records: list[list[Any]] = []
        self._names = _flat_names(contract, header)

    def add(self, answers: Answers) -> None:
        """Add predictions, in order."""
        if self._form == "jsonl":
            if answers:
                # One call for all, then one line each: `},{"id":` cannot be inside a JSON string,
                # where a quote is written \\", and a prediction holds no objects with an id.
                body = orjson.dumps(answers)[1:-1]
                self._chunks.append(body.replace(b'},{"id":', b'}\n{"id":') + b"\n")
        else:
            self._records += [self._flatten(answer) for answer in answers]

    def close(self) -> bytes:
        """Give the whole output."""
        if self._form == "jsonl":
            return b"".join(self._chunks)
        if self._form == "parquet":
            from lambdas.score.parquet import write_parquet

            return write_parquet(self._names, self._records)
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self._names)
        writer.writerows(self._records)
        return text.getvalue().encode()

    def _flatten(self, answer: Mapping[str, Any]) -> list[Any]:
        numbers = answer.get("probabilities") or answer.get("scores") or {}
        flat = [answer["id"], *(answer[name] for name in ("label", "value") if name in answer)]
        return [*flat, *numbers.values(), ";".join(answer.get("unseen", ()))]


def _flat_names(contract: Contract, header: Header) -> list[str]:
    if contract.is_classification:
        return ["id", "label", *(f"probability {name}" for name in contract.classes), "unseen"]
    if contract.task == "clustering":
        return ["id", "label", *(f"score {name}" for name in contract.classes), "unseen"]
    if contract.task == "anomaly" and header.threshold is not None:
        return ["id", "label", "value", "unseen"]
    return ["id", "value", "unseen"]
