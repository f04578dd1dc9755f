"""Every error that Driftless raises on purpose.

::

    DriftlessError                 caught at the edge: a command, a handler, a training job
    ├── SettingsError              project.toml: an unknown key, a value out of range
    ├── ContractError              rows or labels that the contract refuses; lists every problem
    ├── DataError                  a table that cannot be read or trained on
    ├── BundleError                a model folder that is incomplete, altered or not one of ours
    ├── EngineError                model tables that cannot be scored
    ├── ExportError                an exported model that does not answer what scikit-learn answers
    ├── TrainingError              a training job that cannot end in a model
    ├── DriftError                 a baseline or a window that cannot be judged
    ├── DeliveryError              a promotion, canary or rollback that cannot go on
    ├── StorageError               an object that cannot be read or written
    └── OperationError             a command that cannot do what it was asked for

Outside errors are translated where they enter (`raise BundleError(...) from error`), logged once
where they are handled, and never swallowed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple


class DriftlessError(Exception):
    """Base of all errors raised on purpose; its text says what, where and what to do."""


class SettingsError(DriftlessError):
    """A mistake in project.toml, in one line that names the file and the key."""


class Problem(NamedTuple):
    """One thing wrong with one value of a request or of a table.

    `row` counts from 0 and is None where the problem is not one row's; `column` is None where it is
    not one column's. `code` is stable and made for programs, `message` is made for people.
    """

    row: int | None
    column: str | None
    message: str
    code: str

    def to_dict(self) -> dict[str, Any]:
        """Give the problem as JSON-ready members, without those that do not apply."""
        return {key: value for key, value in self._asdict().items() if value is not None}

    def __str__(self) -> str:
        """Say where and what in one line."""
        where = [f"row {self.row}"] if self.row is not None else []
        where += [f"column {self.column!r}"] if self.column is not None else []
        return f"{', '.join(where)}: {self.message}" if where else self.message


class ContractError(DriftlessError):
    """Rows, labels or columns that the contract refuses; `problems` lists all of them at once."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        """Keep the problems; the text shows the first few and counts the rest."""
        self.problems: list[Problem] = list(problems)
        shown = "; ".join(str(problem) for problem in self.problems[:5])
        more = f"; and {len(self.problems) - 5} more" if len(self.problems) > 5 else ""
        super().__init__(f"{message}: {shown}{more}" if shown else message)


class DataError(DriftlessError):
    """A table that cannot be read or trained on; `problems` names columns and counts."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        """Keep the problems; the text lists all of them, one a line."""
        self.problems: list[Problem] = list(problems)
        super().__init__("\n".join([message, *(f"  - {problem}" for problem in self.problems)]))


class BundleError(DriftlessError):
    """A model folder that is incomplete, altered or not written by this project."""


class EngineError(DriftlessError):
    """Model tables that cannot be read or scored."""


class ExportError(DriftlessError):
    """An exported model whose answers differ from scikit-learn's by more than the stated bound."""


class TrainingError(DriftlessError):
    """A training job that cannot end in a model; the text goes to SageMaker's `failure` file."""


class DriftError(DriftlessError):
    """A baseline or a window that cannot be summarised or judged."""


class DeliveryError(DriftlessError):
    """A promotion, canary or rollback that cannot go on."""


class StorageError(DriftlessError):
    """An object in storage that cannot be read or written."""


class OperationError(DriftlessError):
    """A command that cannot do what it was asked for."""
