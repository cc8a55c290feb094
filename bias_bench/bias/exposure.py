"""Exposure by language against a stated target: AWRF and expected exposure loss.

In the pool of all languages, the result at rank i gets the attention 1/log2(max(i, 2)), cut at 100;
a language's exposure is its share of the attention. It is held against three targets:

- `relevant`: each language's share of the query's relevant candidates (uniform on XQuAD-R);
- `uniform`: the same for every language of the benchmark;
- `pool`: each language's share of the candidates.

A target that is the same as one before it, as `relevant` and `uniform` on parallel data, is named
(`same_as`) and not measured again.

AWRF = 1 - JSD(exposure, target), the Jensen-Shannon divergence in nats: in [1 - ln 2, 1], higher is
closer to the target. EE-L = sum of squared differences between exposure and target: in [0, 2],
lower is closer. Exposures are shares here, so EE-L does not grow with the depth; the track's own is
on unnormalised attention. Neither reaches its bounds in practice, so both have `anchors`: what a
ranking that is `blind` to language would have (the mean over random orders of the pool, where the
sizes of pools are known), and one of the query's language alone (`one_language`).

Sources: TREC Fair Ranking 2022 (arXiv:2302.05558); Diaz et al. 2020 for EE-L (arXiv:2004.13157).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bias_bench.bias.parallel import Parallel, as_table, averages, column_means
from bias_bench.bias.pooled import PooledRun, weighted_shares

CUTOFF = 100
_DRAWS = 400  # random orders; at a depth of 100 the standard error of a mean is below 0.001
_SEED = 0


def attention(depth: int) -> np.ndarray:
    """Attention float64 [depth] of the ranks from 1."""
    return 1 / np.log2(np.maximum(np.arange(1, depth + 1), 2))


def awrf(exposure: np.ndarray, target: np.ndarray) -> np.ndarray:
    """1 - Jensen-Shannon divergence [queries] of distributions [queries, languages], in nats.

    NaN where either is.
    """
    from scipy.special import rel_entr

    middle = (exposure + target) / 2
    divergence = (rel_entr(exposure, middle) + rel_entr(target, middle)).sum(axis=1) / 2
    return 1 - divergence


def exposure_loss(exposure: np.ndarray, target: np.ndarray) -> np.ndarray:
    """EE-L [queries]: squared Euclidean distance of distributions [queries, languages]."""
    return np.square(exposure - target).sum(axis=1)


def relevant_target(columns: np.ndarray, number: int) -> np.ndarray:
    """Each language's share [queries, number] of the relevant candidates' `columns`, -1 = none."""
    counts = (columns[:, :, None] == np.arange(number)).sum(axis=1)
    return counts / counts.sum(axis=1, keepdims=True)


def exposures(languages: np.ndarray, number: int) -> np.ndarray:
    """Share of attention float64 [queries, number] of each language; NaN where nothing is found.

    `languages` int [queries, depth], best first, -1 past the end.
    """
    return weighted_shares(languages, number, attention(languages.shape[1]))


def blind_exposures(sizes: np.ndarray, depth: int) -> np.ndarray:
    """Shares of attention float64 [draws, languages] of the top of random orders of a pool.

    `sizes` int [languages] are the candidates of each.
    """
    random = np.random.default_rng(_SEED)
    ends = np.cumsum(sizes)
    drawn = [
        random.choice(ends[-1], min(depth, int(ends[-1])), replace=False) for _ in range(_DRAWS)
    ]
    return exposures(np.searchsorted(ends, np.stack(drawn), side="right"), len(sizes))


def summarise(runs: Mapping[str, PooledRun], parallel: Parallel) -> dict[str, Any]:
    """AWRF and EE-L for each target, their anchors, and the mean exposure by query language.

    `cutoff` is the depth that was used: 100, or less in runs that hold less.
    """
    if not runs:
        return {}
    names = parallel.languages
    depth = min(CUTOFF, max(run.languages.shape[1] for run in runs.values()))
    gained = {
        language: exposures(run.languages[:, :CUTOFF], len(names)) for language, run in runs.items()
    }
    targets, same_as = _distinct(_targets(parallel))
    alone = {language: np.eye(len(names))[[part.own]] for language, part in parallel.parts.items()}
    anchors = {"one_language": _against(alone, targets)}
    if (sizes := _sizes(parallel)) is not None:
        blind = blind_exposures(sizes, depth)
        anchors["blind"] = _against(dict.fromkeys(gained, blind), targets)
    return {
        "cutoff": depth,
        **_against(gained, targets, paired=True),
        "same_as": same_as,
        "anchors": {
            anchor: {
                measure: {name: values["macro"] for name, values in by_target.items()}
                for measure, by_target in measured.items()
            }
            for anchor, measured in anchors.items()
        },
        "shares": as_table(
            np.stack([column_means(share) for share in gained.values()]), list(gained), names
        ),
    }


Distributions = Mapping[str, np.ndarray]  # by query language, [queries or 1, languages]


def _against(
    gained: Distributions, targets: Mapping[str, Distributions], paired: bool = False
) -> dict[str, dict[str, Any]]:
    """AWRF and EE-L of exposures against every target.

    `paired` rows are of the same queries; otherwise each exposure is held against each target.
    """
    measured: dict[str, dict[str, Any]] = {"awrf": {}, "ee_l": {}}
    for name, target in targets.items():
        for measure, function in (("awrf", awrf), ("ee_l", exposure_loss)):
            values = {}
            for language, shares in gained.items():
                if paired:
                    goal = np.broadcast_to(target[language], shares.shape)
                    values[language] = function(shares, goal)
                else:
                    goals, times = np.unique(target[language], axis=0, return_counts=True)
                    means = [
                        function(shares, np.broadcast_to(goal, shares.shape)).mean()
                        for goal in goals
                    ]
                    values[language] = np.repeat(means, times)
            measured[measure][name] = averages(values)
    return measured


def _targets(parallel: Parallel) -> dict[str, Distributions]:
    """Per target and query language a distribution [queries or 1, languages].

    `pool` is there when the size of every language's pool is known.
    """
    number = len(parallel.languages)
    targets: dict[str, Distributions] = {
        "relevant": {
            language: relevant_target(part.relevant_languages, number)
            for language, part in parallel.parts.items()
        },
        "uniform": dict.fromkeys(parallel.parts, np.full((1, number), 1 / number)),
    }
    if (sizes := _sizes(parallel)) is not None:
        targets["pool"] = dict.fromkeys(parallel.parts, (sizes / sizes.sum())[None])
    return targets


def _distinct(
    targets: Mapping[str, Distributions],
) -> tuple[dict[str, Distributions], dict[str, str]]:
    """The targets but those that equal an earlier one, and which those equal."""
    distinct: dict[str, Distributions] = {}
    same_as: dict[str, str] = {}
    for name, target in targets.items():
        equal = [
            other
            for other, before in distinct.items()
            if all(np.allclose(target[language], before[language]) for language in target)
        ]
        if equal:
            same_as[name] = equal[0]
        else:
            distinct[name] = target
    return distinct, same_as


def _sizes(parallel: Parallel) -> np.ndarray | None:
    """Candidates of each language, where all are known."""
    if not set(parallel.languages) <= set(parallel.pools):
        return None
    return np.array([parallel.pools[name] for name in parallel.languages])
