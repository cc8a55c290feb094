"""The questions of a benchmark, perturbed: the kinds, their strengths, and where each makes sense.

A perturbation is a pure function of (question, strength in (0, 1], generator). It returns the text
itself where it has nothing to change and never an empty text for one that is not. All but code
switching keep the scripts of the text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from bias_bench.data.collection import Collection, Query
from bias_bench.data.ids import language_of, topic_of
from bias_bench.data.languages import read_language
from bias_bench.errors import UsageError, nearest
from bias_bench.robustness.layout import code_switching, white_space, word_order
from bias_bench.robustness.spelling import case, diacritics, punctuation
from bias_bench.robustness.text import Question
from bias_bench.robustness.typing_errors import typo

Change = Callable[[Question, float, np.random.Generator], str]

# scripts with diacritics to drop, and with case; of languages in them those without diacritics
_MARKED = frozenset(("Latn", "Grek", "Cyrl", "Arab"))
_CASED = frozenset(("Latn", "Grek", "Cyrl", "Armn"))
_UNMARKED = frozenset(("en", "id", "sw"))


class Perturbation(NamedTuple):
    """A change, its two strengths, and what a strength is a share of (for pages).

    It makes sense in `scripts` (ISO 15924; None: in all), but for `excluded` languages in them.
    """

    change: Change
    light: float
    strong: float
    unit: str
    scripts: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()


PERTURBATIONS: dict[str, Perturbation] = {
    "typo": Perturbation(typo, 0.1, 0.4, "words with one typing error"),
    "diacritics": Perturbation(
        diacritics, 0.5, 1.0, "marked letters that lose their marks", _MARKED, _UNMARKED
    ),
    "case": Perturbation(case, 0.5, 1.0, "up to 0.5: small letters; above: capitals", _CASED),
    "punctuation": Perturbation(punctuation, 0.5, 1.0, "punctuation marks dropped"),
    "white_space": Perturbation(
        white_space, 0.15, 0.5, "places between words with a space too few or too many"
    ),
    "word_order": Perturbation(word_order, 0.25, 1.0, "words moved; at 1 all are shuffled"),
    "code_switching": Perturbation(
        code_switching, 0.25, 0.6, "words said in another of the topic's languages"
    ),
}
STRENGTHS = ("light", "strong")  # as the fields of `Perturbation` are named


class Variant(NamedTuple):
    """A kind of perturbation at one of `STRENGTHS`. Prints as ``typo-light``."""

    kind: str
    strength: str

    def __str__(self) -> str:
        return f"{self.kind}-{self.strength}"


VARIANTS = tuple(Variant(kind, strength) for kind in PERTURBATIONS for strength in STRENGTHS)


def applicable(kind: str, language: str) -> bool:
    """Whether a language can have a kind of perturbation at all; unknown languages can.

    No to diacritics where the script has none or only vowel signs and tones, and to case in scripts
    without it. Whether any text of a benchmark changes is another matter: few Thai questions have
    punctuation.
    """
    known, perturbation = read_language(language), PERTURBATIONS[kind]
    if known is None:
        return True
    written = perturbation.scripts is None or known.script in perturbation.scripts
    return written and known.language not in perturbation.excluded


def generator(seed: int, variant: Variant, query: str) -> np.random.Generator:
    """Random numbers for one query, whatever else is perturbed and in which order."""
    key = "\0".join((str(seed), *variant, query))
    digest = hashlib.sha256(key.encode("utf-8")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def perturbed_queries(
    collection: Collection, kind: str, strength: str, seed: int
) -> dict[str, list[str]]:
    """Query texts of each language in the order of `Collection.queries_in`.

    A query's text depends on the seed, the kind, the strength, its id and its topic's questions
    only. Languages in which the kind makes no sense, or changes not a single text, are left out.
    UsageError when the kind or the strength is unknown.
    """
    if kind not in PERTURBATIONS:
        raise UsageError(f"unknown perturbation '{kind}': {nearest(kind, PERTURBATIONS)}")
    if strength not in STRENGTHS:
        hint = nearest(strength, STRENGTHS)
        raise UsageError(f"unknown strength '{strength}' of {kind}: {hint}")
    parallel: dict[str, dict[str, str]] = {}
    for query in collection.queries:
        parallel.setdefault(topic_of(query.id), {})[language_of(query.id)] = query.text
    perturbed = {}
    for language in filter(lambda name: applicable(kind, name), collection.languages):
        queries = collection.queries_in(language)
        texts = [
            _perturb(query, Variant(kind, strength), parallel[topic_of(query.id)], seed)
            for query in queries
        ]
        if texts != [query.text for query in queries]:
            perturbed[language] = texts
    return perturbed


def _perturb(query: Query, variant: Variant, topic: Mapping[str, str], seed: int) -> str:
    """`topic` has the question in each language."""
    random = generator(seed, variant, query.id)
    language, parallel = language_of(query.id), ""
    if variant.kind == "code_switching":
        others = sorted(topic.keys() - {language})
        parallel = topic[others[random.integers(len(others))]] if others else ""
    perturbation = PERTURBATIONS[variant.kind]
    strength = getattr(perturbation, variant.strength)
    return perturbation.change(Question(query.text, language, parallel), strength, random)


def changed_shares(collection: Collection, perturbed: Mapping[str, list[str]]) -> dict[str, float]:
    """Share in [0, 1] of each language's queries whose text differs from the benchmark's."""
    shares = {}
    for language, texts in perturbed.items():
        queries = collection.queries_in(language)
        differ = [query.text != text for query, text in zip(queries, texts, strict=True)]
        shares[language] = sum(differ) / len(differ)
    return shares
