"""S3: buckets, and what they tell about their objects."""
