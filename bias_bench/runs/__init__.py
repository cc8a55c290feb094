"""Runs: a list of stages, and one way to execute it."""
