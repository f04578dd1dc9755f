"""API Gateway: REST APIs that answer over HTTP."""
