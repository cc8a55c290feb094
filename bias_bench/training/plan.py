"""The batch plan: which pairs stand in which batch, told the language mix.

Kinds of batch: ``mono`` (all queries and candidates in one language), ``mixed`` (each pair in one
language, the batch in many), ``cross`` (each pair in two languages). A recipe is a mixture of
kinds. An epoch is a pure function of pairs, mixture, seed and epoch number, so the state of a
training run is (epoch, batch).

How a batch is filled: every group's rows are put in random order; round r holds the r-th row of
every group, in random group order. A batch is a window over the rounds, so it meets a group twice
only where it spans two rounds, and there the groups just used are moved to the back of the later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from bias_bench.datasets.pairs import Pairs
from bias_bench.errors import DataError, UsageError, nearest

KINDS = ("mono", "mixed", "cross")
Order = Literal["language_first", "dataset_first"]


class Source(NamedTuple):
    """Where a batch comes from: its kind, data set, and language (-1 when it has several)."""

    kind: str
    data_set: int
    language: int


class Share(NamedTuple):
    """A source, the share of batches that come from it, and its rows of the pairs."""

    source: Source
    weight: float
    rows: np.ndarray


@dataclass(frozen=True)
class BatchPlan:
    """Batches of `batch_size` rows of `pairs`, no two of one group, kinds in exact shares.

    `mixture` maps kinds to weights. Data sets are drawn in proportion to (number of groups) **
    `dataset_exponent`. `order` decides mono batches: ``language_first`` draws every language
    equally often and then a data set that has it; ``dataset_first`` the reverse. In the other
    kinds, ``language_first`` makes all languages or language pairs of a data set equally likely,
    ``dataset_first`` takes them as often as they occur.
    """

    pairs: Pairs
    mixture: Mapping[str, float]
    batch_size: int
    seed: int
    dataset_exponent: float = 1.0
    order: Order = "language_first"

    def __post_init__(self) -> None:
        for kind, weight in self.mixture.items():
            if kind not in KINDS:
                raise UsageError(f"unknown kind of batch '{kind}': {nearest(kind, KINDS)}")
            if weight < 0:
                raise UsageError(f"training.mixture.{kind} = {weight}: weights cannot be negative")
        if sum(self.mixture.values()) <= 0:
            raise UsageError("training.mixture: at least one kind needs a weight above 0")
        object.__setattr__(self, "_shares", self._make_shares())

    def __len__(self) -> int:
        """Batches in an epoch: one pair is drawn for every pair there is, at least one batch."""
        return max(1, len(self.pairs) // self.batch_size)

    @property
    def shares(self) -> list[Share]:
        """All sources with their shares of the batches; the shares sum to 1."""
        return self._shares  # type: ignore[attr-defined]

    def epoch(self, number: int) -> np.ndarray:
        """Rows of `pairs`, int64 [len(self), batch_size], of one epoch."""
        random = np.random.default_rng([self.seed, number])
        weights = np.array([share.weight for share in self.shares])
        sources = np.repeat(np.arange(len(weights)), exact_counts(weights, len(self)))
        random.shuffle(sources)
        batches = np.empty((len(self), self.batch_size), dtype=np.int64)
        for index, share in enumerate(self.shares):
            places = np.flatnonzero(sources == index)
            if len(places):
                batches[places] = self._fill(share, len(places), random)
        return batches

    def sources(self, number: int) -> list[Source]:
        """The source of each batch of an epoch, in order."""
        batches = self.epoch(number)
        return [self._source_of(rows) for rows in batches]

    def _source_of(self, rows: np.ndarray) -> Source:
        queries, candidates = self.pairs.query_language[rows], self.pairs.candidate_language[rows]
        data_set = int(self.pairs.data_set[rows[0]])
        if (queries != candidates).any():
            return Source("cross", data_set, -1)
        if (queries == queries[0]).all() and self.mixture.get("mono", 0) > 0:
            return Source("mono", data_set, int(queries[0]))
        return Source("mixed", data_set, -1)

    def _fill(self, share: Share, number: int, random: np.random.Generator) -> np.ndarray:
        """Rows [number, batch_size] from one source, passing over its rows as often as needed."""
        filled: list[np.ndarray] = []
        have = 0
        while have < number:
            batches = self._one_pass(share, number - have, random)
            filled.append(batches)
            have += len(batches)
        return np.concatenate(filled)

    def _one_pass(self, share: Share, number: int, random: np.random.Generator) -> np.ndarray:
        """Up to `number` batches of rows that are used once each; leaves the last few unused."""
        rows = share.rows
        groups = self.pairs.group[rows]
        keys = random.random(len(rows)) ** (1 / self._row_weights(share))
        order = np.lexsort((-keys, groups))
        first = np.flatnonzero(np.diff(groups[order], prepend=-1))
        sizes = np.diff(np.append(first, len(order)))
        rounds = np.arange(len(order)) - np.repeat(first, sizes)
        by_round = np.lexsort((random.random(len(order)), rounds))
        order, rounds = order[by_round], rounds[by_round]
        bounds = np.searchsorted(rounds, np.arange(rounds[-1] + 2))
        stream: list[np.ndarray] = []
        length = 0
        for start, stop in pairwise(bounds):
            members = order[start:stop]
            over = length % self.batch_size
            if over:
                tail = groups[np.concatenate(stream)[-over:]] if stream else groups[:0]
                used = np.isin(groups[members], tail)
                if len(members) - used.sum() < self.batch_size - over:
                    break
                members = np.concatenate([members[~used], members[used]])
            stream.append(members)
            length += len(members)
            if length >= number * self.batch_size:
                break
        whole = min(length // self.batch_size, number)
        chosen = np.concatenate(stream)[: whole * self.batch_size]
        return rows[chosen].reshape(whole, self.batch_size)

    def _row_weights(self, share: Share) -> np.ndarray:
        """float64 [rows]: how likely a row stands before its group's others."""
        if self.order == "dataset_first" or share.source.kind == "mono":
            return np.ones(len(share.rows))
        queries = self.pairs.query_language[share.rows].astype(np.int64)
        directions = queries * len(self.pairs.languages) + self.pairs.candidate_language[share.rows]
        _, inverse, counts = np.unique(directions, return_inverse=True, return_counts=True)
        return counts.min() / counts[inverse]

    def _make_shares(self) -> list[Share]:
        pairs = self.pairs
        same = pairs.query_language == pairs.candidate_language
        canonical = np.lexsort(
            (pairs.candidate, pairs.query, pairs.candidate_language, pairs.query_language,
             pairs.group, pairs.data_set)
        )  # fmt: skip
        total = sum(self.mixture.values())
        shares: list[Share] = []
        for kind, weight in sorted(self.mixture.items()):
            if weight > 0:
                rows = canonical[same[canonical] if kind != "cross" else ~same[canonical]]
                shares += self._shares_of_kind(kind, weight / total, rows)
        return shares

    def _shares_of_kind(self, kind: str, weight: float, rows: np.ndarray) -> list[Share]:
        pairs = self.pairs
        languages = pairs.query_language[rows] if kind == "mono" else np.full(len(rows), -1)
        found: dict[tuple[int, int], np.ndarray] = {}
        sizes: dict[tuple[int, int], float] = {}
        for data_set in range(len(pairs.data_sets)):
            for language in np.unique(languages):
                chosen = rows[(pairs.data_set[rows] == data_set) & (languages == language)]
                groups = len(np.unique(pairs.group[chosen]))
                if groups >= self.batch_size:
                    found[data_set, int(language)] = chosen
                    sizes[data_set, int(language)] = float(groups) ** self.dataset_exponent
        if not found:
            raise DataError(
                f"training.mixture.{kind}: no data set has {self.batch_size} groups of such pairs; "
                "lower training.batch_size, or give more sources or languages"
            )
        probability = _draw(sizes, first=1 if self.order == "language_first" else 0)
        return [
            Share(Source(kind, *place), weight * probability[place], chosen)
            for place, chosen in found.items()
        ]


def _draw(sizes: dict[tuple[int, int], float], first: int) -> dict[tuple[int, int], float]:
    """Probability of each (data set, language). `first` 1 draws the language first, uniformly,
    then the data set by size; 0 draws the data set by size, then one of its languages uniformly.
    """
    if first == 1:
        languages = {language for _, language in sizes}
        within = {
            language: sum(size for (_, other), size in sizes.items() if other == language)
            for language in languages
        }
        return {
            (data_set, language): size / within[language] / len(languages)
            for (data_set, language), size in sizes.items()
        }
    of_set: dict[int, list[float]] = {}
    for (data_set, _), size in sizes.items():
        of_set.setdefault(data_set, []).append(size)
    whole = sum(max(values) for values in of_set.values())
    return {
        (data_set, language): max(of_set[data_set]) / whole / len(of_set[data_set])
        for data_set, language in sizes
    }


def exact_counts(weights: np.ndarray, total: int) -> np.ndarray:
    """int64 [weights]: `total` split in proportion to `weights` by largest remainders."""
    ideal = weights / weights.sum() * total
    counts = np.floor(ideal).astype(np.int64)
    rest = total - int(counts.sum())
    counts[np.argsort(-(ideal - counts), kind="stable")[:rest]] += 1
    return counts
