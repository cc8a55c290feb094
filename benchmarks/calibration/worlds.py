"""Data sets in which no system is better, made from the real differences between two runs.

Both worlds keep what makes the tests' work hard: the correlation of 110 settings that share topics,
that of topics that share a text, many ties, skewness, and texts of very different length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np

from bias_bench.data.units import Unit
from bias_bench.errors import UsageError
from bias_bench.evaluation.settings import parse_setting
from bias_bench.significance.differences import (
    Differences,
    align,
    difference,
    groups_by_kind,
    macro_values,
)
from bias_bench.significance.measures import parse_measure
from bias_bench.significance.run_values import read_values
from bias_bench.significance.sums import cluster_sums
from bias_bench.significance.systems import read_finished

UNITS: tuple[Unit, ...] = ("topic", "paragraph", "article")  # each within the next


class Source(NamedTuple):
    """Real differences without their means.

    `values` float64 [topics, settings], in the metric's unit, every column's mean 0; `units` has
    each topic's topic, paragraph and article as int codes [topics] from 0; `languages` has the
    columns of each query language; `means` float64 [settings] was taken away.
    """

    values: np.ndarray
    units: dict[Unit, np.ndarray]
    languages: list[list[int]]
    means: np.ndarray


class Sample(NamedTuple):
    """One simulated data set: `values` float64 [topics, settings], `units` as of a `Source`."""

    values: np.ndarray
    units: dict[Unit, np.ndarray]


World = Callable[[Source, Unit, np.random.Generator], Sample]


def read_source(runs: Sequence[Path], metric: str) -> Source:
    """The cross-lingual differences of the second run to the first, on all that both have.

    Settings without any difference are left out. Raises UsageError unless there are two runs with
    cross-lingual settings that differ, DataError for damaged ones.
    """
    if len(runs) != 2:
        raise UsageError(f"--runs takes two run folders, not {len(runs)}; give baseline and system")
    found = _differences(runs, metric)
    one = found["topic"]
    columns = [
        column
        for column in groups_by_kind(one.settings).get("cross_lingual", [])
        if np.nanstd(one.values[:, column]) > 0
    ]
    if not columns:
        raise UsageError(
            f"{runs[0]}, {runs[1]}: no common cross-lingual setting in which they differ; "
            "take other runs"
        )
    languages = [parse_setting(one.settings[column]).query_language for column in columns]
    return centred(
        one.values[:, columns],
        {unit: part.clusters for unit, part in found.items()},
        [
            [column for column, other in enumerate(languages) if other == language]
            for language in dict.fromkeys(languages)
        ],
    )


def read_kinds(runs: Sequence[Path], metric: str) -> tuple[Source, dict[str, list[int]]]:
    """The differences of the second run to the first in all settings, and the columns by kind."""
    found = _differences(runs, metric)
    units = {unit: part.clusters for unit, part in found.items()}
    one = found["topic"]
    return centred(one.values, units, []), groups_by_kind(one.settings)


def centred(
    values: np.ndarray, units: dict[Unit, np.ndarray], languages: list[list[int]]
) -> Source:
    """A source from values float64 [topics, settings], NaN where missing, of any mean."""
    means = np.nanmean(values, axis=0)
    return Source(values - means, units, languages, means)


def _differences(runs: Sequence[Path], metric: str) -> dict[Unit, Differences]:
    folders = [read_finished(path) for path in runs]
    measure = parse_measure(metric)
    names = ("baseline", "system")
    return {
        unit: difference(
            align(
                {
                    name: {"0": read_values(run, measure).by(unit)}
                    for name, run in zip(names, folders, strict=True)
                }
            ),
            "system",
            "baseline",
        )
        for unit in UNITS
    }


def flipped(source: Source, unit: Unit, random: np.random.Generator) -> Sample:
    """Every unit as it is, or with all its signs turned, by fair coins.

    So the signs of units, and of larger ones that hold them, are exchangeable, which is all that a
    sign-flip test by them asks for: its error is at most the level, whatever the data look like.
    The signs of smaller ones are not, as those within a unit turn together.
    """
    codes = source.units[unit]
    signs = random.choice([-1.0, 1.0], int(codes.max()) + 1)
    return Sample(source.values * signs[codes, None], source.units)


def resampled(source: Source, unit: Unit, random: np.random.Generator) -> Sample:
    """As many units as there are, drawn with replacement from the real ones.

    The mean over topics is 0 in the population that is drawn from, but its units are skewed, so
    signs are exchangeable at no level: what a new sample of texts would look like. A drawn unit
    takes the place of another: it belongs to that one's paragraph or article, and is a text of
    its own even if drawn twice.
    """
    codes = source.units[unit]
    order = np.argsort(codes, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    drawn = random.integers(0, len(members), len(members))
    rows = np.concatenate([members[one] for one in drawn])
    place = np.repeat(np.arange(len(members)), [len(members[one]) for one in drawn])
    first = np.array([rows_of[0] for rows_of in members])
    units = {
        other: source.units[other][first][place]
        if UNITS.index(other) > UNITS.index(unit)
        else _renumbered(place, source.units[other][rows])
        for other in UNITS
    }
    return Sample(source.values[rows], units)


WORLDS: dict[str, World] = {"flipped": flipped, "resampled": resampled}


def generator(seed: int, scenario: str, number: int) -> np.random.Generator:
    """The generator of one simulation, which no other simulation or scenario influences."""
    key = (crc32(scenario.encode()), number)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def structure(source: Source) -> dict[str, object]:
    """What is dependent in the real data, for the record.

    A design effect is the variance of a mean with these units over that with independent topics,
    from the squared sums of units; above 1, what takes topics as independent errs too often.
    """
    pooled = macro_values(source.values, [range(source.values.shape[1])])
    # columns have no mean, so the products of their standardised values are correlations
    scaled = np.nan_to_num(source.values / np.nanstd(source.values, axis=0))
    settings = scaled.shape[1]
    correlation = (scaled.sum(axis=1) @ scaled.sum(axis=1)) / len(scaled) / settings
    correlation = (correlation - 1) / max(settings - 1, 1)
    found: dict[str, object] = {
        "topics": len(source.values),
        "settings": source.values.shape[1],
        "equal scores": round(float(np.isclose(source.values + source.means, 0).mean()), 3),
        "real difference, least": round(float(source.means.min()), 4),
        "real difference, mean": round(float(source.means.mean()), 4),
        "real difference, most": round(float(source.means.max()), 4),
        "correlation of settings, mean": round(float(correlation), 3),
        "standard deviation of settings, mean": round(float(np.nanstd(source.values, 0).mean()), 4),
    }
    for unit in UNITS:
        effects = design_effect(source.values, source.units[unit])
        sizes = np.bincount(source.units[unit])
        found[unit] = {
            "units": len(sizes),
            "topics, mean": round(float(sizes.mean()), 2),
            "topics, most": int(sizes.max()),
            "design effect of settings, mean": round(float(effects.mean()), 3),
            "design effect of settings, least": round(float(effects.min()), 3),
            "design effect of settings, most": round(float(effects.max()), 3),
            "design effect of the macro average": round(
                float(design_effect(pooled, source.units[unit])[0]), 3
            ),
        }
    return found


def design_effect(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Variance of the means of values [topics, columns] by units over that by topics, [columns]."""
    sums = cluster_sums(values, codes).sums
    return (sums**2).sum(axis=0) / np.nansum(values**2, axis=0)


def _renumbered(place: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Codes from 0 that are equal where both place and code are."""
    pairs = place * (int(codes.max()) + 1) + codes
    return np.unique(pairs, return_inverse=True)[1].reshape(-1)
