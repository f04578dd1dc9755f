"""Looks at a table and says what it holds: types, roles, and what a person should know about it.

`infer_contract` is what `ops init` writes project.toml from; `resolve_contract` completes the
contract that project.toml declares with what only the data can tell: classes and categories.
"""

from training.data.inspection.categories import MAX_LEARNED_CATEGORIES, learn_categories
from training.data.inspection.contract import infer_contract, resolve_contract
from training.data.inspection.findings import ColumnFinding, Findings

__all__ = [
    "MAX_LEARNED_CATEGORIES",
    "ColumnFinding",
    "Findings",
    "infer_contract",
    "learn_categories",
    "resolve_contract",
]
