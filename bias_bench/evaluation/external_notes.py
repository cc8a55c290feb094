"""What a reader must know of scored rankings before believing their scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bias_bench.evaluation.external import External
from bias_bench.languages import doubts


def notes(external: External) -> list[str]:
    """One line each: what is missing, left out, or taken in another way than it was written."""
    settings, depth = external.settings, external.depth
    found = doubts(external.languages) + [
        f"{name}: {_number(len(queries), 'query', 'queries')} without judgements, left out (first: "
        f"{queries[0]})"
        for name, queries in sorted(external.extra.items())
    ]
    for count, what in (
        ("missing", "without results, counted as 0"),
        ("without_relevant", "without a relevant candidate in the pool, left out"),
    ):
        counts = {str(ranked.setting): ranked.counts[count] for ranked in settings}
        if sum(counts.values()):
            named = ", ".join(f"{name} {number:,}" for name, number in counts.items() if number)
            found.append(f"{_number(sum(counts.values()), 'query', 'queries')} {what} ({named})")
    if external.empty:
        found.append(
            f"no query has a relevant candidate in {_listed(list(map(str, external.empty)))}; left "
            "out"
        )
    if external.graded:
        found.append(
            f"{_number(external.graded, 'judgement', 'judgements')} above 1: grades are the gains "
            "of nDCG; to all other metrics every grade above 0 is relevant, 1"
        )
    relevant = sum(ranked.counts["relevant"] for ranked in settings)
    lost = sum(ranked.counts["not_retrieved"] for ranked in settings)
    if lost == relevant:
        found.append(
            "no relevant candidate is in any ranking; do run and qrels name candidates alike?"
        )
    shorter = [
        str(ranked.setting)
        for ranked in settings
        if 0 < ranked.longest < depth and ranked.counts["not_retrieved"]
    ]
    if shorter:
        found.append(
            f"the rankings of {_listed(shorter)} all end before {depth}; what they lack counts as "
            "right behind them, and --depth cuts all settings alike"
        )
    if _translations_are_not_grouped(external):
        found.append(
            "no two queries of different languages have a common topic; if some are translations, "
            "give --topics or --topic-pattern, or comparisons take them for independent"
        )
    return found


def _translations_are_not_grouped(external: External) -> bool:
    """Whether there are several query languages, but no topic in two of them."""
    languages_of = {ranked.setting.query_language for ranked in external.settings}
    pairs = {
        (ranked.setting.query_language, cluster.topic)
        for ranked in external.settings
        for cluster in ranked.clusters
    }
    asked = Counter(topic for _, topic in pairs)
    return len(languages_of) > 1 and max(asked.values()) == 1


def _number(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
