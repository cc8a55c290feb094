"""Training: batch plan, objective and its terms."""
