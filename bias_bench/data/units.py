"""The unit of resampling where nobody names one: one rule for every test, interval and page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

Unit = Literal["topic", "paragraph", "article"]
Pairs = Iterable[tuple[str, str]]  # of a topic and its group, "" where that is not known

# Questions about one text go well or badly together, whole articles do: by paragraph, max-T erred
# in up to 27 % of comparisons without a difference (docs/calibration.md). A handful of articles
# shows nothing, whatever it is that differs.
FEWEST: dict[Unit, int] = {"article": 20, "paragraph": 2}


def default_unit(pairs_of: Callable[[Unit], Pairs]) -> Unit:
    """The article where at least 20 are known, else the paragraph, else the topic.

    `pairs_of` gives every (topic, article) or (topic, paragraph) that there is. A unit is known
    where each topic has one and the same, and it groups topics.
    """
    for unit, fewest in FEWEST.items():
        pairs = set(pairs_of(unit))
        topics, groups = ({pair[side] for pair in pairs} for side in (0, 1))
        known = len(pairs) == len(topics) and all(groups)
        if known and fewest <= len(groups) < len(topics):
            return unit
    return "topic"
