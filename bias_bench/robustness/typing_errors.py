"""Typing errors: neighbours swapped, a letter left out, doubled, or hit on the next key.

The kinds of error are those of Zhuang and Zuccon 2021 (arXiv:2108.12139), on grapheme clusters. A
wrong key gives a letter of the same script: a neighbour on the usual keyboard of the script, or the
letter that shares the key. Chinese and other scripts without such keys have the first three kinds.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from itertools import pairwise

import numpy as np
import regex

from bias_bench.robustness.text import Question, clusters, is_letter, share, split_words

# Rows of letter keys from the top, of the plain and of the shifted level; a blank is another key.
# Layouts: US, Russian, Greek, Arabic (101), Thai Kedmanee, Devanagari InScript.
_KEYBOARDS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("qwertyuiop", "asdfghjkl", "zxcvbnm"),),
    (("йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю"),),
    ((" ςερτυθιοπ", "ασδφγηξκλ", "ζχψωβνμ"),),
    (("ضصثقفغعهخحجد", "شسيبلاتنمكط", "ئءؤر ىةوزظ"),),
    (
        ("   ภถ  คตจขช", "   พ   รนยบล", "ฟหกด    สวง", "ผป อ  ทม ฝ"),
        ("", "  ฎฑธ  ณ ญฐ", " ฆฏ ฌ  ษศซ", "  ฉฮ   ฒฬ"),
    ),
    (
        ("     बहगदजड", "     परकतचट", "  मनवलस  य"),
        ("     भङघधझढञ", "     फ खथछठ", "  ण  ळशष"),
    ),
)
# what does not move to another letter: accents, and the dot of Devanagari's borrowed consonants
_BOUND_MARKS = regex.compile(r"[\p{Inherited}\u093c]")
_MARK = regex.compile(r"\p{M}$")


def typo(question: Question, strength: float, random: np.random.Generator) -> str:
    """One typing error in that share of the words, longer words being likelier."""
    split = split_words(question.text)
    words = [clusters(word) for word in split.words]
    letters = np.array([sum(map(is_letter, word)) for word in words])
    typed = np.flatnonzero(letters)
    if not len(typed):
        return question.text
    chosen = random.choice(
        typed, share(strength, len(typed)), replace=False, p=letters[typed] / letters.sum()
    )
    for place in sorted(chosen.tolist()):
        split.words[place] = "".join(_mistype(words[place], random))
    return split.join()


def _mistype(word: list[str], random: np.random.Generator) -> list[str]:
    """The clusters of a word, with one error of a kind drawn among those that are possible."""
    letters = [place for place, cluster in enumerate(word) if is_letter(cluster)]
    kinds = {
        "swap": [n for n, after in pairwise(letters) if after == n + 1 and word[n] != word[after]],
        "delete": [n for n in letters if len(letters) > 1 or _MARK.search(word[n])],
        "double": letters,
        "substitute": [n for n in letters if neighbouring_keys(_key(word[n]))],
    }
    possible = [kind for kind, places in kinds.items() if places]
    kind = possible[random.integers(len(possible))]
    place = kinds[kind][random.integers(len(kinds[kind]))]
    cluster = word[place]
    if kind == "swap":
        return [*word[:place], word[place + 1], cluster, *word[place + 2 :]]
    if kind == "delete":  # one key: the last mark, where there is one
        rest = cluster[:-1] if _MARK.search(cluster) else ""
    elif kind == "double":
        rest = cluster[0] + cluster
    else:
        keys = neighbouring_keys(_key(cluster))
        letter = keys[random.integers(len(keys))]
        if cluster[0].isupper():
            letter = letter.upper()
        rest = letter + _BOUND_MARKS.sub("", cluster[1:])
    return [*word[:place], rest, *word[place + 1 :]]


def _key(cluster: str) -> str:
    """The small letter on the key that a cluster begins with."""
    letter = cluster[0].lower()[0]
    return letter if letter in _keys() else unicodedata.normalize("NFD", letter)[0]


def neighbouring_keys(letter: str) -> str:
    """Letters on the keys around that of a small letter, or on the same key; "" when unknown."""
    return _keys().get(letter, "")


@cache
def _keys() -> dict[str, str]:
    around = ((0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0))
    table = {}
    for levels in _KEYBOARDS:
        letter_at = {
            (level, row, column): letter
            for level, rows in enumerate(levels)
            for row, keys in enumerate(rows)
            for column, letter in enumerate(keys)
            if letter != " "
        }
        for (level, row, column), letter in letter_at.items():
            near = [(level, row + down, column + right) for down, right in around]
            near += [(other, row, column) for other in range(len(levels)) if other != level]
            table[letter] = "".join(letter_at[key] for key in near if key in letter_at)
    return table
