"""Decides whether a training run starts, and pins what it will read."""
