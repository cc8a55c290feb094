"""Scorers: independent programs that score the same TREC files."""
