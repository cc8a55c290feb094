"""The order in which sources of batches take turns, each within a batch of its share.

Sources stand on a tree: a kind of batch, in it a language, in it a data set (or the data set before
the language). Every branch has a share of all batches. A branch may be served when it lies behind
its share; of those sources whose branches all do, the one is served that has a branch that is first
to fall a whole batch behind. That is the earliest deadline first (Baruah, Cohen, Plaxton and Varvel
1996, "Proportionate progress: a notion of fairness in resource allocation"); chance decides between
equals. Where branches have one level, each stays less than one batch from its share after every
batch. For several levels together that is not proven; it held for all mixtures of languages and
data sets that were tried, but for some of many sources with shares of very different sizes, where
a branch can come to lie up to one and a half batches off.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import chain

import numpy as np

_DIGITS = 9  # of a deadline in batches: equal shares that were summed differently stay equal


def turns(
    paths: Sequence[Sequence[Hashable]], weights: Sequence[float], random: np.random.Generator
) -> Iterator[int]:
    """Without end, the number of the source that gives the next batch.

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
