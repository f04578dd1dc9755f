"""The language that training, functions, infrastructure and tests share."""
