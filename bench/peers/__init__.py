"""The other projects that are benchmarked, each in a virtual environment of its own."""
