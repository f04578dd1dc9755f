"""CloudFormation: stacks, change sets, rollback."""
