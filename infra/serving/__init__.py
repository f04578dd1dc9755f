"""What the serving stack is composed of: the API, its live model, delivery, batch scoring."""
