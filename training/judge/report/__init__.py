"""report.html: what a person reads before approving a model; one file, no scripts, no links out."""

from training.judge.report.page import render_report, write_report
from training.judge.report.verdict import find_missed_gates

__all__ = ["find_missed_gates", "render_report", "write_report"]
