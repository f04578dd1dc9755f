"""The tables of a model, and the refusal of a model that has none."""

from dataclasses import dataclass
from typing import Any


class NotFoldable(Exception):
    """A model that has no tables; the text says which part is in the way."""


@dataclass(frozen=True)
class Tables:
    """A family and its tables, as `model.json` holds them."""

    family: str
    content: dict[str, Any]
