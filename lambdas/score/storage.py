"""What scoring asks of S3: objects by URI, and pieces of one state of an object."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol


class Found(NamedTuple):
    """An object, as a listing names it."""

    key: str
    etag: str
    size: int


class Store(Protocol):
    """Objects by URI; raises StorageError or DataError."""

    def list(self, uri: str, after: str) -> Iterator[Found]:
        """List the objects below a prefix whose keys come after one, in order."""
        ...

    def read(self, bucket: str, key: str, etag: str, start: int, end: int) -> bytes:
        """Read bytes [start, end) of exactly this state of an object."""
        ...

    def get(self, uri: str) -> bytes:
        """Read an object."""
        ...

    def find(self, uri: str) -> bytes | None:
        """Read an object that may be absent."""
        ...

    def metadata(self, uri: str) -> Mapping[str, str] | None:
        """Return an object's metadata, nothing where there is no object."""
        ...

    def put(self, uri: str, body: bytes, metadata: Mapping[str, str] | None = None) -> None:
        """Write an object: all of it or nothing."""
        ...
