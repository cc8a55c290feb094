"""Train multilingual dense retrievers, benchmark them and measure their language bias.

The names below are the Python API (docs/python.md). Importing this loads none of what they need.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = [
    "BiasBenchError", "BiasBenchWarning", "Candidate", "Collection", "Comparison", "DataError",
    "Metrics", "Query", "RankDistance", "Run", "RunRecord", "Topic", "UsageError", "Vectors",
    "compare", "evaluate", "load_collection", "load_run", "mine", "rank_distance", "score",
    "show_progress", "train",
]  # fmt: skip

if TYPE_CHECKING:
    from bias_bench.api.comparison import Comparison, compare
    from bias_bench.api.distance import RankDistance, rank_distance
    from bias_bench.api.evaluate import evaluate, load_collection
    from bias_bench.api.run import Run, load_run
    from bias_bench.api.score import score
    from bias_bench.api.train import mine, train
    from bias_bench.data.collection import Candidate, Collection, Query, Topic
    from bias_bench.encoders.objects import Vectors
    from bias_bench.errors import BiasBenchError, BiasBenchWarning, DataError, UsageError
    from bias_bench.evaluation.metrics_document import Metrics
    from bias_bench.evaluation.run_record import RunRecord
    from bias_bench.system.console import show_progress
else:
    # hidden from type checkers, to whom it would say that every name exists
    _MODULES = {
        "api.comparison": ("Comparison", "compare"),
        "api.distance": ("RankDistance", "rank_distance"),
        "api.evaluate": ("evaluate", "load_collection"),
        "api.run": ("Run", "load_run"),
        "api.score": ("score",),
        "api.train": ("mine", "train"),
        "system.console": ("show_progress",),
        "data.collection": ("Candidate", "Collection", "Query", "Topic"),
        "encoders.objects": ("Vectors",),
        "errors": ("BiasBenchError", "BiasBenchWarning", "DataError", "UsageError"),
        "evaluation.metrics_document": ("Metrics",),
        "evaluation.run_record": ("RunRecord",),
    }

    def __getattr__(name):
        from importlib import import_module

        for module, names in _MODULES.items():
            if name in names:
                return getattr(import_module(f"{__name__}.{module}"), name)
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")

    def __dir__():
        return sorted({*globals(), *__all__})
