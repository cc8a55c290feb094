"""Friedman test: does a system order candidate languages systematically?

Treatments are candidate languages. Topics about one text are not independent, so a block is a unit
of resampling (`units.default_unit`: article, paragraph or topic): it holds the mean relative rank
of the parallel relevant candidates in each language, over the unit's topics, in the pool of all
languages; one test per query language, and one over all query languages. Within a unit anything
may depend on anything: where no language is preferred, all orders of a block's means are equally
likely. For partly parallel topics it is the test of Skillings and Mack, which is Friedman's when
every block has all languages; ties are averaged and corrected for.

The statistic (from 0) follows chi-squared with languages - 1 degrees of freedom when no language is
preferred. With many blocks any preference is significant, so `relative_ranks` shows its size:
(place among the m parallel candidates - 1)/(m - 1), mean over topics, in [0, 1]; 0.5 is neutral,
lower is preferred.

Sources: Friedman 1937; Skillings and Mack 1981, Technometrics 23(2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bias_bench.bias.parallel import (
    LanguageRanks,
    Parallel,
    column_means,
    is_ordered,
    known_ranks,
)
from bias_bench.data.units import Unit, default_unit


class FriedmanTest(NamedTuple):
    """`relative_ranks` float64 [treatments], NaN for treatments that no block holds."""

    statistic: float
    degrees: int
    p: float
    blocks: int
    relative_ranks: np.ndarray


def block_ranks(values: np.ndarray) -> np.ndarray:
    """Rank from 1 within each row of float values [blocks, treatments], ties averaged, NaN kept."""
    known = ~np.isnan(values)
    left, right = values[:, :, None], values[:, None, :]
    smaller = (right < left).sum(axis=2)
    tied = (right == left).sum(axis=2)  # itself included
    return np.where(known, smaller + (tied + 1) / 2, np.nan)


def relative_ranks(values: np.ndarray) -> np.ndarray:
    """(Rank - 1)/(m - 1) within each row of m known values [blocks, treatments], NaN kept."""
    count = (~np.isnan(values)).sum(axis=1, keepdims=True)
    return (block_ranks(values) - 1) / np.where(count > 1, count - 1, np.nan)


def friedman(values: np.ndarray) -> FriedmanTest:
    """Test float values [blocks, treatments]; NaN where a block lacks a treatment.

    Blocks with fewer than two values say nothing and are left out. With adjusted ranks
    a = sqrt(12/(m + 1)) (rank - (m + 1)/2) and their sums A over blocks, the statistic is
    A' V^- A, V being the covariance of A under random order within blocks.
    """
    from scipy.stats import chi2

    values = values[(~np.isnan(values)).sum(axis=1) >= 2]
    known = ~np.isnan(values)
    count = known.sum(axis=1, keepdims=True)
    centred = np.where(known, block_ranks(values) - (count + 1) / 2, 0.0)
    adjusted = np.sqrt(12 / (count + 1)) * centred
    sums = adjusted.sum(axis=0)
    # a block's values have variance s/m and covariance -s/(m (m - 1)), s their sum of squares
    spread = np.square(adjusted).sum(axis=1, keepdims=True) / (count - 1)
    covariance = np.diag((spread * known).sum(axis=0)) - (known * (spread / count)).T @ known
    roots, vectors = np.linalg.eigh(covariance)
    real = roots > 1e-9 * max(float(roots.max(initial=0.0)), 1e-9)
    statistic = float((np.square(vectors[:, real].T @ sums) / roots[real]).sum())
    degrees = int(real.sum())
    p = float(chi2.sf(statistic, degrees)) if degrees else 1.0
    return FriedmanTest(statistic, degrees, p, len(values), column_means(relative_ranks(values)))


def summarise(parallel: Parallel) -> dict[str, Any]:
    """The tests per query language and over all of them (`all_queries`), by `unit`."""
    by_language = {
        language: [part]
        for language, part in parallel.parts.items()
        if is_ordered(part.ranks).any()
    }
    if not by_language:
        return {}
    every = [part for parts in by_language.values() for part in parts]
    unit = default_unit(
        lambda name: zip(_groups(every, "topic"), _groups(every, name), strict=True)
    )

    def tested(parts: list[LanguageRanks]) -> dict[str, Any]:
        test = by_unit(parts, unit)
        ranks = dict(zip(parallel.languages, test.relative_ranks.tolist(), strict=True))
        known = {language: value for language, value in ranks.items() if not np.isnan(value)}
        return {**test._asdict(), "relative_ranks": known}

    return {
        "unit": unit,
        "all_queries": tested(every),
        "per_language": {language: tested(parts) for language, parts in by_language.items()},
    }


def _groups(parts: Sequence[LanguageRanks], unit: Unit) -> list[str]:
    """The topic, paragraph or article of every query."""
    return [name for part in parts for name in getattr(part.source, f"{unit}s")]


def by_unit(parts: Sequence[LanguageRanks], unit: Unit) -> FriedmanTest:
    """The test with units as blocks; `relative_ranks` are means over topics whatever the unit."""
    ranks = np.concatenate([relative_ranks(known_ranks(part.ranks)) for part in parts])
    topics = block_means(ranks, _groups(parts, "topic"))
    effect = column_means(relative_ranks(topics))
    blocks = topics if unit == "topic" else block_means(ranks, _groups(parts, unit))
    return friedman(blocks)._replace(relative_ranks=effect)


def block_means(values: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Means [groups, treatments] of values [rows, treatments] over the rows of each group.

    NaN in no mean, and where a group has no value.
    """
    names, rows = np.unique(groups, return_inverse=True)
    total, count = (np.zeros((len(names), values.shape[1])) for _ in range(2))
    np.add.at(total, rows, np.nan_to_num(values))
    np.add.at(count, rows, ~np.isnan(values))
    # sums of few small fractions: rounding keeps equal means equal
    return np.where(count > 0, np.round(total / np.maximum(count, 1), 12), np.nan)
