"""Compare systems with a baseline: from run folders to the result that every form prints.

Each system is set against the baseline on the cells that all runs have. Families of tests: the
settings of one kind (the monolingual ones, the cross-lingual ones, the pooled ones), and the macro
averages of the kinds, or with `family` "all" everything at once. `tukey` compares all pairs of
systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bias_bench.data.units import default_unit
from bias_bench.significance.cautions import about_figures, about_runs
from bias_bench.significance.differences import align, groups_by_kind
from bias_bench.significance.document import (
    ComparedSystem,
    ComparisonDocument,
    Overview,
    System,
    Unanswered,
)
from bias_bench.significance.measures import capped_name
from bias_bench.significance.methods import describe
from bias_bench.significance.options import CompareOptions
from bias_bench.significance.pairwise import all_pairs, compare_pairs
from bias_bench.significance.run_values import choose_measure, pooled_figures, read_values
from bias_bench.significance.systems import (
    Compared,
    gather_systems,
    read_finished,
)


def compare(
    folders: Sequence[Path], options: CompareOptions, baseline: Path | None = None
) -> ComparisonDocument:
    """Systems beside the baseline, which is that of `baseline`, or the first run's.

    Raises UsageError, DataError or BiasBenchError, one line each, for runs that cannot be compared.
    """
    options.check()
    systems = gather_systems(
        [read_finished(folder) for folder in _baseline_first(folders, baseline)]
    )
    runs = [run for system in systems for run in system.runs]
    measure, cutoff, notes = choose_measure(options.metric, runs)
    values = [[read_values(run, measure) for run in system.runs] for system in systems]
    unit = options.cluster or default_unit(
        lambda unit: (
            pair
            for of_system in values
            for one in of_system
            for pair in zip(one.topics, one.units(unit), strict=True)
        )
    )
    aligned = align(
        {
            system.name: {
                str(seed): one.by(unit) for seed, one in zip(system.seeds, of_system, strict=True)
            }
            for system, of_system in zip(systems, values, strict=True)
        }
    )
    groups = groups_by_kind(aligned.settings)
    pooled = [aligned.settings[column] for column in groups.get("multilingual", [])]
    names, tested = [system.name for system in systems], options.significance
    pairs = compare_pairs(aligned, names, groups, measure, options)
    base, *others = (_identity(system, aligned.settings) for system in systems)
    result = ComparisonDocument(
        schema=1,
        benchmark=runs[0].record.benchmark,
        metric=measure.name,
        cutoff=cutoff,
        direction=measure.direction,
        unit=measure.unit,
        better=measure.better,
        significance=tested,
        baseline=names[0],
        cluster=unit,
        permutations=int(options.permutations) if tested else None,
        correction=options.correction if tested else None,
        family=options.family if tested else None,
        confidence=float(options.confidence) if tested else None,
        margin=options.margin,
        seed=int(options.seed),
        also=options.also,
        topics=len(aligned.topics),
        clusters=len(aligned.cluster_names),
        omitted=aligned.omitted,
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
    warnings = (*notes, *about_runs(systems), *about_figures(result, measure))
    methods, references = map(tuple, describe(result))
    return result.model_copy(
        update={"warnings": warnings, "methods": methods, "references": references}
    )


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
        counts = run.record.counts if run.record.external else {}
        known = [counts[name] for name in settings if name in counts]
        if missing := sum(one.missing for one in known):
            asked = sum(one.queries for one in known)
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
    figures = [pooled_figures(run, settings, cutoff) for run in system.runs]
    of_seeds = [capped_name(name, cutoff) for name in ("AP", "rank_distance")]
    content = {
        "system": system.name,
        "label": system.label,
        **{name: _number(float(np.mean([run[name] for run in figures]))) for name in figures[0]},
        "seeds": [{name: _number(run[name]) for name in of_seeds} for run in figures],
    }
    return Overview.model_validate(content)


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
