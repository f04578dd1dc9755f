"""The training job: from a table to a model bundle."""
