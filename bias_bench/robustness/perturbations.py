"""The kinds of perturbation, their strengths, and where each makes sense.

A perturbation is a pure function of (text, language, strength in (0, 1], generator, parallel text);
the last is empty but for code switching. It returns the text itself where it has nothing to change
and never an empty text for one that is not. All but code switching keep the scripts of the text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bias_bench.errors import UsageError, nearest
from bias_bench.languages import read_language
from bias_bench.robustness.layout import code_switching, white_space, word_order
from bias_bench.robustness.spelling import case, diacritics, punctuation
from bias_bench.robustness.typing_errors import typo

Change = Callable[[str, str, float, np.random.Generator, str], str]

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

    def strength(self, name: str) -> float:
        return self.light if name == "light" else self.strong


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
STRENGTHS = ("light", "strong")


class Variant(NamedTuple):
    """A kind of perturbation at one of `STRENGTHS`. Prints as ``typo-light``."""

    kind: str
    strength: str

    def __str__(self) -> str:
        return f"{self.kind}-{self.strength}"


VARIANTS = tuple(Variant(kind, strength) for kind in PERTURBATIONS for strength in STRENGTHS)


def require_known(variant: Variant) -> Variant:
    """The variant; a UsageError when its kind or strength is unknown."""
    if variant.kind not in PERTURBATIONS:
        hint = nearest(variant.kind, PERTURBATIONS)
        raise UsageError(f"unknown perturbation '{variant.kind}': {hint}")
    if variant.strength not in STRENGTHS:
        hint = nearest(variant.strength, STRENGTHS)
        raise UsageError(f"unknown strength '{variant.strength}' of {variant.kind}: {hint}")
    return variant


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
