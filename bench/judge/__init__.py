"""How often the judge is fooled: traps, honest tables, claims against service, years of runs."""

from bench.judge.measurement import run

__all__ = ["run"]
