"""EventBridge: rules, targets, schedules."""
