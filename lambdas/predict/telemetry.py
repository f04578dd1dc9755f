"""The log lines of a request: one metric line, and capture lines for the monitor.

Written by hand: Powertools' Metrics costs many times what the prediction itself does.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson

NAMESPACE = "Driftless"
# CloudWatch's subscription filter hands records of at most 256 KB on; leave room for the envelope.
LINE_BYTES = 190_000


class Metrics:
    """Write CloudWatch embedded metric format (AWS: "Embedded metric format specification")."""

    def __init__(self, deployment: str, write: Callable[[str], object]) -> None:
        """Prepare the line; ``write`` takes one line with its end."""
        directive = {
            "Namespace": NAMESPACE,
            "Dimensions": [["Deployment"]],
            "Metrics": [
                {"Name": "Predictions", "Unit": "Count"},
                {"Name": "RowsRefused", "Unit": "Count"},
            ],
        }
        name = orjson.dumps(deployment).decode()
        # What the release alarm compares versions by: the sums tell mean and spread of a version,
        # and those of all versions less those of the newest are those of the one before.
        scored = {
            "Namespace": NAMESPACE,
            "Dimensions": [["Deployment"], ["Deployment", "Version"]],
            "Metrics": [
                {"Name": "ScoredRequests", "Unit": "Count"},
                {"Name": "ScoreSum"},
                {"Name": "ScoreSquares"},
            ],
        }
        self._head = '{"_aws":{"Timestamp":'
        self._counted = (
            f',"CloudWatchMetrics":[{orjson.dumps(directive).decode()}]}},"Deployment":{name},'
            '"Predictions":'
        )
        self._scored = (
            f',"CloudWatchMetrics":{orjson.dumps([directive, scored]).decode()}}},'
            f'"Deployment":{name},"Predictions":'
        )
        self._write = write

    def count(self, time_ms: int, predictions: int, refused: int) -> None:
        """Write one line."""
        self._write(
            f'{self._head}{time_ms}{self._counted}{predictions},"RowsRefused":{refused}}}\n'
        )

    def count_scored(self, time_ms: int, version: str, scores: Sequence[float]) -> None:
        """Write one line about a request that was answered with these scores.

        A request counts once, with the mean of its rows: traffic is divided between versions by
        request, so only requests are independent draws.
        """
        count = len(scores)
        score = scores[0] if count == 1 else sum(scores) / count
        self._write(
            f'{self._head}{time_ms}{self._scored}{count},"RowsRefused":0,"Version":"{version}",'
            f'"ScoredRequests":1,"ScoreSum":{score!r},"ScoreSquares":{score * score!r}}}\n'
        )


class Capture:
    """Write what was asked and answered as JSON lines that a subscription filter picks up."""

    def __init__(
        self,
        run: str,
        version: str,
        sample_rate: float,
        sensitive: frozenset[str],
        write: Callable[[str], object],
        hash_entity: Callable[[Any], str | None] | None = None,
    ) -> None:
        """Prepare; columns in ``sensitive`` never leave the function, and entities only hashed."""
        self._sample_rate = sample_rate
        self._sensitive = sensitive
        self._write = write
        self._hash_entity = hash_entity
        self._source = (
            f'"run":{orjson.dumps(run).decode()},"version":{orjson.dumps(version).decode()},'
            f'"weight":{1.0 / sample_rate if sample_rate else 0.0!r},"rows":['
        )

    def keeps(self, request_id: str) -> bool:
        """Say whether a request is in the sample; the same request always is or never."""
        if self._sample_rate >= 1.0:
            return True
        return zlib.crc32(request_id.encode("utf-8", "replace")) < self._sample_rate * 2**32

    def record(
        self,
        time_ms: int,
        request_id: str,
        ids: Sequence[str],
        rows: Sequence[dict[str, Any]],
        outputs: Sequence[Sequence[float]],
        entities: Sequence[Any] | None = None,
    ) -> None:
        """Write the rows of one request in as few lines as fit.

        Nothing that goes wrong here may fail a prediction, so it is logged instead.
        """
        try:
            if not self.keeps(request_id):
                return
            if self._sensitive:
                rows = [
                    {name: row[name] for name in row if name not in self._sensitive} for row in rows
                ]
            request = orjson.dumps(request_id).decode()
            head = f'{{"capture":1,"time":{time_ms},"request":{request},{self._source}'
            hashes: list[str | None] | None = None
            if entities is not None and self._hash_entity is not None:
                found = list(map(self._hash_entity, entities))
                hashes = found if any(found) else None
            whole = orjson.dumps(list(zip(ids, rows, outputs, strict=True)))
            named = b"" if hashes is None else b',"entities":' + orjson.dumps(hashes)
            if len(whole) + len(named) <= LINE_BYTES:
                self._write(f"{head}{whole.decode()[1:]}{named.decode()}}}\n")
                return
            for part in _parts(ids, rows, outputs, hashes):
                self._write(f"{head}{part}}}\n")
        except Exception as error:
            line = {"level": "error", "message": "a request was not captured", "error": repr(error)}
            self._write(orjson.dumps(line).decode() + "\n")


def _parts(
    ids: Sequence[str],
    rows: Sequence[dict[str, Any]],
    outputs: Sequence[Sequence[float]],
    hashes: Sequence[str | None] | None,
) -> Iterator[str]:
    """Split rows into the ends of lines, each short enough; raises ``ValueError``.

    A single row beyond that is left out, and said so once the others are written.
    """
    too_long: list[str] = []
    part: list[str] = []
    named: list[str | None] = []
    size = 0
    each = hashes or [None] * len(ids)
    for identifier, row, output, entity in zip(ids, rows, outputs, each, strict=True):
        item = orjson.dumps([identifier, row, output])
        length = len(item) + len(entity or "null") + 4
        if length > LINE_BYTES:
            too_long.append(identifier)
            continue
        if part and size + length > LINE_BYTES:
            yield _end_line(part, named)
            part, named, size = [], [], 0
        part.append(item.decode())
        named.append(entity)
        size += length
    if part:
        yield _end_line(part, named)
    if too_long:
        raise ValueError(f"rows of more than {LINE_BYTES} bytes: {', '.join(too_long)}")


def _end_line(items: Sequence[str], hashes: Sequence[str | None]) -> str:
    entities = f',"entities":{orjson.dumps(hashes).decode()}' if any(hashes) else ""
    return f"{','.join(items)}]{entities}"
