"""Benchmarks against other projects, one command each: `python -m bench --help`."""
