"""Per-query values of several systems on one grid: topics × settings, matched by id.

Order never matters: systems, seeds and topics are sorted by name, settings by kind, query language
and pool, so results do not depend on the order of files or rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import NamedTuple

import numpy as np

from bias_bench.errors import DataError, UsageError, nearest
from bias_bench.evaluation.settings import KINDS, parse_setting
from bias_bench.significance.document import Omitted


class Observations(NamedTuple):
    """One run's values, one row per query: parallel sequences [rows].

    `clusters` names what is resampled as a whole: the topic's paragraph or article, or None for
    the topic itself. A missing cell is a missing row.
    """

    topics: Sequence[str]
    settings: Sequence[str]
    values: np.ndarray
    clusters: Sequence[str] | None = None


class Aligned(NamedTuple):
    """All systems on one grid.

    `scores` holds per system float64 [seeds, topics, settings], NaN where any run lacks the cell;
    `clusters` int64 [topics] numbers `cluster_names`, in their order.
    """

    systems: tuple[str, ...]
    topics: tuple[str, ...]
    settings: tuple[str, ...]
    clusters: np.ndarray
    cluster_names: tuple[str, ...]
    scores: tuple[np.ndarray, ...]
    omitted: Omitted


class Differences(NamedTuple):
    """System minus baseline, in the metric's unit.

    `values` float64 [topics, settings] of the means over seeds, NaN where missing; `system` and
    `baseline` are their scores, float64 [seeds, topics, settings]; `clusters` int64 [topics].
    """

    topics: tuple[str, ...]
    settings: tuple[str, ...]
    clusters: np.ndarray
    values: np.ndarray
    system: np.ndarray
    baseline: np.ndarray


def align(runs: Mapping[str, Mapping[str, Observations]]) -> Aligned:
    """Put every seed of every system on one grid. `runs` is system -> seed -> observations.

    A cell counts only where every run has it, so that all systems are compared on the same
    queries. Raises DataError for NaN, infinite or repeated values and for a topic in two
    clusters, UsageError when no cell is common to all runs.
    """
    named = [
        (f"{system}, seed {seed}", observations)
        for system in sorted(runs)
        for seed, observations in sorted(runs[system].items())
    ]
    if not named:
        raise UsageError("nothing to compare; give at least one run")
    topics = sorted({topic for _, run in named for topic in run.topics})
    settings = sorted(
        {name for _, run in named for name in run.settings},
        key=lambda name: parse_setting(name).order,
    )
    grids = np.stack([_grid(name, run, topics, settings) for name, run in named])
    present = ~np.isnan(grids)
    common = present.all(axis=0)
    rows, columns = common.any(axis=1), common.any(axis=0)
    if not rows.any():
        shown = "; ".join(
            f"{name}: {len(set(run.topics))} topics such as {run.topics[0]}, setting "
            f"{run.settings[0]}"
            if len(run.topics)
            else f"{name}: no values"
            for name, run in (named[0], named[-1])
        )
        raise UsageError(
            f"the runs share no topic in any setting ({shown}); compare runs of one benchmark"
        )
    grid = np.ix_(rows, columns)
    grids[:, ~common] = np.nan
    grids = grids[:, rows][:, :, columns]
    kept_topics = tuple(compress(topics, rows))
    cluster_names, clusters = _cluster_codes(named, kept_topics)
    ends = np.cumsum([len(runs[system]) for system in sorted(runs)])
    return Aligned(
        systems=tuple(sorted(runs)),
        topics=kept_topics,
        settings=tuple(compress(settings, columns)),
        clusters=clusters,
        cluster_names=cluster_names,
        scores=tuple(np.split(grids, ends[:-1])),
        omitted=Omitted(
            topics=int((~rows).sum()),
            settings=tuple(compress(settings, ~columns)),
            cells=int((present.any(axis=0) & ~common)[grid].sum()),
            missing=int((~present.any(axis=0))[grid].sum()),
        ),
    )


def difference(aligned: Aligned, system: str, baseline: str) -> Differences:
    """System minus baseline. Raises UsageError for a name that was not aligned."""
    for name in (system, baseline):
        if name not in aligned.systems:
            raise UsageError(f"unknown system '{name}': {nearest(name, aligned.systems)}")
    of_system, of_baseline = (
        aligned.scores[aligned.systems.index(name)] for name in (system, baseline)
    )
    return Differences(
        topics=aligned.topics,
        settings=aligned.settings,
        clusters=aligned.clusters,
        values=of_system.mean(axis=0) - of_baseline.mean(axis=0),
        system=of_system,
        baseline=of_baseline,
    )


def groups_by_kind(settings: Sequence[str]) -> dict[str, list[int]]:
    """The columns of each kind of setting, for the kinds that occur, in their usual order."""
    kinds = [parse_setting(name).kind for name in settings]
    return {
        kind: [column for column, other in enumerate(kinds) if other == kind]
        for kind in KINDS
        if kind in kinds
    }


def macro_values(values: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """Each topic's part in the macro average of each group of settings.

    From values [topics, settings], NaN where missing, float64 [topics, groups]: their mean over
    topics is exactly the macro average (mean over settings of per-setting means). Without holes
    it is the topic's mean over the group's settings; a topic with no cell there is NaN. As it is
    linear, that of differences is the difference of those of two systems.
    """
    pooled = np.empty((len(values), len(groups)))
    for group, columns in enumerate(groups):
        group_values = values[:, list(columns)]
        present = ~np.isnan(group_values)
        topics = present.any(axis=1)
        weights = topics.sum() / present.sum(axis=0)
        total = np.where(present, group_values * weights, 0.0).sum(axis=1)
        pooled[:, group] = np.where(topics, total / len(columns), np.nan)
    return pooled


def _grid(
    name: str, run: Observations, topics: Sequence[str], settings: Sequence[str]
) -> np.ndarray:
    """One run's values [topics, settings], NaN where it has none."""
    values = np.asarray(run.values, dtype=np.float64)
    if not len(run.topics) == len(run.settings) == len(values):
        raise DataError(f"{name}: topics, settings and values differ in number; score it again")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        where = f"topic {run.topics[bad[0]]} in setting {run.settings[bad[0]]}"
        raise DataError(f"{name}: the value of {where} is {values[bad[0]]}; score the run again")
    row_of = {topic: row for row, topic in enumerate(topics)}
    column_of = {setting: column for column, setting in enumerate(settings)}
    rows = np.array([row_of[topic] for topic in run.topics], dtype=np.int64)
    columns = np.array([column_of[setting] for setting in run.settings], dtype=np.int64)
    cells, first, counts = np.unique(
        rows * len(settings) + columns, return_index=True, return_counts=True
    )
    if len(cells) < len(values):
        row = first[counts > 1][0]
        where = f"topic {run.topics[row]} in setting {run.settings[row]}"
        raise DataError(f"{name}: {where} has several values; keep one")
    grid = np.full((len(topics), len(settings)), np.nan)
    grid[rows, columns] = values
    return grid


def _cluster_codes(
    named: Sequence[tuple[str, Observations]], topics: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray]:
    """The clusters' names, sorted, and the code of each topic's cluster."""
    cluster_of: dict[str, str] = {}
    for name, run in named:
        for topic, cluster in zip(run.topics, run.clusters or run.topics, strict=True):
            if cluster_of.setdefault(topic, cluster) != cluster:
                raise DataError(
                    f"{name}: topic {topic} is in cluster {cluster}, elsewhere in "
                    f"{cluster_of[topic]}; compare runs of one version of the data"
                )
    names = tuple(sorted({cluster_of[topic] for topic in topics}))
    code_of = {cluster: code for code, cluster in enumerate(names)}
    codes = [code_of[cluster_of[topic]] for topic in topics]
    return names, np.array(codes, dtype=np.int64)
