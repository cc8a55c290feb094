"""Scores by pytrec-eval-terrier: trec_eval's own C code as a Python extension.

It takes the place of pyserini's program where there is none, as on Linux on ARM.
"""

from __future__ import annotations

from collections.abc import Mapping

from bias_bench.evaluation.metrics import Metric
from bias_bench.evaluation.ranking import Files
from bias_bench.evaluation.scorers.trec_eval import cut_reciprocal_rank, printed_name, requests
from bias_bench.evaluation.trec import by_query, read_qrels, read_run


def score(
    settings: Mapping[str, Files], metrics: tuple[Metric, ...]
) -> dict[str, dict[Metric, dict[str, float]]]:
    """Per setting and metric the value of every query that has results and judgements."""
    return {name: _score_setting(files, metrics) for name, files in settings.items()}


def _score_setting(files: Files, metrics: tuple[Metric, ...]) -> dict[Metric, dict[str, float]]:
    import pytrec_eval

    run, qrels = by_query(read_run(files.run)), by_query(read_qrels(files.qrels))
    values_of = pytrec_eval.RelevanceEvaluator(qrels, set(requests(metrics))).evaluate(run)
    return {
        metric: {
            query: cut_reciprocal_rank(metric, values[printed_name(metric)])
            for query, values in values_of.items()
        }
        for metric in metrics
    }
