"""The text of a table's cells, read as the contract's values.

Training and batch scoring read the same files; a cell that means "no value" to one must mean it to
the other.
"""

from typing import Any

from core.contract.columns import Column

# Cells that mean "no value", whatever the column holds (compared in lower case, without blanks).
MISSING = ("", "na", "n/a", "nan", "null", "none", "#n/a", "<na>", "nat", "\\n", "missing")
# Cells that mean "no value" in a column of numbers or dates.
MISSING_AMONG_NUMBERS = (*MISSING, "?", "-", "--", ".", "unknown", "#value!", "#div/0!", "#ref!")

TRUE_WORDS = ("true", "t", "yes", "y", "on", "1")
FALSE_WORDS = ("false", "f", "no", "n", "off", "0")

BLANKS = " \t\r\n\u00a0\u2007\u202f\ufeff"

_MISSING = frozenset(MISSING)
_MISSING_NUMBER = frozenset(MISSING_AMONG_NUMBERS)
_WORDS = {
    **dict.fromkeys((*TRUE_WORDS, "1.0"), True),
    **dict.fromkeys((*FALSE_WORDS, "0.0"), False),
}


def read_cell(column: Column, text: str) -> Any:
    """Read a cell as a value of its column, or None where it means "no value".

    Text that cannot be read is given back as it is, for `rows` to refuse with its reason.
    """
    stripped = text.strip(BLANKS)
    if column.type in ("category", "text"):
        return None if stripped.lower() in _MISSING else stripped
    if column.type in ("number", "integer"):
        try:
            number = float(stripped)
        except ValueError:
            return None if stripped.lower() in _MISSING_NUMBER else text
        # Python reads 1_000 as a number; tables do not write numbers so.
        return text if "_" in text else None if number != number else number
    word = stripped.lower()
    if word in _MISSING_NUMBER:
        return None
    return _WORDS.get(word, text) if column.type == "boolean" else stripped
