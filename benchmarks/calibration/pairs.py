"""The same question for several pairs of real systems: which unit of resampling can be trusted?

For each pair, `python -m benchmarks.calibration.pairs --runs BASELINE SYSTEM...` takes the means
away from the real differences and draws articles with replacement, so that no setting differs and
texts are what is independent. It then asks how often max-T over the settings of a kind, the test of
their macro average and its 95 % interval err by topic, by paragraph and by article; and how often
at least one of the four families of a comparison shows a difference.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from benchmarks.calibration.errors import SOME, Size
from benchmarks.calibration.estimates import LEVEL, as_tsv, from_tsv, rate
from benchmarks.calibration.simulation import LIBRARIES, run_identity
from benchmarks.calibration.worlds import UNITS, Source, design_effect, generator, read_kinds
from benchmarks.calibration.worlds import resampled as draw_articles
from benchmarks.harness import progress
from bias_bench.data.units import Unit
from bias_bench.errors import BiasBenchError
from bias_bench.significance.bootstrap import bootstrap_means, percentile_intervals
from bias_bench.significance.differences import macro_values
from bias_bench.significance.randomization import sign_flips
from bias_bench.significance.systems import read_finished
from bias_bench.system.files import write_json, write_text
from bias_bench.system.provenance import versions

JUDGED = (("AP", "multilingual"), ("rank_distance", "multilingual"), ("AP", "cross_lingual"))
KIND_WORDS = {"multilingual": "pooled", "cross_lingual": "cross-lingual"}
INFLATION, MAX_T, MACRO, COVERAGE = (
    "variance inflation", "error, max-T", "error, macro average", "coverage, macro average",
)  # fmt: skip
ANY, ONE = "error, any of four families", "error, one family of all"
RATES, PROVENANCE = "pairs.tsv", "pairs.json"


class Judged(NamedTuple):
    """One figure of one pair, `system` against `baseline`, where nothing differs.

    `value` is a rate with its simulation interval, or for `INFLATION` a ratio without one: the
    variance of the macro average with these units over that of independent topics.
    """

    baseline: str
    system: str
    metric: str
    kind: str
    cluster: str
    quantity: str
    value: float
    low: float
    high: float
    simulations: int


def judge_pair(runs: Sequence[Path], size: Size) -> list[Judged]:
    """All figures of one pair of run folders, the baseline first."""
    names = [read_finished(path).name for path in runs]
    found: list[Judged] = []
    sources = {}
    for metric in dict.fromkeys(metric for metric, _ in JUDGED):
        sources[metric] = read_kinds(runs, metric)
    for metric, kind in JUDGED:
        source, groups = sources[metric]
        if kind in groups:
            part = source._replace(values=source.values[:, groups[kind]])
            figures = [*_inflation(part), *_by_units(part, size)]
            found += [Judged(*names, metric, kind, *figure) for figure in figures]
    source, groups = sources["AP"]
    figures = _families(source, list(groups.values()), size)
    return found + [Judged(*names, "AP", "all", *figure) for figure in figures]


Figure = tuple[str, str, float, float, float, int]


def _inflation(source: Source) -> list[Figure]:
    pooled = macro_values(source.values, [range(source.values.shape[1])])
    found = []
    for unit in UNITS:
        value = float(design_effect(pooled, source.units[unit])[0])
        found.append((unit, INFLATION, value, value, value, 0))
    return found


def _by_units(source: Source, size: Size) -> list[Figure]:
    """Errors and coverage by each unit, where articles are a new sample."""
    hits: dict[tuple[Unit, str], list[float]] = {}
    every = range(source.values.shape[1])
    for number in range(size.simulations):
        random = generator(size.seed, "pairs", number)
        sample = draw_articles(source, "article", random)
        seed = int(random.integers(2**31))
        macro = macro_values(sample.values, [every])
        # tests by topic take most of the time, and are known to err: every fourth data set has them
        for unit in UNITS[number % SOME > 0 :]:
            clusters = sample.units[unit]
            adjusted = sign_flips(sample.values, clusters, size.permutations, seed).step_down
            p = sign_flips(macro, clusters, size.permutations, seed).p
            interval = percentile_intervals(bootstrap_means(macro, clusters, size.replicates, seed))
            hits.setdefault((unit, MAX_T), []).append(float(adjusted.min() <= LEVEL))
            hits.setdefault((unit, MACRO), []).append(float(p[0] <= LEVEL))
            holds = interval.low[0] <= 0 <= interval.high[0]
            hits.setdefault((unit, COVERAGE), []).append(float(holds))
    return [(*key, *rate(np.array(values)), len(values)) for key, values in hits.items()]


def _families(source: Source, groups: list[list[int]], size: Size) -> list[Figure]:
    """Errors of all families of a comparison by article: the kinds, and their macro averages."""
    hits: dict[str, list[float]] = {ANY: [], ONE: []}
    for number in range(size.simulations):
        random = generator(size.seed, "families", number)
        sample = draw_articles(source, "article", random)
        seed = int(random.integers(2**31))
        macro = macro_values(sample.values, groups)
        families = [*(sample.values[:, columns] for columns in groups), macro]
        clusters = sample.units["article"]
        least = [_least(values, clusters, size, seed) for values in families]
        hits[ANY].append(float(min(least) <= LEVEL))
        hits[ONE].append(float(_least(np.hstack(families), clusters, size, seed) <= LEVEL))
    return [
        ("article", name, *rate(np.array(values)), len(values)) for name, values in hits.items()
    ]


def _least(values: np.ndarray, clusters: np.ndarray, size: Size, seed: int) -> float:
    return float(sign_flips(values, clusters, size.permutations, seed).step_down.min())


def provenance(runs: Sequence[Path], size: Size) -> dict[str, Any]:
    """From what, how much and with what; nothing that differs when it is repeated."""
    found = versions()
    return {
        "schema": 1,
        "runs": [run_identity(path) for path in runs],
        "level": LEVEL,
        "size": size._asdict(),
        "versions": {name: found[name] for name in LIBRARIES},
    }


def pair_tables(table: Sequence[Judged]) -> list[str]:
    """Markdown: rates of each pair by unit, and of families."""
    return [_unit_table(table), _family_table(table)]


def _unit_table(table: Sequence[Judged]) -> str:
    columns = [
        (name, unit)
        for name in (INFLATION, MAX_T, MACRO, COVERAGE)
        for unit in UNITS
        if (name, unit) != (INFLATION, "topic")  # 1 by definition
    ]
    lines = []
    for group in dict.fromkeys(_group(row) for row in table if row.kind != "all"):
        here = {(row.quantity, row.cluster): row for row in table if _group(row) == group}
        pair, metric, kind = group
        what = f"{KIND_WORDS[kind]} {metric.replace('_', ' ')}"
        lines.append([pair, what, *(_cell(here[column]) for column in columns)])
    names = [f"{name}, by {unit}" for name, unit in columns]
    return _markdown(["system − baseline", "metric", *names], lines)


def _family_table(table: Sequence[Judged]) -> str:
    lines = []
    for pair in dict.fromkeys(_group(row)[0] for row in table):
        here = {row.quantity: row for row in table if _group(row)[0] == pair and row.kind == "all"}
        lines.append([pair, *(_cell(here[name]) for name in (ANY, ONE))])
    return _markdown(["system − baseline", ANY, ONE], lines)


def _group(row: Judged) -> tuple[str, str, str]:
    return f"{row.system} − {row.baseline}", row.metric, row.kind


def _cell(row: Judged) -> str:
    return f"{row.value:.2f}" if row.quantity == INFLATION else f"{100 * row.value:.1f}"


def _markdown(head: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, write the file, print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration.pairs")
    parser.add_argument(
        "--runs", nargs="+", type=Path, required=True, metavar="RUN", help="baseline and systems"
    )
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--permutations", type=int, default=999)
    parser.add_argument("--replicates", type=int, default=999)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/calibration"))
    given = parser.parse_args(arguments)
    size = Size(given.simulations, given.permutations, given.replicates, given.seed)
    baseline, *systems = given.runs
    try:
        table: list[Judged] = []
        for system in systems:
            start = perf_counter()
            table += judge_pair((baseline, system), size)
            progress(f"{system.name} against {baseline.name}: {perf_counter() - start:.0f} s")
        write_text(given.out / RATES, as_tsv(table))
        write_json(given.out / PROVENANCE, provenance(given.runs, size))
    except BiasBenchError as error:
        parser.exit(1, f"{error}\n")
    print("\n\n".join(pair_tables(from_tsv(given.out / RATES, Judged))))


if __name__ == "__main__":
    main()
