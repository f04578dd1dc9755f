"""Real tables: honest ones, in which nothing must be doubted, and known leaks to be found."""
