"""Answers the REST API: predictions, feedback, the model's card, its OpenAPI document."""
