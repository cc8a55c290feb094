"""One system against the baseline: means, tests, intervals and effect sizes as JSON holds them.

With one seed of each, p-values come from sign flips and intervals from the bootstrap, both over
clusters of topics. With several seeds of either, both come from the bootstrap over seeds and
clusters, since flipping signs of differences speaks of the checkpoints at hand only. What holds for
a whole family at once comes from random signs of residuals, of clusters and of seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from bias_bench.significance.bootstrap import (
    Intervals,
    bootstrap_means,
    bootstrap_p,
    macro_replicates,
    percentile_intervals,
)
from bias_bench.significance.corrections import benjamini_hochberg, holm
from bias_bench.significance.differences import Aligned, Differences, macro_values
from bias_bench.significance.effects import effects, unit_means
from bias_bench.significance.equivalence import equivalence
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
from bias_bench.significance.tukey import tukey_hsd

SIGN_FLIPS = "sign flips of clusters"
SEED_BOOTSTRAP = "bootstrap of seeds and clusters"
_ROUNDING = 1e-12  # of the scores' size: what equal means of several seeds can differ by
_CORRECTIONS = {"holm": holm, "bh": benjamini_hochberg}
_PARAMETRIC = {"t": t_test, "wilcoxon": wilcoxon_test}

Groups = Mapping[str, list[int]]
Spread = TypeVar("Spread", Residuals, SeedResiduals)


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


class _Family(NamedTuple):
    """Of the columns of one family: p-values, step-down max-T ones, simultaneous intervals."""

    p: np.ndarray
    step_down: np.ndarray
    joint: Intervals


def compare_pair(
    found: Differences, groups: Groups, measure: Measure, options: CompareOptions
) -> dict[str, Any]:
    """`groups` and `settings` of one system, and what test they had."""
    baseline, system = (
        np.nanmean(part.mean(axis=0), axis=0) for part in (found.baseline, found.system)
    )
    families = tuple(groups.values())
    settings = _Columns(found.settings, found.values, baseline, system, families)
    kinds = _Columns(
        tuple(groups),
        macro_values(found.values, families),
        np.array([baseline[columns].mean() for columns in families]),
        np.array([system[columns].mean() for columns in families]),
        (list(range(len(groups))),),
    )
    tables = [_descriptive(part, found.clusters, measure) for part in (kinds, settings)]
    test: dict[str, Any] = {"test": None}
    if options.significance:
        replicates = _replicates(found, options)
        means = (macro_replicates(replicates, families), replicates)
        spreads = _spreads(found, families)
        for table, columns, means_of, spread in zip(
            tables, (kinds, settings), means, spreads, strict=True
        ):
            tested = _test(columns, means_of, spread, found.clusters, options)
            _add_tests(table, columns, means_of, tested, options)
            _add_requested(table, columns, means_of, found.clusters, measure, options)
        test = {"test": SEED_BOOTSTRAP if _several_seeds(found) else SIGN_FLIPS}
    for name, cell in tables[0].items():
        cell["settings"] = len(groups[name])
    return {**test, "groups": tables[0], "settings": tables[1]}


def tukey_groups(
    aligned: Aligned, names: Sequence[str], groups: Groups, options: CompareOptions
) -> dict[str, Any]:
    """Randomised Tukey HSD of all pairs of systems on the macro average of each kind.

    p-values are adjusted over the pairs of a kind, not over kinds. Of several seeds it takes the
    mean, so it speaks of the checkpoints at hand.
    """
    scores = np.stack(
        [
            macro_values(
                aligned.scores[aligned.systems.index(name)].mean(axis=0), list(groups.values())
            )
            for name in names
        ]
    )
    found = tukey_hsd(scores, aligned.clusters, options.permutations, options.seed)
    pairs = [(a, b) for b in range(len(names)) for a in range(b + 1, len(names))]
    sizes = {
        (a, b): effects(unit_means(scores[a] - scores[b], aligned.clusters)).d_z for a, b in pairs
    }
    return {
        "permutations": found.draws,
        "exact": found.exact,
        "groups": {
            kind: [
                {
                    "system": names[a],
                    "other": names[b],
                    "difference": float(found.means[column, a] - found.means[column, b]),
                    "p": float(found.p[column, a, b]),
                    "d_z": _number(sizes[a, b][column]),
                }
                for a, b in pairs
            ]
            for column, kind in enumerate(groups)
        },
    }


def _several_seeds(found: Differences) -> bool:
    return len(found.system) > 1 or len(found.baseline) > 1


def _replicates(found: Differences, options: CompareOptions) -> np.ndarray:
    """Mean differences under resampling: float64 [replicates, settings]."""
    draws = (options.permutations, options.seed)
    if not _several_seeds(found):
        return bootstrap_means(found.values, found.clusters, *draws)
    means = seed_means(found.system, found.baseline, found.clusters, *draws)
    means[np.abs(means) <= _rounding(found)] = 0.0
    return means


def _rounding(found: Differences) -> float:
    """What equal means of several seeds can differ by."""
    return _ROUNDING * max(np.nanmax(np.abs(part)) for part in (found.system, found.baseline))


def _spreads(
    found: Differences, families: Sequence[list[int]]
) -> tuple[Residuals | SeedResiduals, Residuals | SeedResiduals]:
    """How the macro averages and the settings vary."""
    settings = residuals(found.values, found.clusters)
    kinds = macro(settings, families)
    if not _several_seeds(found):
        return kinds, settings
    several = [part for part in (found.system, found.baseline) if len(part) > 1]
    of_settings = [np.nanmean(part, axis=1) for part in several]
    of_kinds = [
        np.stack([part[:, family].mean(axis=1) for family in families], axis=1)
        for part in of_settings
    ]
    return (
        seed_residuals(kinds, of_kinds, _rounding(found)),
        seed_residuals(settings, of_settings, _rounding(found)),
    )


def _descriptive(
    columns: _Columns, clusters: np.ndarray, measure: Measure
) -> dict[str, dict[str, Any]]:
    """Means and effect sizes; the tests' places hold None."""
    found = effects(unit_means(columns.values, clusters), higher_is_better=measure.higher_is_better)
    return {
        name: {
            "baseline": float(columns.baseline[column]),
            "system": float(columns.system[column]),
            "difference": float(columns.system[column] - columns.baseline[column]),
            "interval": [None, None],
            "simultaneous": [None, None],
            "p": None,
            "p_adjusted": None,
            "d_z": _number(found.d_z[column]),
            "rank_biserial": _number(found.rank_biserial[column]),
            "wins": int(found.wins[column]),
            "ties": int(found.ties[column]),
            "losses": int(found.losses[column]),
            "n": int(found.units[column]),
        }
        for column, name in enumerate(columns.names)
    }


def _test(
    columns: _Columns,
    replicates: np.ndarray,
    spread: Residuals | SeedResiduals,
    clusters: np.ndarray,
    options: CompareOptions,
) -> list[_Family]:
    """Each family's tests, over seeds too where `spread` has them."""
    draws, found = (options.permutations, options.seed), []
    for family in columns.families:
        if isinstance(spread, SeedResiduals):
            p = bootstrap_p(replicates[:, family])
            seeds = seeds_at_once(_of(spread, family), options.confidence, *draws)
            found.append(_Family(p, np.maximum(seeds.step_down, p), seeds.intervals))
        else:
            flips = sign_flips(columns.values[:, family], clusters, *draws)
            joint = simultaneous_intervals(_of(spread, family), options.confidence, *draws)
            found.append(_Family(flips.p, flips.step_down, joint))
    return found


def _of(spread: Spread, columns: list[int]) -> Spread:
    return type(spread)(*(part[..., columns] for part in spread))


def _add_tests(
    table: dict[str, dict[str, Any]],
    columns: _Columns,
    replicates: np.ndarray,
    tested: Sequence[_Family],
    options: CompareOptions,
) -> None:
    """Put p-values and intervals in place."""
    own = percentile_intervals(replicates, options.confidence)
    adjust = _CORRECTIONS.get(options.correction)
    for family, found in zip(columns.families, tested, strict=True):
        corrected = adjust(found.p) if adjust else found.step_down
        for place, column in enumerate(family):
            table[columns.names[column]].update(
                interval=_bounds(own, column),
                simultaneous=_bounds(found.joint, place),
                p=_number(found.p[place]),
                p_adjusted=_number(corrected[place]),
            )


def _add_requested(
    table: dict[str, dict[str, Any]],
    columns: _Columns,
    replicates: np.ndarray,
    clusters: np.ndarray,
    measure: Measure,
    options: CompareOptions,
) -> None:
    """Equivalence within the margin, t and Wilcoxon, where they are asked for."""
    if options.margin is not None:
        found = equivalence(
            replicates,
            options.margin,
            higher_is_better=measure.higher_is_better,
            level=1 - options.confidence,
        )
        directed = measure.direction != "none"
        for column, name in enumerate(columns.names):
            table[name]["equivalence"] = {
                "equivalent": _number(found.equivalent[column]),
                "no_worse": _number(found.no_worse[column]) if directed else None,
                "interval": _bounds(found.interval, column),
            }
    for test in options.also:
        result: Parametric = _PARAMETRIC[test](columns.values, clusters)
        for column, name in enumerate(columns.names):
            table[name][test] = {
                "statistic": _number(result.statistic[column]),
                "p": _number(result.p[column]),
                "flags": list(result.flags[column]),
            }


def _bounds(intervals: Intervals, column: int) -> list[float | None]:
    return [_number(intervals.low[column]), _number(intervals.high[column])]


def _number(value: Any) -> float | None:
    """A float for JSON: None in place of NaN and infinities."""
    return float(value) if np.isfinite(value) else None
