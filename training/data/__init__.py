"""Tables: read, typed, checked and split."""
