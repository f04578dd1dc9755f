"""Gates a trained bundle and records it as a model package."""
