"""Train multilingual dense retrievers, benchmark them and measure their language bias."""

__version__ = "0.1.0"
