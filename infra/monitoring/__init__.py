"""What the monitoring stack is composed of: captures, the monitor, the dashboard, the budget."""
