"""What Plan remembers from one run to the next: what was tried, and what people were told.

What the same execution wrote does not count: Step Functions may call Plan again after a fault, and
then nothing was tried or told yet.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

from lambdas.plan.objects import Unread

MEMORY = "runs/plan-memory.json"


class Documents(Protocol):
    """Small objects of the project's bucket."""

    def read(self, key: str) -> bytes | None:
        """Return an object, or nothing when there is none."""
        ...

    def write(self, key: str, body: bytes) -> None:
        """Write an object."""
        ...


@dataclass(frozen=True)
class Note:
    """A state of things, by its version id or digest, and the execution that noted it."""

    state: str
    execution: str


@dataclass(frozen=True)
class Memory:
    """The tables of the last run that trained, what it held, and the unread objects told of."""

    tried: Note | None = None
    held: Note | None = None
    unread: Mapping[str, Note] = field(default_factory=dict)

    @classmethod
    def read(cls, documents: Documents) -> "Memory":
        """Read what earlier runs wrote."""
        body = documents.read(MEMORY)
        if body is None:
            return cls()
        found = json.loads(body)
        tried, held = (Note(**found[name]) if found[name] else None for name in ("tried", "held"))
        return cls(tried, held, {key: Note(**note) for key, note in found["unread"].items()})

    def write(self, documents: Documents) -> None:
        """Keep it for the next run."""
        documents.write(MEMORY, json.dumps(asdict(self), indent=2).encode())

    def has_tried(self, tables: str, execution: str) -> bool:
        """Say whether an earlier execution trained on these tables, whatever came of it."""
        return _is_noted(self.tried, tables, execution)

    def has_told_hold(self, state: str, execution: str) -> bool:
        """Say whether people were told by an earlier execution that this is held."""
        return _is_noted(self.held, state, execution)

    def untold(self, unread: Sequence[Unread], execution: str) -> list[Unread]:
        """Give the objects that people were not told of in this version."""
        return [
            found
            for found in unread
            if not _is_noted(
                self.unread.get(found.version.key), found.version.version_id, execution
            )
        ]

    def note_unread(self, unread: Sequence[Unread], execution: str) -> "Memory":
        """Remember that people are told of these objects; forget those that are gone."""
        new = {found.version.key for found in self.untold(unread, execution)}
        notes = {
            found.version.key: Note(found.version.version_id, execution)
            if found.version.key in new
            else self.unread[found.version.key]
            for found in unread
        }
        return replace(self, unread=notes)


def _is_noted(note: Note | None, state: str, execution: str) -> bool:
    return note is not None and note.state == state and note.execution != execution
