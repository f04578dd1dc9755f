"""The functions that run on AWS Lambda, one folder each; none imports another."""
