"""Build Python syntax trees from several threads in spite of a defect in CPython.

CPython up to 3.12 counts how deep the tree under construction is once per process, so two threads
that build trees at the same moment can each find the other's depth and stop with a SystemError
("AST constructor recursion depth mismatch"; cpython issue 106905). Both metric expressions and
the routes of moto's web application are built as trees.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

Built = TypeVar("Built")

_ONE_AT_A_TIME = threading.Lock()
# Others in the process (a formatted traceback, say) build trees without asking; they are brief.
_ATTEMPTS = 10


def build_alone(build: Callable[[], Built]) -> Built:
    """Call `build`, which makes syntax trees, alone, and again if another thread disturbed it.

    Raises:
        SystemError: the tree cannot be built, undisturbed or not.
    """
    with _ONE_AT_A_TIME:
        for _ in range(_ATTEMPTS - 1):
            try:
                return build()
            except SystemError as error:
                if "recursion depth mismatch" not in str(error):
                    raise
        return build()
