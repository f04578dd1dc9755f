"""How often the drift alarm is false, how soon it finds a shift, and what it costs."""

from bench.drift.measurement import run

__all__ = ["run"]
