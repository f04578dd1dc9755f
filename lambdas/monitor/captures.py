"""Read captured predictions: gzipped JSON lines, whatever state they arrive in."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from core.entities import HASH

_DECODER = json.JSONDecoder()
_LONGEST_LINE = 8 << 20


class Row(NamedTuple):
    """One captured prediction; `entity` is the keyed hash of whose row it is, if that is known."""

    prediction: str
    values: dict[str, Any]
    outputs: list[float]
    entity: str = ""


class Capture(NamedTuple):
    """One captured request, or a part of one."""

    time: int
    request: str
    run: str
    version: str
    weight: float
    rows: list[Row]


def read_captures(chunks: Iterator[bytes]) -> Iterator[Capture | None]:
    """Yield the captures of an object, and None for each piece that is none.

    A truncated object yields what came before the cut, then None. An object that is not gzipped is
    read as it is.
    """
    for line in _lines(chunks):
        if line is None:
            yield None
            continue
        text = line.decode("utf-8", "replace").strip()
        while text:  # Firehose adds no separator unless it is told to: several may share a line
            try:
                document, end = _DECODER.raw_decode(text)
            except (ValueError, RecursionError):
                yield None
                break
            yield _capture(document) if is_text(text, document) else None
            text = text[end:].lstrip()


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes | None]:
    held = b""
    intact = True
    for piece in unzip_chunks(chunks):
        if piece is None:
            intact = False
            break
        held += piece
        *whole, held = held.split(b"\n")
        yield from whole
        if len(held) > _LONGEST_LINE:  # no record is that long: this is something else
            yield None
            return
    if intact:
        if held:
            yield held
    else:
        yield None


def unzip_chunks(chunks: Iterator[bytes]) -> Iterator[bytes | None]:
    """Yield content, unzipped where it is gzipped; None at the end if it was cut short."""
    first = b""
    while len(first) < 2 and (more := next(chunks, None)) is not None:
        first += more
    if first[:2] != b"\x1f\x8b":
        yield first
        yield from chunks
        return
    unzip = zlib.decompressobj(wbits=31)
    pending = first
    try:
        while True:
            while pending:
                yield unzip.decompress(pending, 1 << 22)
                pending = unzip.unconsumed_tail
                if unzip.eof:  # gzip members may follow one another
                    pending = unzip.unused_data
                    if pending:
                        unzip = zlib.decompressobj(wbits=31)
            more = next(chunks, None)
            if more is None:
                break
            if unzip.eof:
                unzip = zlib.decompressobj(wbits=31)
            pending = more
    except zlib.error:
        yield None
        return
    if not unzip.eof:
        yield unzip.flush()
        yield None


def _capture(document: object) -> Capture | None:
    try:
        if not isinstance(document, dict) or document["capture"] != 1:
            return None
        found = document["rows"]
        entities = document.get("entities") or [None] * len(found)
        rows = [
            Row(str(prediction), dict(values), [_number(o) for o in outputs], _hash(entity))
            for (prediction, values, outputs), entity in zip(found, entities, strict=True)
        ]
        weight = float(document.get("weight", 1.0))
        time = int(document["time"])
        if not rows or not math.isfinite(weight) or weight <= 0.0 or time < 0:
            return None
        return Capture(
            time,
            str(document["request"]),
            str(document["run"]),
            str(document.get("version", "")),
            weight,
            rows,
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _hash(value: object) -> str:
    """Read an entity's hash; raises ValueError for anything else, such as the entity itself."""
    if value is None:
        return ""
    if not isinstance(value, str) or not HASH.fullmatch(value):
        raise ValueError("an entity is captured as its hash")
    return value


def _number(value: object) -> float:
    return math.nan if value is None else float(value)  # type: ignore[arg-type]


def is_text(source: str, document: object) -> bool:
    """Say whether JSON holds text only: half a surrogate pair can be read, and never be written."""
    if "\\ud" not in source and "\\uD" not in source:
        return True
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def hash_text(*parts: str) -> int:
    """Name a text by 64 bits: 100 million of them hold a repeat once in 3,700 times."""
    joined = "\x1f".join(parts).encode()
    return int.from_bytes(hashlib.blake2b(joined, digest_size=8).digest(), "little")
