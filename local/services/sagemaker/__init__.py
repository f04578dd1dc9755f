"""SageMaker: training and tuning jobs, the model registry."""
