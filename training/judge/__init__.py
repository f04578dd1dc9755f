"""Judging: evaluation on held-out rows, comparison with the champion, the report."""
