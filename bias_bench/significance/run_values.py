"""What is compared of finished runs: a metric that all of them have, and its value per query.

A run knows the exact rank of every relevant candidate; a folder of `biasbench score` knows those
down to the end of the given rankings. Where such folders are compared, ranks count down to the
smallest of their depths, in all runs alike: what is deeper counts as right behind the query's own
ranking, cut there, and AP ends there. So equal rankings have equal values, wherever they were made.
The cut-off is in the metric's name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bias_bench.data.units import Unit
from bias_bench.errors import UsageError, nearest
from bias_bench.evaluation.metrics import MEASURES as SCORED
from bias_bench.evaluation.metrics import Metric, compute, parse_metric
from bias_bench.evaluation.metrics_document import Average, Metrics
from bias_bench.evaluation.ranks import RankTable
from bias_bench.evaluation.settings import parse_setting
from bias_bench.significance.differences import Observations
from bias_bench.significance.measures import (
    MEASURES,
    Measure,
    capped_name,
    parse_measure,
    score_measure,
)
from bias_bench.significance.systems import FinishedRun
from bias_bench.system.files import read_parquet

DEFAULT_METRIC = "AP"


class Choice(NamedTuple):
    """What is compared, and down to where ranks count beside it (None: all are exact).

    `notes` say what is other than asked for, and why.
    """

    measure: Measure
    cutoff: int | None
    notes: list[str]


class RunValues(NamedTuple):
    """A metric's values in one run, a row per query: columns of equal length, `values` float64.

    Paragraphs and articles are "" where they are not known.
    """

    topics: Sequence[str]
    settings: Sequence[str]
    values: np.ndarray
    paragraphs: Sequence[str]
    articles: Sequence[str]

    def units(self, unit: Unit) -> Sequence[str]:
        """The topic, paragraph or article of each query."""
        return {"topic": self.topics, "paragraph": self.paragraphs, "article": self.articles}[unit]

    def by(self, unit: Unit) -> Observations:
        """The values with the unit that is resampled as a whole."""
        return Observations(self.topics, self.settings, self.values, self.units(unit))


def choose_measure(asked: str | None, runs: Sequence[FinishedRun]) -> Choice:
    """The metric called `asked`, by default AP, as all runs know it.

    Raises UsageError for a metric that is unknown, or that not all runs know.
    """
    depth = min((run.record.depth for run in runs if run.record.depth), default=None)
    ending = next((run.name for run in runs if run.record.depth == depth), "")
    end = f"the rankings of {ending} end at {depth}"
    if asked is None and depth:
        measure = score_measure(capped_name(DEFAULT_METRIC, depth))
        note = f"{end}, so there is no AP of whole ones, and the metric is {measure.name}"
        return Choice(measure, depth, [note])
    measure = parse_measure(asked or DEFAULT_METRIC)
    if measure.source == "scores":
        _require_known(measure, runs, depth, end)
        return Choice(measure, depth, [])
    if depth and measure.cutoff > depth:
        raise UsageError(f"no {measure.name}: {end}; ask for {measure.capped(depth).name} at most")
    capped = measure if measure.cutoff or not depth else measure.capped(depth)
    if capped == measure:
        return Choice(measure, measure.cutoff or depth, [])
    note = f"{end}, so ranks are cut there in all runs, and the metric is {capped.name}"
    return Choice(capped, depth, [note])


def _require_known(
    measure: Measure, runs: Sequence[FinishedRun], depth: int | None, end: str
) -> None:
    """Every run holds the metric, or its ranks are known deep enough to compute it."""
    name, held = measure.name, [metrics_of(run) for run in runs]
    shared, known = set.intersection(*held), set.union(*held)
    if name in shared:
        return
    if measure.base in SCORED and "@" in name:
        cutoff = parse_metric(name).cutoff
        if not depth or cutoff <= depth:
            return
    elif name not in known:
        raise UsageError(f"unknown metric '{name}': {nearest(name, {*MEASURES, *known})}")
    if depth:
        least = capped_name(DEFAULT_METRIC, depth)
        raise UsageError(
            f"no {name}: {end}; all runs have {', '.join(sorted({*shared, least}))}: "
            f"choose one of these, or leave out --metric for {least}"
        )
    run, scores = next(pair for pair in zip(runs, held, strict=True) if name not in pair[1])
    raise UsageError(
        f"{run.folder}: its scores hold no {name}, but {', '.join(sorted(scores))}; choose a "
        "metric that all runs have, or repeat the run"
    )


def metrics_of(run: FinishedRun) -> set[str]:
    """The metrics that the run's scores hold."""
    column = read_parquet(run.folder / "scores.parquet", ["metric"])["metric"]
    return set(column.unique().to_pylist())


def read_values(run: FinishedRun, measure: Measure) -> RunValues:
    """One value per query: the exact scorer's, or from the exact ranks.

    A metric with a cut-off that the run's scores lack is computed from its ranks.
    """
    if measure.source == "bias":
        from bias_bench.bias.catalogue import query_bias

        bias = query_bias(run.folder, measure.base, measure.cutoff or None)
        return RunValues(bias.topics, bias.settings, bias.values, bias.paragraphs, bias.articles)
    if measure.source == "robustness":
        from bias_bench.robustness.table import FILE, read_means

        means = read_means(run.folder / FILE, measure.name)
        return RunValues(
            means.topics, means.settings, means.values, means.paragraphs, means.articles
        )
    if measure.name in metrics_of(run):
        table = read_parquet(
            run.folder / "scores.parquet",
            ["topic", "setting", "value", "paragraph", "article"],
            [("scorer", "=", "exact"), ("metric", "=", measure.name)],
        )
        texts = {
            name: table[name].to_numpy().tolist()
            for name in ("topic", "setting", "paragraph", "article")
        }
        return RunValues(
            texts["topic"], texts["setting"], table["value"].to_numpy(), texts["paragraph"],
            texts["article"],
        )  # fmt: skip
    metric, ranks = parse_metric(measure.name), RankTable(run.folder / "ranks.parquet")
    parts = [(setting, ranks.of(setting)) for setting in ranks.settings]
    return RunValues(
        [topic for _, part in parts for topic in part.topics],
        [setting for setting, part in parts for _ in part.topics],
        np.concatenate([compute(metric, part.ranks, part.grades) for _, part in parts]),
        [paragraph for _, part in parts for paragraph in part.paragraphs],
        [article for _, part in parts for article in part.articles],
    )


def pooled_figures(
    run: FinishedRun, settings: Sequence[str], cutoff: int | None
) -> dict[str, float]:
    """The run's figures over these pooled settings, by name; NaN for those that it lacks.

    AP, rank distance and the share of queries whose first result is in their language, from
    metrics.json; but with a cut-off AP and rank distance down to it, from the ranks, and recall.
    """
    metrics = Metrics.load(run.folder)
    languages = [parse_setting(name).query_language for name in settings]
    same = {"same_language_top1": _mean(metrics.bias.same_language_top1, languages)}
    if not cutoff:
        pooled = metrics.retrieval.get("multilingual")
        means = [pooled.per_setting.get(name, {}).get("AP") for name in settings] if pooled else []
        distance = _mean(metrics.bias.rank_distance, languages)
        return {"AP": _known_mean(means), "rank_distance": distance, **same}
    from bias_bench.bias.parallel import LanguageRanks, averages, parallel_ranks
    from bias_bench.bias.rank_distance import rank_distance

    table = RankTable(run.folder / "ranks.parquet", cutoff)
    parts = parallel_ranks(table).parts if languages else {}

    def mean(value: Callable[[LanguageRanks], np.ndarray]) -> float:
        return averages({name: value(parts[name]) for name in languages}).get("macro", np.nan)

    return {
        capped_name("AP", cutoff): mean(lambda part: compute(Metric("AP", cutoff), part.relevant)),
        capped_name("rank_distance", cutoff): mean(lambda part: rank_distance(part.least)),
        **same,
        capped_name("R", cutoff): mean(lambda part: compute(Metric("R", cutoff), part.relevant)),
    }


def _mean(measured: Average | None, languages: Sequence[str]) -> float:
    """The mean over these query languages, NaN without any."""
    return _known_mean([measured.per_language.get(name) for name in languages] if measured else [])


def _known_mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")
