"""Lambda: functions that run."""
