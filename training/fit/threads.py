"""Limits on threads: small work is faster on one."""

from collections.abc import Iterator
from contextlib import contextmanager

from training.arrays import FloatArray

SMALL_CELLS = 500_000  # below, threads cost more than they save


@contextmanager
def limit_threads(matrix: FloatArray) -> Iterator[None]:
    """Keep small work on one thread: starting and joining more costs more than they save."""
    if matrix.size >= SMALL_CELLS:
        yield
        return
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(limits=1):
        yield
