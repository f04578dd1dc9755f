"""Cuts the input into units: where a unit begins and ends does not depend on who asks, or when."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from core.errors import DataError
from core.scoring import FORMATS, Format, Job, Unit, recognise, split_uri
from lambdas.score.storage import Found, Store

# A gzipped object cannot be cut; larger ones would not fit a function's memory once unpacked.
LARGEST_PACKED = 64 * 2**20
BLOCK_BYTES = 8 * 2**20


def plan(job: Job, store: Store, has_time: Callable[[], bool]) -> dict[str, Any]:
    """Write the list of a job's units, or as much of it as there is time for.

    Answers `more` where it must be called again; it then goes on from what it wrote.
    """
    saved = store.find(f"{job.folder}progress.json")
    planner = Planner(job, store, json.loads(saved) if saved else None)
    finished = planner.run(has_time)
    progress = b"" if finished else json.dumps(planner.progress()).encode()
    if finished:
        planner.write()
    if progress or saved:
        # An empty object where nothing is under way: a later run of the job plans afresh.
        store.put(f"{job.folder}progress.json", progress)
    bucket, folder = split_uri(job.folder)
    return {
        "more": not finished,
        "units": len(planner.units),
        "bucket": bucket,
        "key": f"{folder}units.json",
        "results": f"{folder}results",
    }


class Planner:
    """Goes through the objects in the order of their keys."""

    def __init__(self, job: Job, store: Store, progress: dict[str, Any] | None) -> None:
        """Start afresh, or from what an earlier call noted."""
        self._job, self._store = job, store
        self._bucket, self._prefix = split_uri(job.source)
        target_bucket, target = split_uri(f"{job.target.rstrip('/')}/")
        self._inside = target if target_bucket == self._bucket else None
        progress = progress or {}
        self.units = [Unit.from_dict(unit) for unit in progress.get("units", [])]
        self.skipped: list[dict[str, str]] = progress.get("skipped", [])
        self.objects: int = progress.get("objects", 0)
        self._after: str = progress.get("after", "")
        # Where the cutting of a large CSV object stands: [position, inside quotes, cuts].
        self._cutting: list[Any] | None = progress.get("cutting")

    def progress(self) -> dict[str, Any]:
        """Note where this call stopped."""
        return {
            "units": [unit.to_dict() for unit in self.units],
            "skipped": self.skipped,
            "objects": self.objects,
            "after": self._after,
            "cutting": self._cutting,
        }

    def run(self, has_time: Callable[[], bool]) -> bool:
        """Cut objects while there is time; say whether all of them are cut."""
        for found in self._store.list(self._job.source, self._after):
            if not has_time():
                return False
            if self._is_input(found) and not self._cut(found, has_time):
                return False
            self._after = found.key
        return True

    def write(self) -> None:
        """Write the units and what is known of the job."""
        if not self.objects:
            found = [f"{one['object']}: {one['message']}" for one in self.skipped[:3]]
            reasons = f" ({'; '.join(found)})" if found else ""
            raise DataError(f"there is nothing to score below {self._job.source}{reasons}")
        units = [unit.to_dict() for unit in self.units]
        self._store.put(f"{self._job.folder}units.json", json.dumps(units).encode())
        noted = {
            "job": self._job.to_dict(),
            "objects": self.objects,
            "units": len(units),
            "bytes": sum(_weigh(unit) for unit in self.units),
            "skipped": self.skipped,
        }
        self._store.put(f"{self._job.folder}job.json", json.dumps(noted).encode())

    def _is_input(self, found: Found) -> bool:
        """Leave out folders, what starts with "_" or "." (Spark's `_SUCCESS`), and the target.

        A source without a slash at its end is an object or a folder: `in` is not `in2/a.csv`.
        """
        if found.key.endswith("/") or (self._inside and found.key.startswith(self._inside)):
            return False
        beyond = found.key.removeprefix(self._prefix)
        if beyond and self._prefix and not self._prefix.endswith("/") and beyond[0] != "/":
            return False
        return not any(part[:1] in ("_", ".") for part in self._name(found.key).split("/"))

    def _name(self, key: str) -> str:
        """Name an object by what its key has beyond the source's folder."""
        folder = self._prefix[: self._prefix.rfind("/") + 1]
        return key.removeprefix(folder)

    def _cut(self, found: Found, has_time: Callable[[], bool]) -> bool:
        """Add an object's units; say whether it is done."""
        known = recognise(found.key)
        reason = ""
        if known is None:
            reason = f"its name ends in none of {', '.join(f'.{name}' for name in FORMATS)}"
        elif known[1] and found.size > LARGEST_PACKED:
            reason = (
                f"{found.size / 1e6:.0f} MB gzipped cannot be cut: unpack it, or write files of at "
                f"most {LARGEST_PACKED // 2**20} MiB"
            )
        if reason or known is None:
            self.skipped.append({"object": self._name(found.key), "message": reason})
            return True
        form, packed = known
        if form == "parquet":
            places = self._cut_parquet(found)
        elif packed or found.size <= self._job.unit_bytes:
            places = [(0, found.size, 1)] if found.size else []
        elif form == "jsonl":
            step = self._job.unit_bytes
            starts = range(0, found.size, step)
            places = [(at, min(at + step, found.size), 0 if at else 1) for at in starts]
        else:
            cuts = self._cut_csv(found, has_time)
            if cuts is None:
                return False
            ends = [*cuts[1:], found.size]
            places = [(a, b, 0 if a else 1) for a, b in zip(cuts, ends, strict=True)]
        self._add(found, form, packed, places)
        return True

    def _add(
        self, found: Found, form: Format, packed: bool, places: list[tuple[int, int, int]]
    ) -> None:
        self.objects += 1
        name = self._name(found.key)
        for index, (start, end, first) in enumerate(places):
            self.units.append(
                Unit(
                    key=found.key,
                    name=name,
                    etag=found.etag,
                    size=found.size,
                    format=form,
                    packed=packed,
                    start=start,
                    end=end,
                    index=index,
                    first_row=first,
                )
            )

    def _cut_csv(self, found: Found, has_time: Callable[[], bool]) -> list[int] | None:
        """Find where rows begin, about `unit_bytes` apart; None where time ran out.

        A newline between quotes is part of a value, and only the quotes before it tell. So a large
        CSV object is read once from its beginning, counting them.
        """
        position, quoted, cuts = self._cutting or [0, False, [0]]
        self._cutting = None
        for block in self._blocks(found, position):
            if not has_time():
                self._cutting = [position, quoted, cuts]
                return None
            end = position + len(block)
            while cuts[-1] + self._job.unit_bytes < end:
                at = max(0, cuts[-1] + self._job.unit_bytes - position)
                place = _next_row(block, at, quoted)
                if place < 0:
                    break
                if position + place < found.size:
                    cuts.append(position + place)
                else:
                    break
            quoted ^= bool(block.count(b'"') % 2)
            position = end
        return list(cuts)

    def _blocks(self, found: Found, position: int) -> Iterator[bytes]:
        while position < found.size:
            end = min(position + BLOCK_BYTES, found.size)
            yield self._store.read(self._bucket, found.key, found.etag, position, end)
            position = end

    def _cut_parquet(self, found: Found) -> list[tuple[int, int, int]]:
        """Put neighbouring row groups together until they are about `unit_bytes` of values."""
        from lambdas.score.parquet import measure_row_groups

        places: list[tuple[int, int, int]] = []
        start = weight = rows = first = 0
        groups = measure_row_groups(self._store, self._bucket, found)
        for index, (size, count) in enumerate(groups):
            weight, rows = weight + size, rows + count
            if weight >= self._job.unit_bytes or index == len(groups) - 1:
                places.append((start, index + 1, first + 1))
                start, weight, first = index + 1, 0, rows
        return places


def _next_row(block: bytes, at: int, quoted: bool) -> int:
    """Give where the first row after `at` begins, or -1; `quoted`: the block begins in quotes."""
    odd = quoted ^ bool(block.count(b'"', 0, at) % 2)
    while (newline := block.find(b"\n", at)) >= 0:
        odd ^= bool(block.count(b'"', at, newline) % 2)
        if not odd:
            return newline + 1
        at = newline + 1
    return -1


def _weigh(unit: Unit) -> int:
    """Give a unit's share of the input in bytes; of Parquet, the object's on its first unit."""
    if unit.format == "parquet":
        return 0 if unit.index else unit.size
    return unit.end - unit.start
