"""The one way in which the local cloud changes moto: named parts are replaced, and put back."""

from __future__ import annotations

from typing import Any

import moto

# The replaced attributes are private to moto; they were checked in this version.
MOTO_VERSION = "5.2.5"
_ABSENT = object()


class SeamError(RuntimeError):
    """Say that moto is not what the local cloud was written for."""


class Seams:
    """Replace attributes of moto's classes and modules, and put the originals back."""

    def __init__(self) -> None:
        if moto.__version__ != MOTO_VERSION:
            raise SeamError(
                f"the local cloud replaces private parts of moto {MOTO_VERSION}, but"
                f" {moto.__version__} is installed; install the pinned one (requirements-dev.txt)"
            )
        self._originals: list[tuple[Any, str, Any]] = []

    def replace(self, owner: Any, name: str, new: Any) -> Any:
        """Put `new` in place of `owner.name` and return the original; the name must exist."""
        if name not in vars(owner):
            raise SeamError(f"moto {MOTO_VERSION} was expected to define {name!r} on {owner!r}")
        raw = vars(owner)[name]
        original = getattr(owner, name)
        setattr(owner, name, new)
        self._originals.append((owner, name, raw))
        return original

    def add(self, owner: Any, name: str, new: Any) -> None:
        """Give `owner` what moto lacks under `name`."""
        if name in vars(owner):
            raise SeamError(f"moto {MOTO_VERSION} was expected not to define {name!r} on {owner!r}")
        setattr(owner, name, new)
        self._originals.append((owner, name, _ABSENT))

    def close(self) -> None:
        """Put everything back, the last replaced first."""
        while self._originals:
            owner, name, raw = self._originals.pop()
            if raw is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, raw)
