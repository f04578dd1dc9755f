"""ECR: image repositories."""
