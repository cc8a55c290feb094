"""Systems against the baseline: means, tests, intervals and effect sizes.

With one seed of each, p-values come from sign flips and intervals from the bootstrap, both over
clusters of topics. With several seeds of either, both come from the bootstrap over seeds and
clusters, since flipping signs of differences speaks of the checkpoints at hand only. What holds for
a whole family at once comes from random signs of residuals, of clusters and of seeds. Where units
are few, points that they can show take the place of bootstrap replicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bias_bench.significance.bootstrap import (
    Intervals,
    bootstrap_means,
    bootstrap_p,
    equivalence,
    macro_replicates,
    percentile_intervals,
    with_few_units,
)
from bias_bench.significance.corrections import benjamini_hochberg, holm
from bias_bench.significance.differences import Aligned, Differences, difference, macro_values
from bias_bench.significance.document import (
    SEED_BOOTSTRAP,
    SIGN_FLIPS,
    AllPairs,
    Cell,
    Equivalence,
    FurtherTest,
    Interval,
    Pair,
    Test,
)
from bias_bench.significance.draws import least_p
from bias_bench.significance.effects import effects
from bias_bench.significance.measures import Measure
from bias_bench.significance.options import CompareOptions
from bias_bench.significance.parametric import Parametric, t_test, wilcoxon_test
from bias_bench.significance.randomization import sign_flips
from bias_bench.significance.seeds import SeedResiduals, seed_means, seed_residuals, seeds_at_once
from bias_bench.significance.simultaneous import (
    Residuals,
    macro,
    residuals,
    simultaneous_intervals,
)
from bias_bench.significance.sums import cluster_sums

_ROUNDING = 1e-12  # of the scores' size: what equal means of several seeds can differ by
_CORRECTIONS = {"holm": holm, "bh": benjamini_hochberg}
_PARAMETRIC = {"t": t_test, "wilcoxon": wilcoxon_test}

Groups = Mapping[str, list[int]]
Spread = Residuals | SeedResiduals


class _Columns(NamedTuple):
    """What is tested: settings, or macro averages. `names` [columns].

    `values` float64 [topics, columns] of system minus baseline; `baseline` and `system` float64
    [columns] means; `families` are the columns that are adjusted together.
    """

    names: tuple[str, ...]
    values: np.ndarray
    baseline: np.ndarray
    system: np.ndarray
    families: tuple[list[int], ...]


class _Table(NamedTuple):
    """Columns to test, with their `cells` by name.

    `replicates` float64 [replicates, columns] of their means; `spread`, how these vary; `several`,
    whether one of these systems has several seeds.
    """

    columns: _Columns
    cells: dict[str, Cell]
    replicates: np.ndarray
    spread: Spread
    several: bool


class PairResult(NamedTuple):
    """A system against the baseline: where p-values are from, and cells by kind and by setting."""

    test: Test | None
    groups: dict[str, Cell]
    settings: dict[str, Cell]


Members = Sequence[tuple[_Table, list[int]]]  # of a family, as columns of tables


def compare_pairs(
    aligned: Aligned,
    names: Sequence[str],
    groups: Groups,
    measure: Measure,
    options: CompareOptions,
) -> list[PairResult]:
    """Each system of `names` but the first, the baseline.

    A family is the settings of a kind, or the macro averages, of one system, or with
    `options.family` "all" everything that is tested.
    """
    baseline, *others = names
    entries, tables = [], []
    for name in others:
        differences = difference(aligned, name, baseline)
        columns = _columns(differences, groups)
        cells = [_descriptive(part, differences.clusters, measure) for part in columns]
        for kind, columns_of in groups.items():
            _put(cells[0], kind, settings=len(columns_of))
        several = len(differences.system) > 1 or len(differences.baseline) > 1
        test: Test | None = None
        if options.significance:
            test = SEED_BOOTSTRAP if several else SIGN_FLIPS
            systems = aligned.systems if options.family == "all" else (name, baseline)
            spreads = _spreads(aligned, (name, baseline), systems, groups)
            draws = (options.permutations, options.seed)
            if several:
                of_settings = seed_means(
                    differences.system, differences.baseline, differences.clusters, *draws
                )
                of_settings[np.abs(of_settings) <= _rounding(differences)] = 0.0
            else:
                of_settings = bootstrap_means(differences.values, differences.clusters, *draws)
            means = (macro_replicates(of_settings, list(groups.values())), of_settings)
            for part, cell, mean, spread in zip(columns, cells, means, spreads, strict=True):
                seeds = spread if several and isinstance(spread, SeedResiduals) else None
                replicates = with_few_units(mean, part.values, differences.clusters, seeds)
                tables.append(_Table(part, cell, replicates, spread, several))
                _add_requested(tables[-1], differences.clusters, measure, options)
        entries.append(PairResult(test, *cells))
    families: list[Members] = [
        [(table, family)] for table in tables for family in table.columns.families
    ]
    if options.family == "all" and tables:
        families = [[(table, list(range(len(table.columns.names)))) for table in tables]]
    for family in families:
        _add_tests(family, aligned.clusters, options)
    return entries


def all_pairs(
    aligned: Aligned, names: Sequence[str], groups: Groups, options: CompareOptions
) -> AllPairs:
    """All pairs of systems on the macro average of each kind, by step-down max-T.

    The signs of whole clusters, and of seeds where there are several, are drawn for all pairs
    alike, and each pair is measured in its own spread: so a system that differs much takes nothing
    from the others' chances. p-values are adjusted over the pairs of a kind, not over kinds.
    """
    pairs = [(a, b) for number, b in enumerate(names) for a in names[number + 1 :]]
    tables = [_columns(difference(aligned, *pair), groups)[0] for pair in pairs]
    spreads = [_spreads(aligned, pair, aligned.systems, groups)[0] for pair in pairs]
    sizes = [effects(part.values, aligned.clusters).d_z for part in tables]
    draws = (options.permutations, options.seed)
    kinds: dict[str, tuple[Pair, ...]] = {}
    for column, kind in enumerate(groups):
        values = np.stack([part.values[:, column] for part in tables], axis=1)
        joined = _joined([_of(part, [column]) for part in spreads])
        if isinstance(joined, SeedResiduals):
            step_down = seeds_at_once(joined, options.confidence, *draws).step_down
            p = np.maximum(step_down, _least(values, aligned.clusters))
        else:
            p = sign_flips(values, aligned.clusters, *draws).step_down
        kinds[kind] = tuple(
            Pair(
                system=a,
                other=b,
                difference=float(part.system[column] - part.baseline[column]),
                p=float(value),
                d_z=_number(size[column]),
            )
            for (a, b), part, value, size in zip(pairs, tables, p, sizes, strict=True)
        )
    return AllPairs(permutations=options.permutations, groups=kinds)


def _columns(differences: Differences, groups: Groups) -> tuple[_Columns, _Columns]:
    """The macro averages of the kinds, and the settings."""
    baseline, system = (
        np.nanmean(part.mean(axis=0), axis=0) for part in (differences.baseline, differences.system)
    )
    families = tuple(groups.values())
    kinds = _Columns(
        tuple(groups),
        macro_values(differences.values, families),
        np.array([baseline[columns].mean() for columns in families]),
        np.array([system[columns].mean() for columns in families]),
        (list(range(len(groups))),),
    )
    return kinds, _Columns(differences.settings, differences.values, baseline, system, families)


def _rounding(differences: Differences) -> float:
    """What equal means of several seeds can differ by."""
    return _ROUNDING * max(
        np.nanmax(np.abs(scores)) for scores in (differences.system, differences.baseline)
    )


def _spreads(
    aligned: Aligned, pair: tuple[str, str], systems: Sequence[str], groups: Groups
) -> tuple[Spread, Spread]:
    """How the macro averages and the settings of a system less another vary.

    With seeds where any of `systems` has several: each has rows of its own, alike for all pairs.
    """
    differences = difference(aligned, *pair)
    families = list(groups.values())
    settings = residuals(differences.values, differences.clusters)
    kinds = macro(settings, families)
    signs = {pair[0]: 1.0, pair[1]: -1.0}
    scores = {name: aligned.scores[aligned.systems.index(name)] for name in systems}
    of_settings = [
        signs.get(name, 0.0) * np.nanmean(part, axis=1)
        for name, part in scores.items()
        if len(part) > 1
    ]
    if not of_settings:
        return kinds, settings
    of_kinds = [
        np.stack([part[:, family].mean(axis=1) for family in families], axis=1)
        for part in of_settings
    ]
    return (
        seed_residuals(kinds, of_kinds, _rounding(differences)),
        seed_residuals(settings, of_settings, _rounding(differences)),
    )


def _descriptive(columns: _Columns, clusters: np.ndarray, measure: Measure) -> dict[str, Cell]:
    """Means and effect sizes; the tests' places hold None."""
    sizes = effects(columns.values, clusters, higher_is_better=measure.higher_is_better)
    return {
        name: Cell(
            baseline=float(columns.baseline[column]),
            system=float(columns.system[column]),
            difference=float(columns.system[column] - columns.baseline[column]),
            interval=(None, None),
            simultaneous=(None, None),
            p=None,
            p_adjusted=None,
            d_z=_number(sizes.d_z[column]),
            rank_biserial=_number(sizes.rank_biserial[column]),
            wins=int(sizes.wins[column]),
            ties=int(sizes.ties[column]),
            losses=int(sizes.losses[column]),
            n=int(sizes.units[column]),
        )
        for column, name in enumerate(columns.names)
    }


def _own_p(
    table: _Table, columns: list[int], clusters: np.ndarray, draws: tuple[int, int]
) -> np.ndarray:
    """Each column's p-value, over the seeds if these systems have several."""
    if table.several:
        return bootstrap_p(table.replicates[:, columns])
    return sign_flips(table.columns.values[:, columns], clusters, *draws).p


def _least(values: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """The least p that flipping the clusters of each column could reach, float64 [columns]."""
    return least_p((cluster_sums(values, clusters).cells > 0).sum(axis=0))


def _of(spread: Spread, columns: list[int]) -> Spread:
    return type(spread)(*(part[..., columns] for part in spread))


def _joined(spreads: Sequence[Spread]) -> Spread:
    """Spreads of the same clusters and seeds, beside each other."""
    joined = (np.concatenate(parts, axis=-1) for parts in zip(*spreads, strict=True))
    return type(spreads[0])(*joined)


def _add_tests(members: Members, clusters: np.ndarray, options: CompareOptions) -> None:
    """Put a family's p-values and intervals in place, over seeds where its spreads have them."""
    draws = (options.permutations, options.seed)
    values = np.hstack([table.columns.values[:, columns] for table, columns in members])
    spread = _joined([_of(table.spread, columns) for table, columns in members])
    if isinstance(spread, SeedResiduals):
        least = _least(values, clusters)
        p = np.maximum(np.concatenate([_own_p(*one, clusters, draws) for one in members]), least)
        step_down, joint = seeds_at_once(spread, options.confidence, *draws)
        step_down = np.maximum(step_down, p)
        for bounds in (joint.low, joint.high):
            bounds[least > round(1 - options.confidence, 10)] = np.nan
    else:
        flips = sign_flips(values, clusters, *draws)
        p, step_down = flips.p, flips.step_down
        joint = simultaneous_intervals(spread, options.confidence, *draws)
    adjust = _CORRECTIONS.get(options.correction)
    corrected = adjust(p) if adjust else step_down
    number = 0
    for table, columns in members:
        single = percentile_intervals(table.replicates[:, columns], options.confidence)
        for place, column in enumerate(columns):
            _put(
                table.cells,
                table.columns.names[column],
                interval=_bounds(single, place),
                simultaneous=_bounds(joint, number),
                p=_number(p[number]),
                p_adjusted=_number(corrected[number]),
            )
            number += 1


def _add_requested(
    table: _Table, clusters: np.ndarray, measure: Measure, options: CompareOptions
) -> None:
    """Equivalence within the margin, t and Wilcoxon, where they are asked for."""
    columns = table.columns
    if options.margin is not None:
        tests = equivalence(
            table.replicates,
            options.margin,
            higher_is_better=measure.higher_is_better,
            level=1 - options.confidence,
        )
        directed = measure.direction != "none"
        for column, name in enumerate(columns.names):
            shown = Equivalence(
                equivalent=_number(tests.equivalent[column]),
                no_worse=_number(tests.no_worse[column]) if directed else None,
                interval=_bounds(tests.interval, column),
            )
            _put(table.cells, name, equivalence=shown)
    for test in options.also:
        result: Parametric = _PARAMETRIC[test](columns.values, clusters)
        for column, name in enumerate(columns.names):
            further = FurtherTest(
                statistic=_number(result.statistic[column]),
                p=_number(result.p[column]),
                flags=result.flags[column],
            )
            _put(table.cells, name, **{test: further})


def _put(cells: dict[str, Cell], name: str, **fields: Any) -> None:
    """Fill in more of a cell."""
    cells[name] = cells[name].model_copy(update=fields)


def _bounds(intervals: Intervals, column: int) -> Interval:
    return _number(intervals.low[column]), _number(intervals.high[column])


def _number(value: Any) -> float | None:
    """A float for JSON: None in place of NaN and infinities."""
    return float(value) if np.isfinite(value) else None
