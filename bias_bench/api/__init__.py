"""The Python API, as `bias_bench` exports it."""
