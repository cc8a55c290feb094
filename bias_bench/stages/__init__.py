"""A run's stages: one file for the work of each, which `pipeline` puts in order."""
