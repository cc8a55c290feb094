"""The unit of resampling where nobody names one: one rule for every test, interval and page."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bias_bench.significance.run_values import Cluster

# Texts that are dependent on each other go well or badly together, and articles are: by paragraph,
# max-T erred in up to 27 % of comparisons without a difference (docs/calibration.md). A handful of
# articles shows nothing, whatever it is that differs.
FEWEST: dict[Cluster, int] = {"article": 20, "paragraph": 2}

Pairs = Iterable[tuple[str, str]]  # of a topic and its group, "" where that is not known


def default_unit(pairs_of: Callable[[Cluster], Pairs]) -> Cluster:
    """The article where runs know at least 20, else the paragraph, else the topic.

    `pairs_of` gives every (topic, article) or (topic, paragraph) that the runs hold. A unit is
    known where each topic has one and the same in all runs, and it groups topics.
    """
    for unit, fewest in FEWEST.items():
        pairs = set(pairs_of(unit))
        topics, groups = ({pair[side] for pair in pairs} for side in (0, 1))
        known = len(pairs) == len(topics) and all(groups)
        if known and fewest <= len(groups) < len(topics):
            return unit
    return "topic"
