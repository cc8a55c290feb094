"""What a reader must know before believing a comparison: of the runs, and of its own figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from bias_bench.config.kinds import LUCENE
from bias_bench.errors import first_few
from bias_bench.evaluation.run_record import NO_PRECISION, RunRecord
from bias_bench.significance.corrections import draws_for_holm
from bias_bench.significance.document import SIGN_FLIPS, Cell, ComparedSystem, ComparisonDocument
from bias_bench.significance.draws import FEW_UNITS, all_signs_fit, least_p
from bias_bench.significance.measures import Measure
from bias_bench.significance.methods import KIND_WORDS
from bias_bench.significance.options import ALSO
from bias_bench.significance.systems import Compared, FinishedRun
from bias_bench.system.files import digest

FEW_CLUSTERS = 30
FEW_SEEDS = 5


def about_runs(systems: Sequence[Compared]) -> list[str]:
    """How the runs differ beside what is compared, and what each of them can show."""
    lines = []
    runs = [run for system in systems for run in system.runs]
    made_here = [run for run in runs if not run.record.external]
    if named := _differing((run.record.encoding.precision, run.name) for run in made_here
                           if run.record.encoding.precision != NO_PRECISION):  # fmt: skip
        lines.append(
            f"the runs differ in encoding precision ({named}), which alone can move AP by up to "
            "0.001; encode all in one precision to be sure of small differences"
        )
    lines += _used_otherwise(runs)
    if named := _differing((_searched(run.record), run.name) for run in made_here):
        lines.append(
            f"the runs differ in what was searched through ({named}): what an index misses "
            "changes the figures of its system; use one retrieval.index to compare encoders"
        )
    few = [system for system in systems if 1 < len(system.seeds) < FEW_SEEDS]
    if few:
        named = ", ".join(f"{system.label} has {len(system.seeds)}" for system in few)
        lines.append(
            f"fewer than {FEW_SEEDS} seeds understate the interval, and p ({named}): 95 % ones "
            "hold about 77 % of the time with 2 seeds, 89 % with 3"
        )
    several = any(len(system.seeds) > 1 for system in systems)
    alone = [
        system.label
        for system in systems
        if len(system.seeds) == 1 and "zero-shot@" not in system.name
    ]
    if several and alone:
        lines.append(
            f"one seed of {', '.join(alone)}: what training again would change there is not known"
        )
    given = Counter(run.folder.resolve() for run in runs)
    lines += [
        f"{folder} was given {'twice' if times == 2 else f'{times} times'}: a run differs from "
        "itself in nothing, whatever the tests say"
        for folder, times in given.items()
        if times > 1
    ]
    lexical = [system.label for system in systems if f"@{LUCENE}" in system.runs[0].record.system]
    if lexical:
        lines.append(
            f"what {', '.join(lexical)} does not match is ranked by id: its rank distances, and "
            "whatever else looks deep into rankings, are mostly chance"
        )
    if any(run.record.demonstration for run in runs):
        lines.append(f"{runs[0].record.benchmark} is a demonstration: too small for any claim")
    return lines


def _differing(values: Iterable[tuple[str, str]]) -> str:
    """Different values, each with the last run that has it; "" where all runs have one."""
    runs = dict(values)
    named = ", ".join(f"{value} in {run}" for value, run in sorted(runs.items()))
    return named if len(runs) > 1 else ""


def _used_otherwise(runs: Sequence[FinishedRun]) -> Iterator[str]:
    """Encoders that were given prefixes, lengths or pooling in one run that another run lacks."""
    encoders: dict[str, list[FinishedRun]] = {}
    for run in runs:
        if run.record.encoding.profile:
            weights = sorted(run.record.weights.values())
            key = digest(weights) if weights else run.unseeded.partition("@")[2]
            encoders.setdefault(key, []).append(run)
    for group in encoders.values():
        values: dict[str, list[tuple[str, str]]] = {}
        for run in group:
            encoding = run.record.encoding
            profile = encoding.profile.model_dump() if encoding.profile else {}
            similarity = {"similarity": encoding.similarity or "cosine"}
            for field, value in {**similarity, **profile}.items():
                values.setdefault(field, []).append((repr(value), run.name))
        named = {field: _differing(pairs) for field, pairs in values.items()}
        differing = [f"{field} ({text})" for field, text in named.items() if text]
        if differing:
            yield (
                f"the runs of {group[0].unseeded.partition('@')[2]} differ in "
                f"{', '.join(differing)}, which changes what it finds; give all the same "
                "(--set encoding.…) to compare anything else"
            )


def _searched(record: RunRecord) -> str:
    """What a run was searched through, as its manifest describes it: ``exact``, ``hnsw (…)``."""
    if record.index is None:
        return "exact"
    left_out = {"kind", "seed", "building_threads"}
    settings = record.index.settings.items()
    shown = [f"{key} {value}" for key, value in settings if key not in left_out]
    return f"{record.index.kind} ({', '.join(shown)})"


def about_figures(result: ComparisonDocument, measure: Measure) -> list[str]:
    """What was left out, and where the tests at hand say little."""
    lines = _left_out(result, measure)
    if not result.significance:
        return lines
    clusters, unit = result.clusters, result.cluster
    if clusters < 2:
        lines.append(
            f"all topics are one {unit}: nothing can be tested, every p is 1 and there is no "
            "interval"
        )
    elif clusters < FEW_UNITS:
        none = least_p(clusters) > result.level
        lines.append(
            f"only {clusters} {unit}s to resample: "
            + (
                "too few for any interval"
                if none
                else "intervals are the differences that the sign flips do not reject; 95 % ones "
                "hold at least 95 % of the time where differences are symmetric, 90 % where they "
                "are very skewed"
            )
        )
    elif clusters < FEW_CLUSTERS:
        lines.append(
            f"only {clusters} {unit}s to resample: intervals are too short (95 % ones hold about "
            "89 % of the time with 10, 91 % with 12, 93 % with 20, and less where differences are "
            "skewed)"
        )
    lines += _out_of_reach(result)
    return lines + [warning for entry in result.systems for warning in _flags(entry, result.also)]


def _left_out(result: ComparisonDocument, measure: Measure) -> list[str]:
    lines = []
    cutoff, omitted = measure.cutoff, result.omitted
    for entry in (result.baseline_system, *result.systems):
        for run, counts in entry.unanswered.items():
            lines.append(
                f"{run} has no results for {counts.queries:,} of {counts.of:,} queries, "
                "which count as if nothing relevant was found; compare complete rankings to learn "
                "how good they are"
            )
    if cutoff:
        shares = ", ".join(f"{row.label} {row.retrieved:.2f}" for row in result.overview)
        lines.append(
            f"share of the relevant candidates in the top {cutoff}: {shares}; the others "
            "count as right behind the query's ranking, so a system that finds fewer, or whose "
            "rankings end earlier, can seem less biased"
        )
    settings = omitted.settings
    if settings:
        lines.append(
            f"left out: {len(settings)} settings that not all runs have "
            f"({first_few(settings)}); macro averages are over the others"
        )
    if omitted.topics:
        lines.append(f"left out: {omitted.topics:,} topics that not all runs have")
    if omitted.cells:
        why = f", such as where all relevant ones are deeper than {cutoff}" if cutoff else ""
        lines.append(
            f"left out: {omitted.cells:,} values of a topic in a setting that some runs lack{why}"
        )
    return lines


def _families(result: ComparisonDocument) -> Iterator[tuple[str, list[int]]]:
    """What is tested in each family, and the units of each test; systems have the same families."""
    entry = result.systems[0]
    settings = entry.settings
    kinds = {kind: cell.settings or 0 for kind, cell in entry.groups.items()}
    averages = [cell.n for cell in entry.groups.values()]
    if result.family == "all":
        units = [*averages, *(cell.n for cell in settings.values())] * len(result.systems)
        yield f"{len(units)} tests", units
        return
    names = iter(settings)
    for kind, number in kinds.items():  # settings are in the order of their kinds
        units = [settings[next(names)].n for _ in range(number)]
        yield f"{number} {KIND_WORDS[kind]} settings", units
    yield f"{len(kinds)} macro averages", averages


def _out_of_reach(result: ComparisonDocument) -> list[str]:
    """Where no p, or no adjusted p, can lie below the level: units or draws are too few.

    One line, of the first family that it concerns. With Benjamini-Hochberg and max-T a single
    small p is enough for a small adjusted one; Holm multiplies it by the number of tests.
    """
    if result.clusters < 2:
        return []
    level = result.level
    draws, unit = result.permutations or 0, result.cluster
    sides = 1 if all(entry.test == SIGN_FLIPS for entry in result.systems) else 2
    exact = all_signs_fit(result.clusters, draws) and sides == 1
    by_draws = 0.0 if exact else sides / (draws + 1)
    families = list(_families(result))
    blocked = (
        max(units) for _, units in families if np.maximum(least_p(max(units)), by_draws) >= level
    )
    lines, most = [], next(blocked, 0)
    intervals = draws_for_holm(1, level, 2) - 1
    if most:
        why = (
            f"with {draws:,} permutations it is {by_draws:.3g} or more; take "
            f"{draws_for_holm(1, level, sides):,} or more"
        )
        if least_p(most) >= by_draws:
            why = (
                f"{most} {unit}s have 2^{most} sign flips, so p is {least_p(most):.3g} or more; "
                "take more or smaller units"
            )
        lines.append(f"no p below {level:g} is possible, adjusted or not: {why}")
    elif result.clusters >= FEW_UNITS and draws < intervals:
        lines.append(
            f"{draws} permutations are too few for intervals of {1 - level:g}: take {intervals} or "
            "more"
        )
    name, units = max(families, key=lambda family: len(family[1]))
    by_units = least_p(max(units))
    reachable = len(units) * np.maximum(by_units, by_draws) < level
    if result.correction == "holm" and not most and not reachable:
        needed = draws_for_holm(len(units), level, sides)
        why = f"with {draws:,} permutations; it takes {needed:,} or more"
        if by_units >= by_draws:
            why = f"as {max(units)} {unit}s have 2^{max(units)} sign flips; take smaller units"
        lines.append(f"holm can bring none of the {name} below {level:g} {why}, or maxt")
    return lines + _few_cells(result, level)


def _few_cells(result: ComparisonDocument, level: float) -> list[str]:
    """Settings that have fewer units than the others, too few for any p below the level."""
    settings = result.systems[0].settings
    few = [(name, cell.n) for name, cell in settings.items() if least_p(cell.n) >= level]
    if not few or least_p(result.clusters) >= level:
        return []
    name, units = few[0]
    where = f"in {len(few)} of {len(settings)} settings"
    why = f"too few {result.cluster}s (first, {name}: {units})"
    return [f"no p below {level:g} is possible {where}, which have {why}"]


def _flags(entry: ComparedSystem, also: Sequence[str]) -> list[str]:
    """One line per test on request whose assumptions fail somewhere."""
    lines = []
    cells: dict[str, Cell] = {**entry.groups, **entry.settings}
    for test in (name for name in ALSO if name in also):
        flagged = [(name, getattr(cell, test).flags) for name, cell in cells.items()]
        failing = [(name, flags) for name, flags in flagged if flags]
        if failing:
            name, flags = failing[0]
            lines.append(
                f"{test} of {entry.label}: assumptions fail in {len(failing)} of {len(flagged)} "
                f"tests (first, {name}: {flags[0]})"
            )
    return lines
