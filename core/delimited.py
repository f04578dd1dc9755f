"""Delimited text: what separates the fields of a table, and how its bytes become text."""

import csv
import io

SEPARATORS = (",", ";", "\t", "|")


def find_separator(text: str) -> str:
    """Find the separator that splits the first lines most evenly; a comma for a single column."""
    sample = text[: text.rfind("\n") + 1] or text
    best, best_score = ",", (0.0, 0)
    for candidate in SEPARATORS:
        try:
            rows = csv.reader(io.StringIO(sample, newline=""), delimiter=candidate)
            widths = [len(row) for row, _ in zip(rows, range(200), strict=False) if row]
        except csv.Error:
            continue
        if not widths or widths[0] < 2:
            continue
        score = (sum(width == widths[0] for width in widths) / len(widths), widths[0])
        if score > best_score:
            best, best_score = candidate, score
    return best


def find_encoding(head: bytes, given: str = "") -> str:
    """Name the codec of a text by its first bytes; `given` is what project.toml says.

    What is neither UTF-16 nor UTF-8 is taken for Windows-1252, which is what is called latin-1 in
    the wild.
    """
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or given == "utf-16":
        return "utf-16"
    if given == "latin-1":
        return "cp1252"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else the last character is cut in two
            return "cp1252"
    return "utf-8-sig"
