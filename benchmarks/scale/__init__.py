"""What a large corpus costs: memory and time against the number of passages."""
