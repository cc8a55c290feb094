"""Compare systems with a baseline: from run folders to the result that every form prints.

Each system is set against the baseline on the cells that all runs have. Families of tests: the
settings of one kind (the monolingual ones, the cross-lingual ones, the pooled ones), and the macro
averages of the kinds. Nothing is adjusted over systems; `tukey` compares all pairs of systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bias_bench.significance.clusters import by_topic, default_cluster
from bias_bench.significance.corrections import draws_for_holm
from bias_bench.significance.cutoff import choose_measure
from bias_bench.significance.differences import (
    Aligned,
    Observations,
    align,
    difference,
    groups_by_kind,
)
from bias_bench.significance.draws import all_signs_fit
from bias_bench.significance.measures import Measure, capped_name
from bias_bench.significance.methods import KIND_WORDS, describe
from bias_bench.significance.options import ALSO, CompareOptions
from bias_bench.significance.pairwise import SIGN_FLIPS, Groups, compare_pair, tukey_groups
from bias_bench.significance.run_values import Cluster, read_overview, read_run, read_values
from bias_bench.significance.systems import Compared, gather_systems, warnings_about

SCHEMA = 1
FEW_CLUSTERS = 30


def compare(
    folders: Sequence[Path], options: CompareOptions, baseline: Path | None = None
) -> dict[str, Any]:
    """The result as JSON writes it. The baseline is the system of `baseline`, or the first run's.

    Raises UsageError, DataError or BiasBenchError, one line each, for runs that cannot be compared.
    """
    options.check()
    systems = gather_systems([read_run(folder) for folder in _baseline_first(folders, baseline)])
    measure, cutoff, notes = choose_measure(
        options.metric, [run for system in systems for run in system.runs]
    )
    values = _values(systems, measure, options.cluster or "paragraph")
    cluster = options.cluster or default_cluster(values)
    aligned = align(values if cluster != "topic" else by_topic(values))
    groups = groups_by_kind(aligned.settings)
    pooled = [aligned.settings[column] for column in groups.get("multilingual", [])]
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "benchmark": systems[0].runs[0].benchmark,
        "metric": measure.name,
        "cutoff": cutoff,
        "direction": measure.direction,
        "unit": measure.unit,
        "better": measure.better,
        "significance": options.significance,
        "baseline": systems[0].name,
        "cluster": cluster,
        "permutations": options.permutations if options.significance else None,
        "correction": options.correction if options.significance else None,
        "confidence": options.confidence if options.significance else None,
        "margin": options.margin,
        "seed": options.seed,
        "also": list(options.also),
        "topics": len(aligned.topics),
        "clusters": len(aligned.cluster_names),
        "omitted": {
            "topics": len(aligned.omitted.topics),
            "settings": list(aligned.omitted.settings),
            "cells": aligned.omitted.cells,
            "missing": aligned.omitted.missing,
        },
        "overview": [_overview(system, pooled, cutoff) for system in systems],
        **_pairs(systems, aligned, groups, measure, options),
    }
    result["warnings"] = [*notes, *warnings_about(systems), *_own_warnings(result, measure)]
    result["methods"], result["references"] = describe(result)
    return result


def _values(
    systems: Sequence[Compared], measure: Measure, cluster: Cluster
) -> dict[str, dict[str, Observations]]:
    """Every run's values, by system and seed."""
    return {
        system.name: {str(run.seed): read_values(run, measure, cluster) for run in system.runs}
        for system in systems
    }


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


def _pairs(
    systems: Sequence[Compared],
    aligned: Aligned,
    groups: Groups,
    measure: Measure,
    options: CompareOptions,
) -> dict[str, Any]:
    """The part `systems`, and `tukey` when there are more than two and tests are asked for."""
    base, *others = systems
    entries = []
    for system in others:
        pair = compare_pair(difference(aligned, system.name, base.name), groups, measure, options)
        entries.append({**_identity(system), **pair})
    found: dict[str, Any] = {"baseline_system": _identity(base), "systems": entries}
    if options.significance and len(systems) > 2:
        names = [system.name for system in systems]
        found["tukey"] = tukey_groups(aligned, names, groups, options)
    return found


def _identity(system: Compared) -> dict[str, Any]:
    return {
        "system": system.name,
        "label": system.label,
        "runs": [run.name for run in system.runs],
        "seeds": list(system.seeds),
    }


def _overview(system: Compared, settings: Sequence[str], cutoff: int | None) -> dict[str, Any]:
    """Pooled AP (higher is better) and rank distance (lower is better), mean and by seed.

    Over the compared pooled settings, but all of a run's queries; None where it has no such figure.
    """
    found = [read_overview(run, settings, cutoff) for run in system.runs]
    precision, distance = (capped_name(name, cutoff) for name in ("AP", "rank_distance"))
    names = [precision, distance, "same_language_top1", *([f"R@{cutoff}"] if cutoff else [])]
    columns = dict(zip(names, zip(*found, strict=True), strict=False))
    return {
        "system": system.name,
        "label": system.label,
        **{name: _number(float(np.mean(values))) for name, values in columns.items()},
        "seeds": [
            {precision: _number(run.average_precision), distance: _number(run.rank_distance)}
            for run in found
        ],
    }


def _own_warnings(result: dict[str, Any], measure: Measure) -> list[str]:
    """What was left out, and where the tests at hand say little."""
    found = []
    cutoff, omitted = measure.cutoff, result["omitted"]
    if cutoff:
        shares = ", ".join(f"{row['label']} {row[f'R@{cutoff}']:.2f}" for row in result["overview"])
        found.append(
            f"share of the relevant candidates in the top {cutoff}: {shares}; the others "
            "count as right behind the query's ranking, so a system that finds fewer, or whose "
            "rankings end earlier, can seem less biased"
        )
    settings = omitted["settings"]
    if settings:
        more = f" and {len(settings) - 3} more" if len(settings) > 3 else ""
        found.append(
            f"left out: {len(settings)} settings that not all runs have "
            f"({', '.join(settings[:3])}{more}); macro averages are over the others"
        )
    if omitted["topics"]:
        found.append(f"left out: {omitted['topics']:,} topics that not all runs have")
    if omitted["cells"]:
        why = f", such as where all relevant ones are deeper than {cutoff}" if cutoff else ""
        found.append(
            f"left out: {omitted['cells']:,} values of a topic in a setting that some runs "
            f"lack{why}"
        )
    if not result["significance"]:
        return found
    clusters = result["clusters"]
    if clusters < 2:
        found.append(
            f"all topics are one {result['cluster']}: nothing can be tested, every p is 1 and "
            "there is no interval"
        )
    elif clusters < FEW_CLUSTERS:
        found.append(
            f"only {clusters} {result['cluster']}s to resample: intervals are too short (95 % ones "
            "hold about 91 % of the time with 12)"
        )
    found += _out_of_reach(result)
    return found + [warning for entry in result["systems"] for warning in _flags(entry)]


def _out_of_reach(result: dict[str, Any]) -> list[str]:
    """A warning where Holm's correction can leave no p-value of the largest family below the level.

    Step-down max-T has no such bound, and Benjamini-Hochberg none where many tests are significant.
    """
    if result["correction"] != "holm" or result["clusters"] < 2:
        return []
    kind, tests = max(
        ((kind, cell["settings"]) for kind, cell in result["systems"][0]["groups"].items()),
        key=lambda family: family[1],
    )
    level = round(1 - result["confidence"], 10)
    draws, clusters = result["permutations"], result["clusters"]
    flips = all(entry["test"] == SIGN_FLIPS for entry in result["systems"])
    if flips and all_signs_fit(clusters, draws):
        enough = tests * 2 / 2**clusters < level
        unit = result["cluster"]
        why = f"as {clusters} {unit}s have 2^{clusters} sign flips; take smaller units, or maxt"
    else:
        needed = draws_for_holm(tests, level, 1 if flips else 2)
        enough = draws >= needed
        why = f"with {draws:,} permutations; it takes {needed:,} or more, or maxt"
    out_of_reach = f"holm can bring none of the {tests} {KIND_WORDS[kind]} settings below {level:g}"
    return [] if enough else [f"{out_of_reach} {why}"]


def _flags(entry: dict[str, Any]) -> list[str]:
    """One line per test on request whose assumptions fail somewhere."""
    found = []
    cells = {**entry["groups"], **entry["settings"]}
    for test in ALSO:
        flagged = [(name, cell[test]["flags"]) for name, cell in cells.items() if test in cell]
        failing = [(name, flags) for name, flags in flagged if flags]
        if failing:
            name, flags = failing[0]
            found.append(
                f"{test} of {entry['label']}: assumptions fail in {len(failing)} of {len(flagged)} "
                f"tests (first, {name}: {flags[0]})"
            )
    return found


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
