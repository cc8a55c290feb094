"""The batch plan: which pairs stand in which batch, told the language mix.

Kinds of batch: ``mono`` (all queries and candidates in one language), ``mixed`` (each pair in one
language, the batch in many), ``cross`` (each pair in two languages). A recipe is a mixture of
kinds. An epoch is a pure function of pairs, mixture, batch size, seed and epoch number, so the
state of a training run is (epoch, batch).

Sources and rows take turns over all epochs as one (`turns`, `dealt`): what an epoch has no room
for comes in the next one, and nothing is rounded away twice in the same direction.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

from bias_bench.config.training import KINDS, Order
from bias_bench.data.pairs import Pairs
from bias_bench.errors import DataError

_DIGITS = 9  # of a deadline in batches: equal shares that were summed differently stay equal


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


@dataclass
class BatchPlan:
    """Batches of `batch_size` rows of `pairs`, no two of one group, sources in exact shares.

    `mixture` maps kinds to weights, of which one is above 0. Data sets are drawn in proportion to
    (number of groups) ** `dataset_exponent`. `order` decides mono batches: ``language_first`` draws
    every language equally often and then a data set that has it; ``dataset_first`` the reverse. In
    the other kinds, ``language_first`` uses all languages or language pairs of a data set equally
    often, and so the rows of a rare one more often than others; ``dataset_first`` takes them as
    they occur.

    After every batch each kind, language and data set has had its share of the batches so far to
    less than one batch (`turns` says how far that is proven). A language of a data set with too
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
    shares: list[Share] = field(init=False)  # of all sources; they sum to 1
    _reached: tuple[int, np.ndarray] = field(init=False)  # an epoch's number and its batches
    _later: Iterator[np.ndarray] = field(init=False)  # the batches of all epochs after that

    def __post_init__(self) -> None:
        self.shares = self._make_shares()
        self._start()

    def __len__(self) -> int:
        """Batches in an epoch: one pair is drawn for every pair there is, at least one batch."""
        return max(1, len(self.pairs) // self.batch_size)

    def epoch(self, number: int) -> np.ndarray:
        """Rows of `pairs`, int64 [len(self), batch_size], of one epoch."""
        if number < self._reached[0]:
            self._start()
        ahead = number - self._reached[0]
        if ahead:
            self._reached = number, next(islice(self._later, ahead - 1, None))
        return self._reached[1].copy()

    def _start(self) -> None:
        self._later = self._epochs()
        self._reached = 0, next(self._later)

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
        large: dict[tuple[int, int], np.ndarray] = {}
        sizes: dict[tuple[int, int], float] = {}
        small: dict[tuple[int, int], int] = {}
        for data_set in range(len(pairs.data_sets)):
            for language in np.unique(languages):
                chosen = rows[(pairs.data_set[rows] == data_set) & (languages == language)]
                groups = len(np.unique(pairs.group[chosen]))
                if groups >= self.batch_size:
                    large[data_set, int(language)] = chosen
                    sizes[data_set, int(language)] = float(groups) ** self.dataset_exponent
                elif groups:
                    small[data_set, int(language)] = groups
        if not large:
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
            for place, chosen in large.items()
        ]


def _draw(sizes: dict[tuple[int, int], float], first: int) -> dict[tuple[int, int], float]:
    """Probability of each (data set, language). `first` 1 draws the language first, uniformly,
    then the data set by size; 0 draws the data set by size, then one of its languages uniformly.
    """
    within: dict[int, list[float]] = {}
    for place, size in sizes.items():
        within.setdefault(place[first], []).append(size)
    if first == 1:
        return {place: size / sum(within[place[1]]) / len(within) for place, size in sizes.items()}
    whole = sum(max(values) for values in within.values())
    return {place: max(within[place[0]]) / whole / len(within[place[0]]) for place in sizes}


def turns(
    paths: Sequence[Sequence[Hashable]], weights: Sequence[float], random: np.random.Generator
) -> Iterator[int]:
    """Without end, the number of the source that gives the next batch.

    Sources stand on a tree: a kind of batch, in it a language, in it a data set (or the data set
    before the language). Every branch has a share of all batches. A branch may be served when it
    lies behind its share; of those sources whose branches all do, the one is served that has a
    branch that is first to fall a whole batch behind. That is the earliest deadline first (Baruah,
    Cohen, Plaxton and Varvel 1996, "Proportionate progress: a notion of fairness in resource
    allocation"); chance decides between equals. Where branches have one level, each stays less than
    one batch from its share after every batch. For several levels together that is not proven; it
    held for all mixtures of languages and data sets that were tried, but for some of many sources
    with shares of very different sizes, where a branch can lie up to one and a half batches off.

    `paths` are the branches above each source, root first, of one length for all; `weights` the
    sources' shares, above 0. Two branches are one where they and all above them are equal.
    """
    depth = len(paths[0])
    branches = [[tuple(path[: level + 1]) for level in range(depth)] for path in paths]
    number = {branch: row for row, branch in enumerate(dict.fromkeys(chain(*branches)))}
    above = np.array([[number[branch] for branch in path] for path in branches])  # [sources, depth]
    share = np.zeros(len(number))
    for level in range(depth):
        np.add.at(share, above[:, level], np.asarray(weights) / np.sum(weights))
    served = np.zeros(len(number))
    due = 0
    while True:
        due += 1
        deadlines = np.round((served + 1) / share, _DIGITS)
        behind = (due * share - served > 10.0**-_DIGITS)[above].all(axis=1)
        at_levels = np.sort(deadlines[above], axis=1)
        at_levels[~behind] = np.inf
        keys = (random.random(len(above)), *at_levels.T[::-1])
        source = int(np.lexsort(keys)[0])
        served[above[source]] += 1
        yield source


def dealt(
    groups: np.ndarray, rates: np.ndarray, batch_size: int, random: np.random.Generator
) -> Iterator[np.ndarray]:
    """Without end, batches int64 [batch_size] of indexes of rows, no two of one group in a batch.

    A pass deals some rows, each at most once, into a fixed number of full batches; rows that it has
    no place for come first in the next one. So no row is used twice before all others of its kind
    were used once, and none is left out again and again because it does not fill a batch.

    `groups` int [rows] has at least `batch_size` values. Rows are used in proportion to `rates`
    float64 [rows], to within one use at the end of every pass; what this cannot keep, because too
    many of the rows that are due belong to too few groups, is made up as soon as it can be.
    """
    number = _batches_in_pass(groups, rates, batch_size)
    turn = random.random(len(groups))  # of a row's next use; its whole part counts the uses so far
    while True:
        order = np.argsort(turn / rates, kind="stable")
        order = order[_place_in_group(groups[order]) < number][: number * batch_size]
        turn[order] = np.floor(turn[order]) + 1 + random.random(len(order))
        yield from _deal(order, groups[order], number, random)


def _batches_in_pass(groups: np.ndarray, rates: np.ndarray, batch_size: int) -> int:
    """The most batches for which every row is due at most once, and groups are enough."""
    _, sizes = np.unique(groups, return_counts=True)
    low, high = 1, max(1, int(rates.sum() / rates.max() + 1e-9) // batch_size)
    while low < high:
        middle = (low + high + 1) // 2
        if np.minimum(sizes, middle).sum() >= middle * batch_size:
            low = middle
        else:
            high = middle - 1
    return low


def _place_in_group(groups: np.ndarray) -> np.ndarray:
    """int64 [rows]: how many rows of its group stand before each row."""
    order = np.argsort(groups, kind="stable")
    first = np.flatnonzero(np.diff(groups[order], prepend=-1))
    sizes = np.diff(np.append(first, len(order)))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - np.repeat(first, sizes)
    return place


def _deal(
    rows: np.ndarray, groups: np.ndarray, number: int, random: np.random.Generator
) -> np.ndarray:
    """The rows in `number` batches [number, rows / number], no two of one group in a batch.

    A group has at most `number` rows. They stand one behind the other, groups in random order, and
    each round gives every batch, in random order, the next row; a group that spans two rounds
    takes in the second what it did not have in the first.
    """
    if number == 1:
        return random.permutation(rows)[None]
    _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    place = random.permutation(len(sizes))[inverse]
    order = np.lexsort((random.random(len(rows)), place))
    rows, place = rows[order], place[order]
    batches = np.empty((number, len(rows) // number), dtype=np.int64)
    taken = random.permutation(number)
    for column, start in enumerate(range(0, len(rows), number)):
        here = place[start : start + number]
        if column:
            before = taken[place[start - number : start] == here[0]]
            taken = random.permutation(number)
            free = taken[~np.isin(taken, before)][: int((here == here[0]).sum())]
            taken = np.concatenate([free, taken[~np.isin(taken, free)]])
        batches[taken, column] = rows[start : start + number]
    return batches
