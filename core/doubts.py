"""The doubts of a run about its own claim: how they are called, accepted and read.

A doubt's name is its kind and, where it is about something in the table, a colon and what it is
about: `near-copies`, `alone:balance`, `sum:casual,registered`, `drawn-again:yes`. The training job
raises them (`training.judge.doubting`), evaluation.json lists them, and a version with one that
`[gates] accepted` does not name waits for a person.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# What each kind may be about, as its names show it; "" where a name is the kind alone.
DOUBT_KINDS: dict[str, tuple[str, ...]] = {
    "alone": ("COLUMN",),
    "presence": ("COLUMN",),
    "value": ("COLUMN",),
    "mean": ("COLUMN",),
    "sum": ("COLUMN,COLUMN",),
    "product": ("COLUMN,COLUMN",),
    "together": ("COLUMN,COLUMN",),
    "window": ("COLUMN",),
    "files": ("",),
    "owner": ("COLUMN", "COLUMN+COLUMN"),
    "near-copies": ("",),
    "drawn-again": ("CLASS",),
    "order": ("", "COLUMN"),
    "shrunk": ("",),
    "not-compared": ("",),
    "too-good": ("",),
    "carries": ("COLUMN",),
    "refuted": ("RUN",),
}


@dataclass(frozen=True)
class RaisedDoubt:
    """A doubt as evaluation.json has it; `accepted` as the settings of its run said."""

    name: str
    sentence: str
    accepted: bool = False


def read_doubts(evaluation: Mapping[str, Any]) -> tuple[RaisedDoubt, ...]:
    """Read the doubts of evaluation.json, those that hold first; none of older releases' bundles.

    Whitespace is made single spaces: a column's name may hold a line break, a message must not.
    """
    doubts = [
        RaisedDoubt(
            str(entry["name"]),
            " ".join(str(entry["sentence"]).split()),
            entry.get("accepted") is True,
        )
        for entry in evaluation.get("doubts") or ()
    ]
    return tuple(sorted(doubts, key=lambda doubt: doubt.accepted))


def write_accepted(names: Iterable[str]) -> str:
    """Write the key of `[gates]` that accepts these doubts, as TOML."""
    # What JSON escapes in a string, TOML reads; DEL, which JSON leaves as it is, TOML forbids.
    listed = (json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f") for name in names)
    return f"accepted = [{', '.join(dict.fromkeys(listed))}]"


def find_unknown_doubts(names: Iterable[str]) -> Iterator[str]:
    """Say of each name that no doubt can have why that is, and what to write."""
    for name in names:
        kind, colon, about = name.partition(":")
        forms = _list_forms(kind)
        if not forms:
            close = difflib.get_close_matches(kind, list(DOUBT_KINDS), n=1)
            meant = f"; did you mean {_list_forms(close[0])[0]!r}?" if close else "."
            known = ", ".join(form for other in DOUBT_KINDS for form in _list_forms(other))
            yield f"no doubt is called {name!r}{meant} The names are {known}"
        elif not about and (colon or kind not in forms):
            written = " or ".join(map(repr, forms))
            yield f"{name!r} does not say about what; write {written}, as the report has it"
        elif about and forms == [kind]:
            yield f"{name!r} is about the whole table; write {kind!r}"


def _list_forms(kind: str) -> list[str]:
    return [f"{kind}:{about}" if about else kind for about in DOUBT_KINDS.get(kind, ())]
