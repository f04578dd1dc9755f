"""What becomes of records on their way to S3: a destination's processors and its prefixes."""

from __future__ import annotations

import gzip
import json
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_EXPRESSION = re.compile(r"!\{(timestamp|firehose):([^}]*)\}")
_JAVA = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}


class StreamError(ValueError):
    """Say what in a delivery stream is not modelled."""


def fill_prefix(prefix: str, at: datetime, error_type: str | None = None) -> str:
    """Fill a prefix's expressions; without a timestamp in it, UTC hours are appended.

    Amazon Data Firehose Developer Guide, "Custom prefixes for Amazon S3 objects".
    """

    def fill(found: re.Match[str]) -> str:
        kind, argument = found[1], found[2]
        if kind == "timestamp":
            return at.strftime(re.sub(r"y{4}|MM|dd|HH|mm|ss", lambda m: _JAVA[m[0]], argument))
        if argument == "random-string":
            return uuid.uuid4().hex[:11]
        if argument == "error-output-type" and error_type is not None:
            return error_type
        raise StreamError(f"the prefix {prefix!r} has !{{firehose:{argument}}}, not modelled here")

    filled = _EXPRESSION.sub(fill, prefix)
    if "!{timestamp:" not in prefix and error_type is None:
        filled += at.astimezone(UTC).strftime("%Y/%m/%d/%H/")
    return filled


def process(
    records: list[bytes], destination: Mapping[str, Any]
) -> tuple[list[bytes], list[tuple[bytes, str]]]:
    """Run a destination's processors; return what is delivered, and what failed with its reason."""
    configuration = destination.get("ProcessingConfiguration") or {}
    processors = configuration.get("Processors") or () if configuration.get("Enabled") else ()
    good, bad = list(records), []
    for processor in processors:
        parameters = {
            p["ParameterName"]: p["ParameterValue"] for p in processor.get("Parameters") or ()
        }
        kind, kept = processor["Type"], []
        for record in good:
            try:
                kept += _apply(kind, parameters, record)
            except (OSError, EOFError, ValueError, KeyError) as error:
                if isinstance(error, StreamError):
                    raise
                bad.append((record, f"{kind}: {error}"))
        good = kept
    return good, bad


def _apply(kind: str, parameters: Mapping[str, str], record: bytes) -> list[bytes]:
    if kind == "Decompression":
        return [gzip.decompress(record)]
    if kind == "CloudWatchLogProcessing":
        if parameters.get("DataMessageExtraction", "").lower() != "true":
            return [record]
        document = json.loads(record)
        if document["messageType"] != "DATA_MESSAGE":
            return []
        return ["\n".join(event["message"] for event in document["logEvents"]).encode()]
    if kind == "AppendDelimiterToRecord":
        delimiter = parameters.get("Delimiter", "\\n")
        return [record + delimiter.encode().decode("unicode_escape").encode()]
    raise StreamError(f"the Firehose processor {kind} is not modelled here")
