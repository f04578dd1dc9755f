"""The AWS services of the local cloud: one folder each, which `service.py` describes."""
