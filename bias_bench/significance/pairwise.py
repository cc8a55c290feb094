"""Systems against the baseline: means, tests, intervals and effect sizes.

With one seed of each, p-values come from sign flips and intervals from the bootstrap, both over
clusters of topics. With several seeds of either, both come from the bootstrap over seeds and
clusters, since flipping signs of differences speaks of the checkpoints at hand only. What holds for
a whole family at once comes from random signs of residuals, of clusters and of seeds. Where units
are few, points that they can show take the place of bootstrap replicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

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
AnySpread = TypeVar("AnySpread", bound=Spread)


class _Columns(NamedTuple):
    """What two systems are compared on: the macro average of each kind, then every setting.

    `values` float64 [topics, columns] of system minus baseline; `baseline` and `system` float64
    [columns] means.
    """

    values: np.ndarray
    baseline: np.ndarray
    system: np.ndarray


class _Tested(NamedTuple):
    """Columns under test, with the cell of each.

    `replicates` float64 [replicates, columns] of their means; `spread`, how these vary; `several`,
    whether one of these systems has several seeds.
    """

    columns: _Columns
    cells: list[Cell]
    replicates: np.ndarray
    spread: Spread
    several: bool


class PairResult(NamedTuple):
    """A system against the baseline: where p-values are from, and cells by kind and by setting."""

    test: Test | None
    groups: dict[str, Cell]
    settings: dict[str, Cell]


Members = Sequence[tuple[_Tested, list[int]]]  # of a family, as columns of systems


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
    kinds = len(groups)
    results: list[tuple[Test, list[Cell]]] = []
    tested = []
    for name in others:
        differences = difference(aligned, name, baseline)
        columns = _columns(differences, groups)
        cells = _descriptive(columns, differences.clusters, measure)
        for kind, settings in enumerate(groups.values()):
            _put(cells, kind, settings=len(settings))
        several = len(differences.system) > 1 or len(differences.baseline) > 1
        if options.significance:
            systems = aligned.systems if options.family == "all" else (name, baseline)
            spread = _spread(aligned, (name, baseline), systems, groups)
            replicates = with_few_units(
                _replicates(differences, groups, options, several),
                columns.values,
                differences.clusters,
                spread if several and isinstance(spread, SeedResiduals) else None,
            )
            tested.append(_Tested(columns, cells, replicates, spread, several))
            _add_requested(tested[-1], differences.clusters, measure, options)
        results.append((SEED_BOOTSTRAP if several else SIGN_FLIPS, cells))
    columns_of = [list(range(kinds)), *([kinds + n for n in family] for family in groups.values())]
    families: list[Members] = [[(one, family)] for one in tested for family in columns_of]
    if options.family == "all" and tested:
        families = [[(one, list(range(len(one.cells)))) for one in tested]]
    for family in families:
        _add_tests(family, aligned.clusters, options)
    return [
        PairResult(
            test if options.significance else None,
            dict(zip(groups, cells[:kinds], strict=True)),
            dict(zip(aligned.settings, cells[kinds:], strict=True)),
        )
        for test, cells in results
    ]


def all_pairs(
    aligned: Aligned, names: Sequence[str], groups: Groups, options: CompareOptions
) -> AllPairs:
    """All pairs of systems on the macro average of each kind, by step-down max-T.

    The signs of whole clusters, and of seeds where there are several, are drawn for all pairs
    alike, and each pair is measured in its own spread: so a system that differs much takes nothing
    from the others' chances. p-values are adjusted over the pairs of a kind, not over kinds.
    """
    pairs = [(a, b) for number, b in enumerate(names) for a in names[number + 1 :]]
    tables = [_columns(difference(aligned, *pair), groups) for pair in pairs]
    spreads = [_spread(aligned, pair, aligned.systems, groups) for pair in pairs]
    sizes = [effects(part.values[:, : len(groups)], aligned.clusters).d_z for part in tables]
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


def _columns(differences: Differences, groups: Groups) -> _Columns:
    families = list(groups.values())
    values = np.hstack([macro_values(differences.values, families), differences.values])
    means = []
    for scores in (differences.baseline, differences.system):
        of_settings = np.nanmean(scores.mean(axis=0), axis=0)
        macros = [of_settings[columns].mean() for columns in families]
        means.append(np.concatenate([macros, of_settings]))
    return _Columns(values, *means)


def _replicates(
    differences: Differences, groups: Groups, options: CompareOptions, several: bool
) -> np.ndarray:
    """Means of the columns under resampling: float64 [replicates, columns]."""
    draws = (options.permutations, options.seed)
    if several:
        means = seed_means(differences.system, differences.baseline, differences.clusters, *draws)
        means[np.abs(means) <= _rounding(differences)] = 0.0
    else:
        means = bootstrap_means(differences.values, differences.clusters, *draws)
    return np.hstack([macro_replicates(means, list(groups.values())), means])


def _rounding(differences: Differences) -> float:
    """What equal means of several seeds can differ by."""
    return _ROUNDING * max(
        np.nanmax(np.abs(scores)) for scores in (differences.system, differences.baseline)
    )


def _spread(
    aligned: Aligned, pair: tuple[str, str], systems: Sequence[str], groups: Groups
) -> Spread:
    """How the columns of a system less another vary.

    With seeds where any of `systems` has several: each has rows of its own, alike for all pairs.
    """
    differences, families = difference(aligned, *pair), list(groups.values())
    of_settings = residuals(differences.values, differences.clusters)
    spread = _joined([macro(of_settings, families), of_settings])
    signs = {pair[0]: 1.0, pair[1]: -1.0}
    scores = {name: aligned.scores[aligned.systems.index(name)] for name in systems}
    seeds = [
        signs.get(name, 0.0) * np.nanmean(part, axis=1)
        for name, part in scores.items()
        if len(part) > 1
    ]
    if not seeds:
        return spread
    columns = [np.hstack([macro_replicates(means, families), means]) for means in seeds]
    return seed_residuals(spread, columns, _rounding(differences))


def _descriptive(columns: _Columns, clusters: np.ndarray, measure: Measure) -> list[Cell]:
    """Means and effect sizes; the tests' places hold None."""
    sizes = effects(columns.values, clusters, higher_is_better=measure.higher_is_better)
    return [
        Cell(
            baseline=float(baseline),
            system=float(system),
            difference=float(system - baseline),
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
        for column, (baseline, system) in enumerate(
            zip(columns.baseline, columns.system, strict=True)
        )
    ]


def _own_p(
    tested: _Tested, columns: list[int], clusters: np.ndarray, draws: tuple[int, int]
) -> np.ndarray:
    """Each column's p-value, over the seeds if these systems have several."""
    if tested.several:
        return bootstrap_p(tested.replicates[:, columns])
    return sign_flips(tested.columns.values[:, columns], clusters, *draws).p


def _least(values: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """The least p that flipping the clusters of each column could reach, float64 [columns]."""
    return least_p((cluster_sums(values, clusters).cells > 0).sum(axis=0))


def _of(spread: Spread, columns: list[int]) -> Spread:
    return type(spread)(*(part[..., columns] for part in spread))


def _joined(spreads: Sequence[AnySpread]) -> AnySpread:
    """Spreads of the same clusters and seeds, beside each other."""
    joined = (np.concatenate(parts, axis=-1) for parts in zip(*spreads, strict=True))
    return type(spreads[0])(*joined)


def _add_tests(members: Members, clusters: np.ndarray, options: CompareOptions) -> None:
    """Put a family's p-values and intervals in place, over seeds where its spreads have them."""
    draws = (options.permutations, options.seed)
    values = np.hstack([one.columns.values[:, columns] for one, columns in members])
    spread = _joined([_of(one.spread, columns) for one, columns in members])
    if isinstance(spread, SeedResiduals):
        least = _least(values, clusters)
        p = np.maximum(np.concatenate([_own_p(*part, clusters, draws) for part in members]), least)
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
    for one, columns in members:
        single = percentile_intervals(one.replicates[:, columns], options.confidence)
        for place, column in enumerate(columns):
            _put(
                one.cells,
                column,
                interval=_bounds(single, place),
                simultaneous=_bounds(joint, number),
                p=_number(p[number]),
                p_adjusted=_number(corrected[number]),
            )
            number += 1


def _add_requested(
    tested: _Tested, clusters: np.ndarray, measure: Measure, options: CompareOptions
) -> None:
    """Equivalence within the margin, t and Wilcoxon, where they are asked for."""
    if options.margin is not None:
        tests = equivalence(
            tested.replicates,
            options.margin,
            higher_is_better=measure.higher_is_better,
            level=1 - options.confidence,
        )
        directed = measure.direction != "none"
        for column in range(len(tested.cells)):
            shown = Equivalence(
                equivalent=_number(tests.equivalent[column]),
                no_worse=_number(tests.no_worse[column]) if directed else None,
                interval=_bounds(tests.interval, column),
            )
            _put(tested.cells, column, equivalence=shown)
    for test in options.also:
        result: Parametric = _PARAMETRIC[test](tested.columns.values, clusters)
        for column in range(len(tested.cells)):
            further = FurtherTest(
                statistic=_number(result.statistic[column]),
                p=_number(result.p[column]),
                flags=result.flags[column],
            )
            _put(tested.cells, column, **{test: further})


def _put(cells: list[Cell], column: int, **fields: Any) -> None:
    """Fill in more of a cell."""
    cells[column] = cells[column].model_copy(update=fields)


def _bounds(intervals: Intervals, column: int) -> Interval:
    return _number(intervals.low[column]), _number(intervals.high[column])


def _number(value: Any) -> float | None:
    """A float for JSON: None in place of NaN and infinities."""
    return float(value) if np.isfinite(value) else None
