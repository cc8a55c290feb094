"""Spelling as people type it in a hurry: without diacritics, in one case, without punctuation."""

from __future__ import annotations

import unicodedata

import numpy as np
import regex

from bias_bench.data.languages import base_language
from bias_bench.robustness.text import Question, clusters, holds_words, share

# letters whose stroke or missing dot is not a combining mark
_PLAIN = str.maketrans("đĐłŁøØħĦŧŦı", "dDlLoOhHtTi")
_STRESS = "\u0300\u0301"
_DIAERESIS = "\u0308"
_HARAKAT = regex.compile(r"[\u064b-\u0652\u0656-\u065f\u0670]")
_HAMZA = regex.compile(r"[\u0653-\u0655]")
_NONSPACING = regex.compile(r"\p{Mn}")
_LATIN_OR_GREEK = regex.compile(r"[\p{Latin}\p{Greek}]")
_WRITTEN = regex.compile(r"[^\p{Common}\p{Inherited}]+")  # µ, ⓐ and loose marks keep their case
_PUNCTUATION = regex.compile(r"(?<!\d(?=.\d))(?![%‰&@#*/\\_§¶†‡])\p{P}")
_HYPHEN = regex.compile(r"\p{Pd}")
_OPENING = "¿¡"
_CAPITALS_FROM = 0.5


def diacritics(question: Question, strength: float, random: np.random.Generator) -> str:
    """Drop the diacritics of that share of the letters that have any.

    Latin and Greek: all marks, and the strokes of đ and ł. Cyrillic: the dots of ё and stress marks
    (й is a letter and key of its own). Arabic: vowel signs, and the hamza or madda of an alef.
    Marks of other scripts are vowels and tones, and stay.
    """
    parts = clusters(question.text)
    marked = [place for place, part in enumerate(parts) if _plain(part) != part]
    if not marked:
        return question.text
    for place in random.choice(marked, share(strength, len(marked)), replace=False).tolist():
        parts[place] = _plain(parts[place])
    return "".join(parts)


def _plain(cluster: str) -> str:
    """A letter without its diacritics; the cluster itself where it has none."""
    decomposed = unicodedata.normalize("NFD", cluster)
    base, marks = decomposed[0], decomposed[1:]
    if _LATIN_OR_GREEK.match(base):
        kept = [mark for mark in marks if not _NONSPACING.match(mark)]
        base = base.translate(_PLAIN)
    elif "а" <= base.lower() <= "я":
        dropped = _STRESS + _DIAERESIS if base in "еЕ" else _STRESS
        kept = [mark for mark in marks if mark not in dropped]
    elif "\u0621" <= base <= "\u06ff":
        kept = [mark for mark in marks if not _HARAKAT.match(mark)]
        if base == "\u0627":
            kept = [mark for mark in kept if not _HAMZA.match(mark)]
    else:
        return cluster
    plain = unicodedata.normalize("NFC", base + "".join(kept))
    return cluster if plain == unicodedata.normalize("NFC", cluster) else plain


def case(question: Question, strength: float, _random: np.random.Generator) -> str:
    """All in small letters, or, with a strength above one half, all in capitals.

    Turkish and Azerbaijani pair i with İ and ı with I; Greek capitals carry no accents.
    """
    change = _capitals if strength > _CAPITALS_FROM else _small
    return _WRITTEN.sub(lambda run: change(run.group(), question.language), question.text)


def _small(letters: str, language: str) -> str:
    if base_language(language) in ("tr", "az"):
        letters = letters.replace("İ", "i").replace("I", "ı")
    return letters.lower()


def _capitals(letters: str, language: str) -> str:
    if base_language(language) in ("tr", "az"):
        letters = letters.replace("i", "İ")
    capitals = letters.upper()
    if base_language(language) != "el":
        return capitals
    plain = unicodedata.normalize("NFD", capitals).translate({ord(mark): "" for mark in _STRESS})
    return unicodedata.normalize("NFC", plain)


def punctuation(question: Question, strength: float, _random: np.random.Generator) -> str:
    """Drop that share of the punctuation marks: ¿ and ¡ first, then from the end of the text.

    A hyphen leaves a space behind. Marks between digits and symbols such as % and & stay.
    """
    text = question.text
    places = [mark.start() for mark in _PUNCTUATION.finditer(text)]
    order = sorted(places, key=lambda place: (text[place] not in _OPENING, -place))
    dropped = order[: share(strength, len(order))]
    changed = text
    for place in sorted(dropped, reverse=True):
        before, after = changed[max(0, place - 1) : place], changed[place + 1 : place + 2]
        joins = _HYPHEN.match(changed[place]) and holds_words(before) and holds_words(after)
        width = 2 if before.isspace() and after.isspace() else 1  # a dash takes a space along
        changed = changed[:place] + (" " if joins else "") + changed[place + width :]
    return changed.strip() if dropped and changed.strip() else text
