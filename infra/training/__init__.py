"""What the training stack is composed of: the registry, and what trains."""
