"""CloudWatch Logs: groups, filters."""
