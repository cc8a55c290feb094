"""Every option of an experiment, once; recipes are data."""
