"""How often bootstrap intervals hold the truth, and how often equivalence is shown in error."""

from __future__ import annotations

import numpy as np

from benchmarks.calibration.errors import Size
from benchmarks.calibration.estimates import LEVEL, Found, Row, Scenario, rows
from benchmarks.calibration.worlds import UNITS, Sample, Source, generator, resampled
from bias_bench.data.units import Unit
from bias_bench.significance.bootstrap import (
    Intervals,
    bootstrap_means,
    equivalence,
    macro_replicates,
    percentile_intervals,
)
from bias_bench.significance.simultaneous import residuals, simultaneous_intervals

SETTING, SIMULTANEOUS, MACRO = "one setting", "all settings at once", "macro average"
COVERAGE = "coverage"
NO_WORSE, EQUIVALENT, SHOWN = "error of no worse", "error of equivalence", "equivalence shown"
MARGIN = 0.01


def interval_coverage(source: Source, size: Size, unit: Unit) -> list[Row]:
    """Coverage of 95 % intervals and errors of equivalence tests at their margin.

    The world is the resampled one, whose true difference is 0 everywhere. Settings of a data set
    are averaged, but for the simultaneous intervals, which must all hold.
    """
    name = f"coverage {unit}"
    found = []
    for number in range(size.simulations):
        random = generator(size.seed, name, number)
        sample = resampled(source, unit, random)
        seed = int(random.integers(2**31))
        result: Found = {}
        for cluster in UNITS:
            result |= _of_cluster(sample, cluster, size.replicates, seed)
        found.append(result)
    return rows(Scenario("coverage", "resampled", unit), found)


def _of_cluster(sample: Sample, cluster: Unit, replicates: int, seed: int) -> Found:
    clusters = sample.units[cluster]
    means = bootstrap_means(sample.values, clusters, replicates, seed)
    macro = macro_replicates(means, [range(means.shape[1])])
    spread = residuals(sample.values, clusters)
    joint = simultaneous_intervals(spread, 1 - LEVEL, replicates, seed)
    found: Found = {(cluster, SIMULTANEOUS, COVERAGE): float(_holds(joint).all())}
    for method, part in ((SETTING, means), (MACRO, macro)):
        own = percentile_intervals(part, 1 - LEVEL)
        # a shift of all values moves every replicate by as much, so one set of replicates serves
        edge = equivalence(part + MARGIN, MARGIN, higher_is_better=False)
        found[cluster, method, COVERAGE] = float(_holds(own).mean())
        found[cluster, method, NO_WORSE] = _shown(edge.no_worse)
        found[cluster, method, EQUIVALENT] = _shown(edge.equivalent)
    found[cluster, MACRO, SHOWN] = _shown(equivalence(macro, MARGIN).equivalent)
    return found


def _holds(intervals: Intervals) -> np.ndarray:
    """Whether 0, the truth, lies within: bool [columns]."""
    return (intervals.low <= 0) & (intervals.high >= 0)


def _shown(p: np.ndarray) -> float:
    """Share of columns with p at the level or below."""
    return float((p <= LEVEL).mean())
