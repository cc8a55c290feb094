"""Exposure by language against a stated target: AWRF and expected exposure loss.

In the pool of all languages, the result at rank i gets the attention 1/log2(max(i, 2)), cut at 100;
a language's exposure is its share of the attention. It is held against three targets:

- `relevant`: each language's share of the query's relevant candidates (uniform on XQuAD-R);
- `uniform`: the same for every language of the benchmark;
- `pool`: each language's share of the candidates.

AWRF = 1 - JSD(exposure, target), the Jensen-Shannon divergence in nats: in [1 - ln 2, 1], higher is
closer to the target. EE-L = sum of squared differences between exposure and target: in [0, 2],
lower is closer. Exposures are shares here, so EE-L does not grow with the depth; the track's own is
on unnormalised attention.

Sources: TREC Fair Ranking 2022 (arXiv:2302.05558); Diaz et al. 2020 for EE-L (arXiv:2004.13157).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bias_bench.bias.parallel import Parallel, as_table, averages, column_means
from bias_bench.bias.pooled import PooledRun

CUTOFF = 100


def attention(depth: int) -> np.ndarray:
    """Attention float64 [depth] of the ranks from 1."""
    return 1 / np.log2(np.maximum(np.arange(1, depth + 1), 2))


def exposures(languages: np.ndarray, number: int) -> np.ndarray:
    """Share of attention float64 [queries, number] of each language; NaN where nothing is found.

    `languages` int [queries, depth], best first, -1 past the end.
    """
    weight = attention(languages.shape[1])
    gained = np.stack([(languages == column) @ weight for column in range(number)], axis=1)
    total = gained.sum(axis=1, keepdims=True)
    return np.where(total > 0, gained / np.where(total > 0, total, 1), np.nan)


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


def summarise(runs: Mapping[str, PooledRun], parallel: Parallel) -> dict[str, Any]:
    """AWRF and EE-L for each target, and the mean exposure of each language by query language.

    `cutoff` is the depth that was used: 100, or less in runs that hold less.
    """
    if not runs:
        return {}
    names = parallel.languages
    gained = {language: exposures(run.languages[:, :CUTOFF], len(names)) for language, run in
              runs.items()}  # fmt: skip
    by_target = {
        name: {
            language: np.broadcast_to(target, gained[language].shape)
            for language, target in targets.items()
        }
        for name, targets in _targets(parallel).items()
    }
    return {
        "cutoff": min(CUTOFF, max(run.languages.shape[1] for run in runs.values())),
        "awrf": {
            name: averages({lang: awrf(gained[lang], target[lang]) for lang in gained})
            for name, target in by_target.items()
        },
        "ee_l": {
            name: averages({lang: exposure_loss(gained[lang], target[lang]) for lang in gained})
            for name, target in by_target.items()
        },
        "shares": as_table(
            np.stack([column_means(share) for share in gained.values()]), list(gained), names
        ),
    }


def _targets(parallel: Parallel) -> dict[str, dict[str, np.ndarray]]:
    """Per target and query language a distribution [queries or 1, languages].

    `pool` is there when the size of every language's pool is known.
    """
    number = len(parallel.languages)
    targets = {
        "relevant": {
            language: relevant_target(part.relevant_languages, number)
            for language, part in parallel.parts.items()
        },
        "uniform": dict.fromkeys(parallel.parts, np.full((1, number), 1 / number)),
    }
    if set(parallel.languages) <= set(parallel.pools):
        sizes = np.array([parallel.pools[name] for name in parallel.languages], dtype=np.float64)
        targets["pool"] = dict.fromkeys(parallel.parts, (sizes / sizes.sum())[None])
    return targets
