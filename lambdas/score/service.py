"""What a scoring job does: score a unit, note that one was given up, sum up."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import orjson

from core.errors import Problem
from core.scoring import Job, Receipt, Unit, split_uri
from lambdas.score.storage import Store

if TYPE_CHECKING:
    from lambdas.score.model import Model

MANIFEST_BYTES = 64 * 2**20
LOOKS_AT_ONCE = 32
_OUTPUT = re.compile(r"/\d{5}\.(csv|jsonl|parquet)$")


def find_receipt(job: Job, unit: Unit, store: Store) -> Receipt | None:
    """Return what came of a unit in this state; None where it is still to be scored."""
    metadata = store.metadata(unit.output(job))
    receipt = Receipt.from_metadata(metadata) if metadata is not None else None
    return receipt if receipt is not None and receipt.unit == unit.digest(job) else None


def score(job: Job, unit: Unit, store: Store, open_model: "Callable[[], Model]") -> dict[str, Any]:
    """Score a unit, unless it is done already.

    The refused rows are written first and the output last: it holds the receipt, so whatever
    happens before leaves a unit that is still to be scored.
    """
    from lambdas.score.outputs import Output
    from lambdas.score.records import Reader

    receipt = None if job.force else find_receipt(job, unit, store)
    if receipt is not None:
        return {"done": "before", **_counts(receipt)}
    model = open_model()
    output = Output(job.format, model.contract, model.header)
    refused: list[bytes] = []
    rows = scored = 0
    for block in Reader(job, model.contract, store).read(unit):
        places, outputs, unseen, problems = model.score(block)
        output.add([block.ids[place] for place in places], outputs, unseen)
        rows += len(block.numbers) + len(block.broken)
        scored += len(places)
        found = list(block.broken)
        for place, reasons in problems.items():
            found += [(block.numbers[place], reason) for reason in reasons]
        refused += _write_lines(sorted(found, key=lambda entry: entry[0]))
    receipt = Receipt(unit.digest(job), rows, scored, rows - scored)
    if refused:
        store.put(unit.refused(job), b"".join(refused))
    store.put(unit.output(job), output.close(), receipt.to_metadata())
    return {"done": "now", **_counts(receipt)}


def give_up(job: Job, unit: Unit, store: Store, error: Mapping[str, Any]) -> dict[str, Any]:
    """Note why a unit could not be scored at all."""
    reason = {"error": str(error.get("Error", "")), "cause": _describe(str(error.get("Cause", "")))}
    store.put(unit.given_up(job), json.dumps(reason).encode())
    return {"done": "never", "output": unit.output(job), **reason}


def finish(job: Job, store: Store) -> dict[str, Any]:
    """Write the manifest of what failed and why, and the summary; rows = scored + refused."""
    units = [Unit.from_dict(unit) for unit in json.loads(store.get(f"{job.folder}units.json"))]
    noted = json.loads(store.get(f"{job.folder}job.json"))
    writer = _ManifestWriter(job, store)
    for skipped in noted["skipped"]:
        writer.add({"code": "skipped_object", **skipped})
    totals = dict.fromkeys(("rows", "scored", "refused"), 0)
    failed = 0
    next_row = 1
    with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
        receipts = pool.map(lambda unit: find_receipt(job, unit, store), units)
        for unit, receipt in zip(units, receipts, strict=True):
            first = unit.first_row or next_row
            if receipt is None:
                failed += 1
                next_row = 0
                writer.add({**_place(unit), **_reason(job, unit, store)})
                continue
            lines = store.get(unit.refused(job)).splitlines() if receipt.refused else []
            for line in lines:
                entry = orjson.loads(line)
                number = entry.pop("row")
                # Behind a unit that failed, rows are counted from the unit's own beginning.
                where = {"row": number + first - 1} if first else {**_range(unit), "row": number}
                writer.add({"object": unit.name, **where, **entry})
            next_row = first + receipt.rows if first else 0
            for name, count in _counts(receipt).items():
                totals[name] += count
    strays = _find_strays(job, units, store)
    for key in strays:
        message = "another job wrote it: delete it before you read the predictions"
        writer.add({"object": key, "code": "stray_output", "message": message})
    summary = {
        "job": job.id,
        "model_uri": job.model_uri,
        "objects": noted["objects"],
        "skipped_objects": len(noted["skipped"]),
        "units": len(units),
        "failed_units": failed,
        "stray_outputs": len(strays),
        **totals,
        "output": job.target,
        "manifest": writer.close(),
    }
    store.put(f"{job.manifest}.json", json.dumps(summary, indent=1).encode())
    return summary


def _find_strays(job: Job, units: Iterable[Unit], store: Store) -> list[str]:
    """List outputs below the target that are no unit's: of other cuts, or of other inputs.

    What has no receipt is not ours, whatever its name.
    """
    expected = {split_uri(unit.output(job))[1] for unit in units}
    target = f"{job.target.rstrip('/')}/"
    bucket, folder = split_uri(target)
    return [
        found.key
        for found in store.list(target, "")
        if _OUTPUT.search(found.key)
        and not found.key.removeprefix(folder).startswith("_")
        and found.key not in expected
        and Receipt.from_metadata(store.metadata(f"s3://{bucket}/{found.key}") or {}) is not None
    ]


class _ManifestWriter:
    """Writes entries as JSON lines, in objects of at most about `MANIFEST_BYTES`."""

    def __init__(self, job: Job, store: Store) -> None:
        self._job, self._store = job, store
        self._lines: list[bytes] = []
        self._size = 0
        self._written: list[str] = []

    def add(self, entry: Mapping[str, Any]) -> None:
        line = orjson.dumps(entry) + b"\n"
        self._lines.append(line)
        self._size += len(line)
        if self._size >= MANIFEST_BYTES:
            self._flush()

    def close(self) -> list[str]:
        """Write what is left; give the addresses of all."""
        if self._lines:
            self._flush()
        return self._written

    def _flush(self) -> None:
        uri = f"{self._job.manifest}-{len(self._written):05d}.jsonl"
        self._store.put(uri, b"".join(self._lines))
        self._written.append(uri)
        self._lines, self._size = [], 0


def _write_lines(refused: Iterable[tuple[int, Problem]]) -> Iterator[bytes]:
    for number, problem in refused:
        entry = {**problem.to_dict(), "row": number}
        yield orjson.dumps(entry) + b"\n"


def _counts(receipt: Receipt) -> dict[str, int]:
    return {"rows": receipt.rows, "scored": receipt.scored, "refused": receipt.refused}


def _range(unit: Unit) -> dict[str, int]:
    return {"start": unit.start, "end": unit.end}


def _place(unit: Unit) -> dict[str, Any]:
    return {"object": unit.name, **_range(unit)}


def _reason(job: Job, unit: Unit, store: Store) -> dict[str, str]:
    note = store.find(unit.given_up(job))
    reason = json.loads(note) if note else {"error": "", "cause": "it was not reached"}
    return {"code": "failed_unit", "message": f"{reason['error']}: {reason['cause']}".strip(": ")}


def _describe(cause: str) -> str:
    """Take the message out of what Lambda says of an error."""
    try:
        return str(json.loads(cause)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return cause[:1000]
