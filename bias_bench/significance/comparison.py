"""Compare systems with a baseline: from run folders to the result that every form prints.

Each system is set against the baseline on the cells that all runs have. Families of tests: the
settings of one kind (the monolingual ones, the cross-lingual ones, the pooled ones), and the macro
averages of the kinds, or with `family` "all" everything at once. `tukey` compares all pairs of
systems.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bias_bench.significance.cautions import cautions
from bias_bench.significance.cutoff import choose_measure
from bias_bench.significance.differences import (
    Observations,
    align,
    groups_by_kind,
)
from bias_bench.significance.document import (
    ComparedSystem,
    ComparisonDocument,
    Omitted,
    Overview,
    System,
    Unanswered,
)
from bias_bench.significance.measures import Measure, capped_name
from bias_bench.significance.methods import describe
from bias_bench.significance.options import CompareOptions
from bias_bench.significance.pairwise import all_pairs, compare_pairs
from bias_bench.significance.run_values import Cluster, read_overview, read_run, read_values
from bias_bench.significance.systems import Compared, gather_systems, warnings_about
from bias_bench.units import default_unit


def compare(
    folders: Sequence[Path], options: CompareOptions, baseline: Path | None = None
) -> ComparisonDocument:
    """Systems beside the baseline, which is that of `baseline`, or the first run's.

    Raises UsageError, DataError or BiasBenchError, one line each, for runs that cannot be compared.
    """
    options.check()
    systems = gather_systems([read_run(folder) for folder in _baseline_first(folders, baseline)])
    measure, cutoff, notes = choose_measure(
        options.metric, [run for system in systems for run in system.runs]
    )
    cluster = options.cluster or default_unit(lambda unit: _pairs_of(systems, measure, unit))
    aligned = align(_values(systems, measure, cluster))
    groups = groups_by_kind(aligned.settings)
    pooled = [aligned.settings[column] for column in groups.get("multilingual", [])]
    names, tested = [system.name for system in systems], options.significance
    pairs = compare_pairs(aligned, names, groups, measure, options)
    base, *others = (_identity(system, aligned.settings) for system in systems)
    found = ComparisonDocument(
        schema=1,
        benchmark=systems[0].runs[0].benchmark,
        metric=measure.name,
        cutoff=cutoff,
        direction=measure.direction,
        unit=measure.unit,
        better=measure.better,
        significance=tested,
        baseline=names[0],
        cluster=cluster,
        permutations=int(options.permutations) if tested else None,
        correction=options.correction if tested else None,
        family=options.family if tested else None,
        confidence=float(options.confidence) if tested else None,
        margin=options.margin,
        seed=int(options.seed),
        also=options.also,
        topics=len(aligned.topics),
        clusters=len(aligned.cluster_names),
        omitted=Omitted(
            topics=len(aligned.omitted.topics),
            settings=aligned.omitted.settings,
            cells=aligned.omitted.cells,
            missing=aligned.omitted.missing,
        ),
        overview=tuple(_overview(system, pooled, cutoff) for system in systems),
        baseline_system=base,
        systems=tuple(
            ComparedSystem(**dict(one), **pair._asdict())
            for one, pair in zip(others, pairs, strict=True)
        ),
        **({"tukey": all_pairs(aligned, names, groups, options)} if tested and others[1:] else {}),
        warnings=(),
        methods=(),
        references=(),
    )
    warnings = (*notes, *warnings_about(systems), *cautions(found, measure))
    methods, references = map(tuple, describe(found))
    return found.model_copy(
        update={"warnings": warnings, "methods": methods, "references": references}
    )


def _values(
    systems: Sequence[Compared], measure: Measure, cluster: Cluster
) -> dict[str, dict[str, Observations]]:
    """Every run's values, by system and seed."""
    return {
        system.name: {str(run.seed): read_values(run, measure, cluster) for run in system.runs}
        for system in systems
    }


def _pairs_of(
    systems: Sequence[Compared], measure: Measure, unit: Cluster
) -> Iterator[tuple[str, str]]:
    """Every topic of every run with its article or paragraph."""
    for system in systems:
        for run in system.runs:
            part = read_values(run, measure, unit)
            yield from zip(part.topics, part.clusters or [""] * len(part.topics), strict=True)


def _baseline_first(folders: Sequence[Path], baseline: Path | None) -> list[Path]:
    """All folders, the baseline's first, whether or not it was among them."""
    if baseline is None:
        return list(folders)
    others = list(folders)
    for number, folder in enumerate(others):
        if folder.resolve() == baseline.resolve():
            del others[number]
            break
    return [baseline, *others]


def _identity(system: Compared, settings: Sequence[str]) -> System:
    """A system and its runs, with the queries of these settings that have no result."""
    without = {}
    for run in system.runs:
        counts = [run.answered[name] for name in settings if name in run.answered]
        missing, asked = (sum(count[place] for count in counts) for place in (0, 1))
        if missing:
            without[run.name] = Unanswered(queries=missing, of=asked)
    return System(
        system=system.name,
        label=system.label,
        runs=tuple(run.name for run in system.runs),
        seeds=system.seeds,
        unanswered=without,
    )


def _overview(system: Compared, settings: Sequence[str], cutoff: int | None) -> Overview:
    """Pooled AP and rank distance, mean and by seed.

    Over the compared pooled settings, but all of a run's queries; None where it has no such figure.
    """
    found = [read_overview(run, settings, cutoff) for run in system.runs]
    precision, distance = (capped_name(name, cutoff) for name in ("AP", "rank_distance"))
    names = [precision, distance, "same_language_top1", *([f"R@{cutoff}"] if cutoff else [])]
    columns = dict(zip(names, zip(*found, strict=True), strict=False))
    content = {
        "system": system.name,
        "label": system.label,
        **{name: _number(float(np.mean(values))) for name, values in columns.items()},
        "seeds": [
            {precision: _number(run.average_precision), distance: _number(run.rank_distance)}
            for run in found
        ],
    }
    return Overview.model_validate(content)


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
