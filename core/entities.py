"""Whose row it is, kept without keeping the name: a keyed hash of the entity's text.

An *entity* is what a contract's group column names, or its id column where there is no group: the
customer, the patient, the machine. A request may name it; the captured row then carries
`<tag>:<hash>` in its place. The hash is an HMAC (RFC 2104) with SHA-256, cut to 128 bits, under the
key in the model's bundle: without the key nobody can tell by trying names whose row it is. The tag
names the key and the column, so that hashes are compared only with others of the same kind.
"""

import hmac
import re
from typing import Any

from core.contract.cells import BLANKS, MISSING
from core.contract.columns import LARGEST_INTEGER
from core.errors import BundleError

KEY_BYTES = 32
HASH = re.compile(r"[0-9a-f]{8}:[0-9a-f]{32}")
"""What `EntityKey.hash` gives, and no other text that a request may hold passes for."""

_MISSING = frozenset(MISSING)


def spell_entity(value: Any) -> str | None:
    """Spell an entity the same way wherever it is read; None where the value names none.

    A whole number has no decimal point, however a table or a request writes it; text has no blanks
    around it; a cell that means "no value" in a table means it here.
    """
    if isinstance(value, str):
        text = value.strip(BLANKS)
        return None if text.lower() in _MISSING else text
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_INTEGER:
        return str(int(value))
    return spell_entity(str(value))


class EntityKey:
    """Hashes the entities that one column names under one bundle's key."""

    __slots__ = ("_secret", "tag")

    def __init__(self, key: bytes, column: str) -> None:
        """Derive the column's own key; raises BundleError for what is no key."""
        if len(key) != KEY_BYTES:
            raise BundleError(
                f"entity.key has {len(key)} bytes, not {KEY_BYTES}: restore the file, or train "
                "again without this champion"
            )
        self._secret = hmac.digest(key, _to_bytes(f"column\x1f{column}"), "sha256")
        self.tag = hmac.digest(self._secret, b"tag", "sha256")[:4].hex()

    def hash(self, value: Any) -> str | None:
        """Give `<tag>:<hash>` of an entity; None where the value names none."""
        text = spell_entity(value)
        if text is None:
            return None
        digest = hmac.digest(self._secret, _to_bytes(f"entity\x1f{text}"), "sha256")
        return f"{self.tag}:{digest[:16].hex()}"


def _to_bytes(text: str) -> bytes:
    # An error would show the text; half a surrogate pair is hashed like any other character.
    return text.encode("utf-8", "surrogatepass")
