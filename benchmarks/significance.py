"""Joint sign flips with max-T, and the bootstrap, against scipy setting by setting."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmarks import data
from benchmarks.harness import Comparison, Options, Times, interleave, progress
from bias_bench.significance.bootstrap import bootstrap_means, percentile_intervals
from bias_bench.significance.randomization import sign_flips

SETTINGS = 110  # two of XQuAD-R's eleven languages
_SAMPLE = 2  # settings that the peer does; more tell nothing new


class Task(NamedTuple):
    """`values` float64 [topics, settings], the clusters of the topics, and the draws."""

    values: np.ndarray
    clusters: np.ndarray
    draws: int


def compare(options: Options) -> list[Comparison]:
    """Ours also adjusts for all settings at once; the peer does a few, one after the other."""
    task = _task(options)
    _require_same_p(task)
    progress("the p-values agree")
    _require_same_intervals(task)
    progress("the intervals agree")
    topics, settings = task.values.shape
    size = f"{settings} settings, {topics:,} topics, {task.draws:,}"
    flips = interleave(
        lambda: sign_flips(task.values, task.clusters, task.draws),
        lambda: _scipy_p(task),
        options.pairs_or(3),
    )
    bootstrap = interleave(
        lambda: percentile_intervals(bootstrap_means(*task)),
        lambda: _scipy_intervals(task),
        options.pairs_or(3),
    )
    return [
        _scaled("sign flips, max-T", flips, "≥ 100×", f"{size} permutations; permutation_test"),
        _scaled("bootstrap", bootstrap, "none", f"{size} replicates; scipy.stats.bootstrap"),
    ]


def _scaled(name: str, times: Times, goal: str, note: str) -> Comparison:
    scaled = times.scaled_peer(SETTINGS / _SAMPLE)
    return Comparison(name, scaled, goal, f"{note} on {_SAMPLE} settings, scaled")


def _task(options: Options) -> Task:
    """Differences like those of average precision: bounded, many of them 0, topics shared."""
    random = np.random.default_rng(0)
    topics = 100 if options.quick else data.TOPICS
    noise = random.normal(0, 0.1, (topics, 1)) + random.normal(0, 0.2, (topics, SETTINGS))
    values = np.clip(noise + random.uniform(-0.01, 0.01, SETTINGS), -1, 1)
    values[random.random(values.shape) < 0.3] = 0
    return Task(values, np.arange(topics), 1_000 if options.quick else 10_000)


def _scipy_p(task: Task) -> np.ndarray:
    from scipy.stats import permutation_test

    found = [
        permutation_test(
            (task.values[:, setting],),
            np.mean,
            permutation_type="samples",
            n_resamples=task.draws,
            vectorized=True,
            batch=1_000,
            rng=np.random.default_rng(setting),
        ).pvalue
        for setting in range(_SAMPLE)
    ]
    return np.array(found)


def _scipy_intervals(task: Task) -> np.ndarray:
    """Low and high, [settings, 2]."""
    from scipy.stats import bootstrap

    found = [
        bootstrap(
            (task.values[:, setting],),
            np.mean,
            n_resamples=task.draws,
            vectorized=True,
            batch=1_000,
            method="percentile",
            rng=np.random.default_rng(setting),
        ).confidence_interval
        for setting in range(_SAMPLE)
    ]
    return np.array(found)


def _require_same_p(task: Task) -> None:
    """Equal but for the draws: within five standard errors."""
    ours = sign_flips(task.values, task.clusters, task.draws).p[:_SAMPLE]
    error = np.sqrt(2 * ours * (1 - ours) / task.draws) + 1 / task.draws
    if (np.abs(ours - _scipy_p(task)) > 5 * error).any():
        raise ValueError("p-values differ from scipy's")


def _require_same_intervals(task: Task) -> None:
    """Bounds equal but for the draws: within a tenth of the width."""
    found = percentile_intervals(bootstrap_means(*task))
    ours = np.stack([found.low, found.high], axis=1)[:_SAMPLE]
    width = ours[:, 1:] - ours[:, :1]
    if (np.abs(ours - _scipy_intervals(task)) > 0.1 * width).any():
        raise ValueError("bootstrap intervals differ from scipy's")
