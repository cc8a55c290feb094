"""Robustness: the benchmark's queries perturbed with a seed, and what that costs."""
