"""Parquet, in and out; pyarrow takes 100 ms to import, so only those who need it do."""

import io
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from core.contract import Contract
from core.errors import DataError
from core.scoring import Unit
from lambdas.score.blocks import Part
from lambdas.score.columns import Matrix, Values
from lambdas.score.storage import Found, Store

READ_ROWS = 4096


class S3File(io.RawIOBase):
    """An object as a file that can be read anywhere; pyarrow reads the parts it needs."""

    def __init__(self, store: Store, bucket: str, found: Found) -> None:
        """Read exactly this state of the object."""
        self._store, self._bucket, self._found = store, bucket, found
        self._position = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read anywhere."""
        return True

    def tell(self) -> int:
        """Give the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position."""
        base = (0, self._position, self._found.size)[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read from the position on."""
        end = self._found.size if size < 0 else min(self._position + size, self._found.size)
        if end <= self._position:
            return b""
        start, self._position = self._position, end
        return self._store.read(self._bucket, self._found.key, self._found.etag, start, end)


def _open(store: Store, bucket: str, found: Found) -> Any:
    try:
        return pq.ParquetFile(S3File(store, bucket, found), pre_buffer=False)
    except pa.ArrowException as error:
        raise DataError(f"{found.key} is no Parquet file: {error}") from error


def measure_row_groups(store: Store, bucket: str, found: Found) -> list[tuple[int, int]]:
    """Give the bytes and rows of each row group."""
    metadata = _open(store, bucket, found).metadata
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    return [(group.total_byte_size, group.num_rows) for group in groups]


def read_row_groups(
    store: Store, bucket: str, found: Found, unit: Unit, contract: Contract
) -> Iterator[Part]:
    """Give the rows of some row groups, in blocks."""
    file = _open(store, bucket, found)
    types = {column.name: column.type for column in contract.columns}
    identifier = contract.id_column
    try:
        for batch in file.iter_batches(READ_ROWS, row_groups=range(unit.start, unit.end)):
            names = batch.schema.names

            def row(place: int, batch: Any = batch, names: list[str] = names) -> dict[str, Any]:
                return {
                    name: _to_values(column.slice(place, 1), types.get(name, ""))[0]
                    for name, column in zip(names, batch.columns, strict=True)
                }

            columns = {
                name: _to_columns(column, types[name]) if name in types else ()
                for name, column in zip(names, batch.columns, strict=True)
            }
            named = None
            if identifier in names:
                named = _to_values(batch.column(names.index(identifier)), "")
            yield Part(batch.num_rows, columns, False, named, (), row, {})
    except pa.ArrowException as error:
        raise DataError(f"{found.key} cannot be read: {error}") from error


def _to_columns(column: Any, kind: str) -> Values:
    """Give a column's values for encoding: numbers as an array, anything else as they are."""
    arrow = column.type
    if kind in ("number", "integer") and (
        pa.types.is_floating(arrow) or pa.types.is_integer(arrow)
    ):
        numbers: Matrix = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return numbers
    return _to_values(column, kind)


def _to_values(column: Any, kind: str) -> list[Any]:
    """Give a column's values as JSON would hold them: numbers, text, truth, moments."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    elif pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))
    elif kind in ("category", "text") and not pa.types.is_string(column.type):
        column = column.cast(pa.string())
    if pa.types.is_floating(column.type):
        # A table's NaN is a missing value; JSON has none.
        return [None if value != value else value for value in column.to_pylist()]
    return cast("list[Any]", column.to_pylist())


def write_parquet(names: Sequence[str], columns: Sequence[Sequence[Any]]) -> bytes:
    """Write columns as a Parquet file."""
    arrays = [pa.array(values) if values else pa.array([], pa.string()) for values in columns]
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays, names=list(names)), sink, compression="zstd")
    return sink.getvalue()
