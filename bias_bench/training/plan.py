"""The batch plan: which pairs stand in which batch, told the language mix.

Kinds of batch: ``mono`` (all queries and candidates in one language), ``mixed`` (each pair in one
language, the batch in many), ``cross`` (each pair in two languages). A recipe is a mixture of
kinds. An epoch is a pure function of pairs, mixture, batch size, seed and epoch number, so the
state of a training run is (epoch, batch).

Sources and rows take turns over all epochs as one (`schedule`, `rows`): what an epoch has no room
for comes in the next one, and nothing is rounded away twice in the same direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from bias_bench.datasets.pairs import Pairs
from bias_bench.errors import DataError, UsageError, nearest
from bias_bench.training.rows import dealt
from bias_bench.training.schedule import turns
from bias_bench.training.settings import KINDS, Order


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


class _Walk(NamedTuple):
    """An epoch's number, its batches, and those of all later epochs."""

    number: int
    batches: np.ndarray
    later: Iterator[np.ndarray]


@dataclass(frozen=True)
class BatchPlan:
    """Batches of `batch_size` rows of `pairs`, no two of one group, sources in exact shares.

    `mixture` maps kinds to weights. Data sets are drawn in proportion to (number of groups) **
    `dataset_exponent`. `order` decides mono batches: ``language_first`` draws every language
    equally often and then a data set that has it; ``dataset_first`` the reverse. In the other
    kinds, ``language_first`` uses all languages or language pairs of a data set equally often, and
    so the rows of a rare one more often than others; ``dataset_first`` takes them as they occur.

    After every batch each kind, language and data set has had its share of the batches so far to
    less than one batch (`schedule` says how far that is proven). A language of a data set with too
    few groups for a batch is a DataError, or left out where `leave_out_small` says so; one that a
    data set does not have is left out.

    The cost of an epoch grows with its number unless epochs are asked for in turn.
    """

    pairs: Pairs
    mixture: Mapping[str, float]
    batch_size: int
    seed: int
    dataset_exponent: float = 1.0
    order: Order = "language_first"
    leave_out_small: bool = False

    def __post_init__(self) -> None:
        for kind, weight in self.mixture.items():
            if kind not in KINDS:
                raise UsageError(f"unknown kind of batch '{kind}': {nearest(kind, KINDS)}")
            if not 0 <= weight < float("inf"):
                raise UsageError(
                    f"training.mixture.{kind} = {weight}: a weight is a number from 0, not negative"
                )
        if sum(self.mixture.values()) <= 0:
            raise UsageError("training.mixture: at least one kind needs a weight above 0")
        object.__setattr__(self, "_shares", self._make_shares())
        object.__setattr__(self, "_walk", None)

    def __len__(self) -> int:
        """Batches in an epoch: one pair is drawn for every pair there is, at least one batch."""
        return max(1, len(self.pairs) // self.batch_size)

    @property
    def shares(self) -> list[Share]:
        """All sources with their shares of the batches; the shares sum to 1."""
        return self._shares  # type: ignore[attr-defined]

    def epoch(self, number: int) -> np.ndarray:
        """Rows of `pairs`, int64 [len(self), batch_size], of one epoch."""
        return self._walked_to(number).batches.copy()

    def _walked_to(self, number: int) -> _Walk:
        walk: _Walk | None = self._walk  # type: ignore[attr-defined]
        if walk is None or number < walk.number:
            later = self._epochs()
            walk = _Walk(0, next(later), later)
        if number > walk.number:
            found = next(islice(walk.later, number - walk.number - 1, None))
            walk = _Walk(number, found, walk.later)
        object.__setattr__(self, "_walk", walk)
        return walk

    def _turns(self) -> Iterator[int]:
        """The place in `shares` of each batch's source, from the first batch of all on."""
        language = [share.source.language for share in self.shares]
        data_set = [share.source.data_set for share in self.shares]
        inner = (language, data_set) if self.order == "language_first" else (data_set, language)
        kinds = [share.source.kind for share in self.shares]
        return turns(
            list(zip(kinds, *inner, strict=True)),
            [share.weight for share in self.shares],
            np.random.default_rng([self.seed, 0]),
        )

    def _epochs(self) -> Iterator[np.ndarray]:
        """The batches of all epochs from the first one: rows int64 [len(self), batch_size]."""
        order, rows = self._turns(), [self._batches_of(share) for share in self.shares]
        while True:
            yield np.stack([next(rows[place]) for place in islice(order, len(self))])

    def _batches_of(self, share: Share) -> Iterator[np.ndarray]:
        kind, data_set, language = share.source
        random = np.random.default_rng(
            [self.seed, 1, KINDS.index(kind), data_set, language + 1]
        )  # of its own, so that a source's batches do not depend on when they are due
        groups = self.pairs.group[share.rows]
        for batch in dealt(groups, self._rates(share), self.batch_size, random):
            yield share.rows[batch]

    def _rates(self, share: Share) -> np.ndarray:
        """float64 [rows]: how often a row is used, against others of its source."""
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
        small: dict[tuple[int, int], int] = {}
        for data_set in range(len(pairs.data_sets)):
            for language in np.unique(languages):
                chosen = rows[(pairs.data_set[rows] == data_set) & (languages == language)]
                groups = len(np.unique(pairs.group[chosen]))
                if groups >= self.batch_size:
                    found[data_set, int(language)] = chosen
                    sizes[data_set, int(language)] = float(groups) ** self.dataset_exponent
                elif groups:
                    small[data_set, int(language)] = groups
        if not found:
            raise DataError(
                f"training.mixture.{kind}: no data set has {self.batch_size} groups of such pairs; "
                "lower training.batch_size, or give more sources or languages"
            )
        if small and not self.leave_out_small:
            (data_set, language), groups = next(iter(small.items()))
            where = f" in {pairs.languages[language]}" if kind == "mono" else ""
            raise DataError(
                f"training.mixture.{kind}: {pairs.data_sets[data_set]} has {groups} groups of such "
                f"pairs{where}, too few for a batch of {self.batch_size}; lower "
                "training.batch_size, or leave them out (options.languages of training.sources)"
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
