"""Exporting: tables and graphs, and the proof that they answer as scikit-learn does."""
