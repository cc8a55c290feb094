"""The questions of a benchmark, perturbed."""

from __future__ import annotations

from collections.abc import Mapping

from bias_bench.datasets.collection import Collection, Query
from bias_bench.datasets.ids import language_of, topic_of
from bias_bench.robustness.perturbations import (
    PERTURBATIONS,
    VARIANTS,
    Variant,
    applicable,
    generator,
    require_known,
)

__all__ = ["VARIANTS", "Variant", "changed_shares", "perturbed_queries"]

# topic -> language -> text
Parallel = Mapping[str, Mapping[str, str]]


def perturbed_queries(
    collection: Collection, kind: str, strength: str, seed: int
) -> dict[str, list[str]]:
    """Query texts of each language in the order of `Collection.queries_in`.

    A query's text depends on the seed, the kind, the strength, its id and its topic's questions
    only. Languages in which the kind makes no sense, or changes not a single text, are left out.
    """
    variant = require_known(Variant(kind, strength))
    parallel: dict[str, dict[str, str]] = {}
    for query in collection.queries:
        parallel.setdefault(topic_of(query.id), {})[language_of(query.id)] = query.text
    found = {}
    for language in collection.languages:
        if not applicable(kind, language):
            continue
        queries = collection.queries_in(language)
        texts = [_perturb(query, variant, parallel, seed) for query in queries]
        if texts != [query.text for query in queries]:
            found[language] = texts
    return found


def _perturb(query: Query, variant: Variant, parallel: Parallel, seed: int) -> str:
    perturbation = PERTURBATIONS[variant.kind]
    random = generator(seed, variant, query.id)
    language, other = language_of(query.id), ""
    if variant.kind == "code_switching":
        topic = parallel[topic_of(query.id)]
        others = sorted(topic.keys() - {language})
        other = topic[others[random.integers(len(others))]] if others else ""
    return perturbation.change(
        query.text, language, perturbation.strength(variant.strength), random, other
    )


def changed_shares(collection: Collection, perturbed: Mapping[str, list[str]]) -> dict[str, float]:
    """Share in [0, 1] of each language's queries whose text differs from the benchmark's."""
    shares = {}
    for language, texts in perturbed.items():
        queries = collection.queries_in(language)
        differ = [query.text != text for query, text in zip(queries, texts, strict=True)]
        shares[language] = sum(differ) / len(differ)
    return shares
