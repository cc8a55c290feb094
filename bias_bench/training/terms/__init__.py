"""Terms of the objective, one per file."""
