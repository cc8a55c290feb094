"""Down to where ranks are compared: one rule for all runs, all metrics of ranks and the overview.

A run knows the exact rank of every relevant candidate; a folder of `biasbench score` knows those
down to the end of the given rankings. Where such folders are compared, ranks count down to the
smallest of their depths, in all runs alike: what is deeper counts as right behind the query's own
ranking, cut there, and AP ends there. So equal rankings have equal values, wherever they were made.
The cut-off is in the metric's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bias_bench.errors import UsageError, nearest
from bias_bench.evaluation.metrics import MEASURES as SCORED
from bias_bench.evaluation.metrics import parse_metric
from bias_bench.significance.measures import (
    MEASURES,
    Measure,
    capped_name,
    parse_measure,
    score_measure,
)
from bias_bench.significance.run_values import RunFolder, metrics_of

DEFAULT_METRIC = "AP"


class Choice(NamedTuple):
    """What is compared, and down to where ranks count beside it (None: all are exact).

    `notes` say what is other than asked for, and why.
    """

    measure: Measure
    cutoff: int | None
    notes: list[str]


def known_depth(runs: Sequence[RunFolder]) -> int | None:
    """Down to where the ranks of all runs are known; None: all are exact."""
    return min((run.depth for run in runs if run.depth), default=None)


def choose_measure(asked: str | None, runs: Sequence[RunFolder]) -> Choice:
    """The metric called `asked`, by default AP, as all runs know it.

    Raises UsageError for a metric that is unknown, or that not all runs know.
    """
    depth = known_depth(runs)
    if asked is None and depth:
        measure = score_measure(capped_name(DEFAULT_METRIC, depth))
        note = f"{_end(runs)}, so there is no AP of whole ones, and the metric is {measure.name}"
        return Choice(measure, depth, [note])
    measure = parse_measure(asked or DEFAULT_METRIC)
    if measure.source == "scores":
        _require_known(measure, runs)
        return Choice(measure, depth, [])
    if depth and measure.cutoff > depth:
        raise UsageError(
            f"no {measure.name}: {_end(runs)}; ask for {measure.capped(depth).name} at most"
        )
    capped = measure if measure.cutoff or not depth else measure.capped(depth)
    if capped == measure:
        return Choice(measure, measure.cutoff or depth, [])
    note = f"{_end(runs)}, so ranks are cut there in all runs, and the metric is {capped.name}"
    return Choice(capped, depth, [note])


def _end(runs: Sequence[RunFolder]) -> str:
    """Whose rankings decide where ranks end."""
    depth = known_depth(runs)
    names = [run.name for run in runs if run.depth == depth]
    return f"the rankings of {names[0]} end at {depth}"


def _require_known(measure: Measure, runs: Sequence[RunFolder]) -> None:
    """Every run holds the metric, or its ranks are known deep enough to compute it."""
    depth, name = known_depth(runs), measure.name
    held = [metrics_of(run) for run in runs]
    shared = set.intersection(*held)
    if name in shared:
        return
    known = set.union(*held)
    if measure.base in SCORED and "@" in name:
        cutoff = parse_metric(name).cutoff
        if not depth or cutoff <= depth:
            return
    elif name not in known:
        raise UsageError(f"unknown metric '{name}': {nearest(name, {*MEASURES, *known})}")
    if depth:
        least = capped_name(DEFAULT_METRIC, depth)
        raise UsageError(
            f"no {name}: {_end(runs)}; all runs have {', '.join(sorted({*shared, least}))}: "
            f"choose one of these, or leave out --metric for {least}"
        )
    run, own = next(part for part in zip(runs, held, strict=True) if name not in part[1])
    raise UsageError(
        f"{run.folder}: its scores hold no {name}, but {', '.join(sorted(own))}; choose a metric "
        "that all runs have, or repeat the run"
    )
