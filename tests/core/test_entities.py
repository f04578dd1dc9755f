"""An entity is spelled alike wherever it is read, and known by its keyed hash only."""

import hashlib
from typing import Any

import pytest

from core.entities import HASH, EntityKey, spell_entity
from core.errors import BundleError

KEY = bytes(range(32))


def rfc_2104(key: bytes, text: bytes) -> bytes:
    """Compute HMAC-SHA-256 as the RFC writes it, for keys of up to 64 bytes."""
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in block) + text).digest()
    return hashlib.sha256(bytes(b ^ 0x5C for b in block) + inner).digest()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("C-17", "C-17"),
        (" C-17\t", "C-17"),
        ("007", "007"),
        (17, "17"),
        (17.0, "17"),
        (-3.0, "-3"),
        (2.5, "2.5"),
        (2**53 + 1, "9007199254740993"),
        (None, None),
        (float("nan"), None),
        ("", None),
        ("  ", None),
        ("N/A", None),
    ],
)
def test_an_entity_has_one_spelling(value: Any, text: str | None) -> None:
    """A table with gaps makes 17 a 17.0, a client may send either: it is the same customer."""
    assert spell_entity(value) == text


def test_the_hash_is_an_hmac_under_the_columns_own_key() -> None:
    """128 bits of HMAC-SHA-256; the tag in front names key and column."""
    secret = rfc_2104(KEY, b"column\x1fcustomer")
    expected = rfc_2104(secret, b"entity\x1f17").hex()[:32]
    hasher = EntityKey(KEY, "customer")
    assert hasher.hash(17.0) == hasher.hash("17") == f"{hasher.tag}:{expected}"
    assert hasher.tag == rfc_2104(secret, b"tag").hex()[:8]
    assert HASH.fullmatch(str(hasher.hash("17")))
    assert hasher.hash(None) is None


def test_hashes_of_another_key_or_column_are_told_by_their_tag() -> None:
    """What cannot be compared must not look as if it could."""
    tags = {
        EntityKey(KEY, "customer").tag,
        EntityKey(KEY, "household").tag,
        EntityKey(bytes(32), "customer").tag,
    }
    assert len(tags) == 3


def test_half_a_surrogate_pair_is_hashed_and_named_in_no_error() -> None:
    """An encoding error would carry the text into the log."""
    assert EntityKey(KEY, "customer").hash("\ud800x")


def test_what_is_no_key_is_refused() -> None:
    """A cut file must not become a weak key."""
    with pytest.raises(BundleError, match=r"entity\.key has 5 bytes, not 32"):
        EntityKey(b"short", "customer")
