"""How often a test finds a difference where there is none, and how often those that there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.calibration.estimates import LEVEL, Found, Row, Scenario, rows
from benchmarks.calibration.worlds import UNITS, WORLDS, Sample, Source, generator
from bias_bench.data.units import Unit
from bias_bench.significance.corrections import benjamini_hochberg, holm
from bias_bench.significance.differences import macro_values
from bias_bench.significance.parametric import t_test
from bias_bench.significance.randomization import sign_flips

STEP_DOWN, SINGLE_STEP = "max-T, step-down", "max-T, single step"
HOLM, BONFERRONI, BH, NONE = "Holm", "Bonferroni", "Benjamini-Hochberg", "no correction"
POOLED = "macro average, sign flips"
HOLM_T, QUERY_T = "Holm over t-tests of topics", "pooled t-test of queries"
FWER, FDR, ERROR, POWER = "family-wise error", "false discovery rate", "error", "power"
SOME = 4  # t-tests of all settings take most of the time: every fourth data set has them
SHIFTS = (0.005, 0.01, 0.015, 0.02, 0.03)


class Size(NamedTuple):
    """Simulated data sets, sign flips per test, bootstrap replicates; `seed` of everything."""

    simulations: int
    permutations: int
    replicates: int
    seed: int = 0


def null_errors(source: Source, size: Size, world: str, unit: Unit) -> list[Row]:
    """Error rates where no setting differs, of tests by topics, paragraphs and articles."""
    name = f"errors {world} {unit}"
    none = np.zeros(source.values.shape[1], dtype=bool)
    found = []
    for number in range(size.simulations):
        random = generator(size.seed, name, number)
        sample = WORLDS[world](source, unit, random)
        seed = int(random.integers(2**31))
        result: Found = {}
        for cluster in UNITS:
            result |= _family(sample, cluster, none, size, seed) | _pooled(
                sample, cluster, size, seed, ERROR
            )
        if number % SOME == 0:
            p = t_test(sample.values, sample.units["topic"]).p
            result |= _judged("topic", HOLM_T, holm(p), none)
        result["query", QUERY_T, ERROR] = _by_query(sample, source.languages)
        found.append(result)
    return rows(Scenario("errors", world, unit), found)


def shifted_power(
    source: Source, size: Size, unit: Unit, clusters: Sequence[Unit], shifted: int
) -> list[Row]:
    """Share of the `shifted` settings found, and errors in the others, for each size of shift.

    The world is the flipped one, where tests by `unit` or larger err as they say. Which settings
    are shifted changes from data set to data set, and is the same for all sizes of shift.
    """
    name = f"power {unit} {shifted}"
    settings = source.values.shape[1]
    table = []
    for shift in SHIFTS:
        found = []
        for number in range(size.simulations):
            random = generator(size.seed, name, number)
            sample = WORLDS["flipped"](source, unit, random)
            seed = int(random.integers(2**31))
            differs = np.isin(np.arange(settings), random.permutation(settings)[:shifted])
            moved = sample._replace(values=sample.values + shift * differs)
            result: Found = {}
            for cluster in clusters:
                result |= _family(moved, cluster, differs, size, seed) | _pooled(
                    moved, cluster, size, seed, POWER
                )
            found.append(result)
        table += rows(Scenario("power", "flipped", unit, shifted, shift), found)
    return table


def adjusted(
    values: np.ndarray, clusters: np.ndarray, permutations: int, seed: int
) -> Mapping[str, np.ndarray]:
    """Each method's p-values float64 [settings], from one set of sign flips."""
    found = sign_flips(values, clusters, permutations, seed)
    return {
        STEP_DOWN: found.step_down,
        SINGLE_STEP: found.single_step,
        HOLM: holm(found.p),
        BONFERRONI: np.minimum(found.p * len(found.p), 1.0),
        BH: benjamini_hochberg(found.p),
        NONE: found.p,
    }


def _family(sample: Sample, cluster: Unit, differs: np.ndarray, size: Size, seed: int) -> Found:
    found: Found = {}
    p_values = adjusted(sample.values, sample.units[cluster], size.permutations, seed)
    for method, p in p_values.items():
        found |= _judged(cluster, method, p, differs)
    return found


def _judged(cluster: str, method: str, p: np.ndarray, differs: np.ndarray) -> Found:
    """Power and false discovery rate where settings differ, family-wise error where others do not.

    Where none differs every discovery is false, and the two errors are one.
    """
    significant = p <= LEVEL
    false = int((significant & ~differs).sum())
    found: Found = {}
    if not differs.all():
        found[cluster, method, FWER] = float(false > 0)
    if differs.any():
        found[cluster, method, FDR] = false / max(int(significant.sum()), 1)
        found[cluster, method, POWER] = float(significant[differs].mean())
    return found


def _pooled(sample: Sample, cluster: Unit, size: Size, seed: int, quantity: str) -> Found:
    """The test of the macro average over all settings."""
    values = macro_values(sample.values, [range(sample.values.shape[1])])
    p = sign_flips(values, sample.units[cluster], size.permutations, seed).p[0]
    return {(cluster, POOLED, quantity): float(p <= LEVEL)}


def _by_query(sample: Sample, languages: Sequence[Sequence[int]]) -> float:
    """Whether a t-test finds a difference that takes every query of every language as independent.

    A query's value is its mean over the pools that it searches.
    """
    queries = macro_values(sample.values, languages).reshape(-1, 1)
    return float(t_test(queries, np.arange(len(queries))).p[0] <= LEVEL)
