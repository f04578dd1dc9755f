"""Scores tables in S3, a unit at a time, for the state machine of batch scoring."""
