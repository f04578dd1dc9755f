"""The infrastructure: one construct a file, three stacks that compose and grant."""
