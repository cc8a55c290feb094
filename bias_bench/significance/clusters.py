"""What is resampled as a whole where nobody says so: one rule for the command and for Python."""

from __future__ import annotations

from collections.abc import Mapping

from bias_bench.significance.differences import Observations
from bias_bench.significance.run_values import Cluster

Values = Mapping[str, Mapping[str, Observations]]  # system -> seed


def default_cluster(runs: Values) -> Cluster:
    """Paragraphs where all runs know their topics' and these group topics, else topics.

    `runs` are read by paragraph. Questions about one paragraph go well or badly together; where
    runs lack the paragraph of a topic or differ in it, nothing of the kind can be allowed for.
    """
    pairs: set[tuple[str, str]] = set()
    for part in (part for seeds in runs.values() for part in seeds.values()):
        pairs.update(zip(part.topics, part.clusters or [""] * len(part.topics), strict=True))
    topics, paragraphs = ({pair[side] for pair in pairs} for side in (0, 1))
    known = len(pairs) == len(topics) and all(paragraphs)
    return "paragraph" if known and 1 < len(paragraphs) < len(topics) else "topic"


def by_topic(runs: Values) -> dict[str, dict[str, Observations]]:
    """The same values with topics as clusters."""
    return {
        system: {seed: part._replace(clusters=None) for seed, part in seeds.items()}
        for system, seeds in runs.items()
    }
