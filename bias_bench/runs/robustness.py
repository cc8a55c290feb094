"""The stage robustness: perturbed queries encoded, searched and compared with clean ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from bias_bench import __version__
from bias_bench.encoders.embeds import Embeds, Request
from bias_bench.robustness.effect import DEPTH, QueryEffects, Ranking, query_effects, summarise
from bias_bench.robustness.perturbations import (
    VARIANTS,
    Variant,
    changed_shares,
    perturbed_queries,
)
from bias_bench.robustness.table import FILE as TABLE
from bias_bench.robustness.table import write_effects
from bias_bench.runs.graph import Made, Stage, Work
from bias_bench.runs.task import Prepared
from bias_bench.runs.vectors import Encoded, Searcher, encoded, how_much
from bias_bench.system.console import progress
from bias_bench.system.files import write_json

ROBUSTNESS_FILE = "robustness.json"


class Suite(NamedTuple):
    """What is asked again: `topics` int rows of the collection's topics, in every variant of
    `texts`, by language; an empty list where a language has no such variant.

    `changed` is the share of a language's texts that a variant changes.
    """

    topics: np.ndarray
    texts: dict[Variant, dict[str, list[str]]]
    changed: dict[Variant, dict[str, float]]

    @property
    def requests(self) -> list[Request]:
        """All texts to encode: the variants one after the other, in each all languages in turn."""
        return [
            Request(f"{language} queries, {variant}", "query", texts, language)
            for variant, by_language in self.texts.items()
            for language, texts in by_language.items()
        ]


def make_suite(prepared: Prepared) -> Suite | None:
    """The perturbed queries that the experiment asks for, if any."""
    settings = prepared.experiment.robustness
    if settings is None:
        return None
    collection, seed = prepared.collection, prepared.experiment.seed
    topics = np.arange(len(collection.topics))
    if settings.topics is not None and settings.topics < len(topics):
        drawn = np.random.default_rng([seed, 4]).permutation(topics)[: settings.topics]
        topics = np.sort(drawn)
    texts: dict[Variant, dict[str, list[str]]] = {}
    changed: dict[Variant, dict[str, float]] = {}
    wanted = [variant for variant in VARIANTS if variant.strength in settings.strengths]
    with progress("perturb", len(wanted), "variants") as advance:
        for variant in wanted:
            found = perturbed_queries(collection, *variant, seed=seed)
            texts[variant] = {
                language: [
                    found[language][row] for row in _rows(prepared, language, topics)
                ] if language in found else []
                for language in collection.languages
            }  # fmt: skip
            changed[variant] = changed_shares(collection, found)
            advance(1)
    return Suite(topics, texts, changed)


def robustness_stage(prepared: Prepared, source: Callable[[], Embeds]) -> Stage:
    """The robustness suite that the experiment asks for, on the vectors of a source."""

    def work(work: Work) -> Made:
        suite = _require_suite(prepared)
        with work.timed("encode for robustness"):
            vectors = encoded(prepared, source(), work, suite.requests)
        measured = measure_robustness(prepared, suite, vectors)
        table = work.folder / TABLE
        write_effects(table, prepared.collection, measured.asked, measured.effects)
        write_json(work.folder / ROBUSTNESS_FILE, measured.summary)
        return Made([work.folder / ROBUSTNESS_FILE, table])

    def inputs() -> dict[str, Any]:
        options = prepared.experiment.robustness
        return {
            "settings": options.model_dump() if options else None,
            "seed": prepared.experiment.seed,
            "biasbench": __version__,
        }

    def forecast(changed: Sequence[str]) -> str:
        return how_much(source, _require_suite(prepared).requests, changed)

    return Stage("robustness", work, inputs, ("encode",), forecast=forecast)


def _require_suite(prepared: Prepared) -> Suite:
    suite = make_suite(prepared)
    if suite is None:
        raise ValueError("the experiment asks for no robustness suite")
    return suite


class Robustness(NamedTuple):
    """The part `robustness` of metrics.json, and what it sums up: for each language the rows of the
    queries that were asked again, and what each variant did to them.
    """

    summary: dict[str, Any]
    asked: dict[str, np.ndarray]
    effects: dict[Variant, dict[str, QueryEffects]]


def measure_robustness(prepared: Prepared, suite: Suite, encoded: Encoded) -> Robustness:
    """Search what `encoded` has of the suite's requests as `more`, beside the clean queries."""
    collection, languages = prepared.collection, prepared.collection.languages
    searcher = Searcher(collection, encoded.candidates)
    asked = {language: _rows(prepared, language, suite.topics) for language in languages}
    clean = {
        language: _rank(prepared, searcher, language, asked[language], queries[asked[language]])
        for language, queries in zip(languages, encoded.queries, strict=True)
        if len(asked[language])  # of a few topics a language may have none
    }
    effects: dict[Variant, dict[str, QueryEffects]] = {}
    with progress("robustness", len(encoded.more), "settings") as advance:
        for place, variant in enumerate(suite.texts):
            parts = encoded.more[place * len(languages) : (place + 1) * len(languages)]
            effects[variant] = {
                language: query_effects(
                    clean[language],
                    _rank(prepared, searcher, language, asked[language], part),
                )
                for language, part in zip(languages, parts, strict=True)
                if len(part)
            }
            advance(len(languages))
    summary = {
        "topics": len(suite.topics),
        "of": len(collection.topics),
        "seed": prepared.experiment.seed,
        "perturbations": summarise(languages, effects, suite.changed),
    }
    return Robustness(summary, asked, effects)


def _rows(prepared: Prepared, language: str, topics: np.ndarray) -> np.ndarray:
    """Rows of a language's queries that ask for one of `topics`."""
    return np.flatnonzero(np.isin(prepared.collection.query_topics(language), topics))


def _rank(
    prepared: Prepared, searcher: Searcher, language: str, rows: np.ndarray, vectors: np.ndarray
) -> Ranking:
    topics = prepared.collection.query_topics(language)[rows]
    results = searcher.search(language, vectors, topics, DEPTH)
    return Ranking(results.ranks[:, :, 1], results.top["all"][0])
