"""Replays golden predictions on a new version before it gets traffic."""
