"""Compare what was served with what was trained on, and say what moved."""
