"""Judging: evaluation on held-out rows, the duel with the champion, the report."""
