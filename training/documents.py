"""The JSON documents of a bundle."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def to_json(document: Mapping[str, Any]) -> bytes:
    """Write JSON that any reader accepts: no NaN, no infinities; raises ValueError for those."""
    text = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False, default=_plain)
    return (text + "\n").encode()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not for JSON")
