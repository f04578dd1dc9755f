"""The kinds of doubt that a run may raise about its own claim, and that `[gates] accepted` names.

A doubt's name is its kind and, where it is about something in the table, a colon and what it is
about: `near-copies`, `alone:balance`, `sum:casual,registered`, `drawn-again:yes`.
"""

import difflib
from collections.abc import Iterable, Iterator

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
