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

# What each kind is about, as a name shows it; "" where there is only one such doubt about a run.
DOUBT_KINDS: dict[str, str] = {
    "alone": "COLUMN",
    "presence": "COLUMN",
    "mean": "COLUMN",
    "sum": "COLUMN,COLUMN",
    "product": "COLUMN,COLUMN",
    "files": "",
    "owner": "COLUMN",
    "near-copies": "",
    "drawn-again": "CLASS",
    "order": "",
    "shrunk": "",
    "not-compared": "",
    "too-good": "",
    "carries": "COLUMN",
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
        if kind not in DOUBT_KINDS:
            close = difflib.get_close_matches(kind, list(DOUBT_KINDS), n=1)
            meant = f"; did you mean {_form(close[0])!r}?" if close else "."
            known = ", ".join(_form(other) for other in DOUBT_KINDS)
            yield f"no doubt is called {name!r}{meant} The names are {known}"
        elif DOUBT_KINDS[kind] and not about:
            yield f"{name!r} does not say about what; write {_form(kind)!r}, as the report has it"
        elif colon and not DOUBT_KINDS[kind]:
            yield f"{name!r} is about the whole table; write {kind!r}"


def _form(kind: str) -> str:
    return f"{kind}:{DOUBT_KINDS[kind]}" if DOUBT_KINDS[kind] else kind
