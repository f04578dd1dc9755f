"""Moves the serving stack's one pointer when a model is approved or rolled back."""
