"""The live parts of the local cloud, in the order in which they start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PARTS: dict[str, Callable[..., Any]] = {}
