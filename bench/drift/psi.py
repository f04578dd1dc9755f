"""The population stability index (PSI), a common drift rule, for comparison."""

from __future__ import annotations

import numpy as np

from bench.drift.sources import Table


def psi_alarms(reference: Table, window: Table) -> bool:
    """Return whether any column's PSI over 10 quantile bins exceeds 0.2."""
    for name, before in reference.items():
        after = window[name]
        if before.dtype.kind == "f":
            edges = np.unique(np.nanquantile(before, np.arange(1, 10) / 10))
            a = np.bincount(np.searchsorted(edges, before[~np.isnan(before)]), minlength=10)
            b = np.bincount(np.searchsorted(edges, after[~np.isnan(after)]), minlength=10)
        else:
            names = sorted(set(before) | set(after))
            place = {value: i for i, value in enumerate(names)}
            a = np.bincount([place[value] for value in before], minlength=len(names))
            b = np.bincount([place[value] for value in after], minlength=len(names))
        p = np.maximum(a / max(a.sum(), 1), 1e-4)
        q = np.maximum(b / max(b.sum(), 1), 1e-4)
        if float(((p - q) * np.log(p / q)).sum()) > 0.2:
            return True
    return False
