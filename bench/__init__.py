"""Measurements beside peers, one command each: `python -m bench --help`."""
