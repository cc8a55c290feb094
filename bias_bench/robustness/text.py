"""Texts as grapheme clusters and as words, in scripts with spaces and without.

A cluster is a base character with its combining marks (Unicode Standard Annex 29), so that editing
whole clusters orphans no vowel sign or tone mark.
"""

from __future__ import annotations

from typing import NamedTuple

import regex

# scripts written without spaces: about how many clusters make a word
_SCRIPTS_OF_TWO = r"\p{Han}\p{Hiragana}\p{Katakana}\u30fc"
_SCRIPTS_OF_FOUR = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_TWO = regex.compile(f"[{_SCRIPTS_OF_TWO}]")
_FOUR = regex.compile(f"[{_SCRIPTS_OF_FOUR}]")
_UNSPACED = regex.compile(f"[{_SCRIPTS_OF_TWO}{_SCRIPTS_OF_FOUR}]")
_EDGES = regex.compile(r"([\p{P}\s]*)(.*?)([\p{P}\s]*)", flags=regex.DOTALL)
_CLUSTER = regex.compile(r"\X")
_LETTER = regex.compile(r"\p{L}")
_WORD_CHARACTER = regex.compile(r"[\p{L}\p{M}\p{N}]")
_WORD_TEXT = regex.compile(r"[\p{L}\p{M}\p{N}]+")
# Thai and Lao: vowels written before their consonant, signs that ask for a final consonant,
# and what never begins a syllable (vowels after the consonant, repetition, silenced letters)
_LEADING = regex.compile(r"[\u0e40-\u0e44\u0ec0-\u0ec4]$|[\u0e31\u0e47\u0eb1]")
_FOLLOWING = regex.compile(r"[\u0e2f\u0e30\u0e32\u0e33\u0e45\u0e46\u0eb0\u0eb2\u0eb3]|.+\u0e4c")


class Question(NamedTuple):
    """What is perturbed: a text, its language's code, and the same question in another language,
    which is empty but for code switching.
    """

    text: str
    language: str
    parallel: str = ""


class Split(NamedTuple):
    """A text as ``head words[0] gaps[0] words[1] … words[-1] tail``.

    Head and tail are the punctuation and space at its ends. A word of a script without spaces is a
    short piece of text (two clusters of Chinese, four of Thai) and the gap after it may be empty.
    """

    head: str
    words: list[str]
    gaps: list[str]
    tail: str

    def join(self) -> str:
        """The text; two words of spaced scripts never run into one."""
        if not self.words:
            return self.head + self.tail
        text = last = self.words[0]
        for gap, word in zip(self.gaps, self.words[1:], strict=True):
            apart = gap or _needs_no_space(clusters(last)[-1]) or _needs_no_space(word)
            text += (gap if apart else " ") + word
            last = word
        return self.head + text + self.tail


def clusters(text: str) -> list[str]:
    """Grapheme clusters; joined they are the text."""
    parts: list[str] = _CLUSTER.findall(text)
    return parts


def holds_words(text: str) -> bool:
    """Whether all characters are letters, marks or digits, and there are some."""
    return _WORD_TEXT.fullmatch(text) is not None


def is_letter(cluster: str) -> bool:
    return _LETTER.match(cluster) is not None


def piece_size(cluster: str) -> int:
    """Clusters in a word of the script when it is written without spaces, else 0."""
    if cluster < "\u0e00":  # most text
        return 0
    if _TWO.match(cluster):
        return 2
    return 4 if _FOUR.match(cluster) else 0


def breakable(left: str, right: str) -> bool:
    """Whether two neighbouring clusters of a script without spaces may belong to two words."""
    return not _LEADING.search(left) and not _FOLLOWING.match(right)


def split_words(text: str) -> Split:
    """Words with the gaps between them; ``split_words(text).join() == text``."""
    head, body, tail = _EDGES.fullmatch(text).groups()
    if not body:
        return Split(head + tail, [], [], "")
    words: list[str] = []
    gaps: list[str] = []
    parts = regex.split(r"(\s+)", body)
    for place, token in enumerate(parts[::2]):
        if place:
            gaps.append(parts[2 * place - 1])
        pieces = _pieces(token)
        words += pieces
        gaps += [""] * (len(pieces) - 1)
    return Split(head, words, gaps, tail)


def share(strength: float, number: int) -> int:
    """That share of a number, rounded, at least 1 when there is any."""
    return min(number, max(1, int(strength * number + 0.5)))


def _pieces(token: str) -> list[str]:
    """Cut a token without spaces where scripts change and after each short piece."""
    if not _UNSPACED.search(token):
        return [token]
    pieces: list[str] = []
    size = length = 0
    last = ""
    for cluster in clusters(token):
        new_size = piece_size(cluster)
        if not _WORD_CHARACTER.match(cluster) and pieces:
            pieces[-1] += cluster
            continue
        full = bool(size) and length >= size and breakable(last, cluster)
        if not pieces or (length and (new_size != size or full)):
            pieces.append(cluster)
            length = 0
        else:
            pieces[-1] += cluster
        size = new_size
        length += _WORD_CHARACTER.match(cluster) is not None
        last = cluster
    return pieces


def _needs_no_space(cluster: str) -> bool:
    return not _WORD_CHARACTER.match(cluster) or piece_size(cluster) > 0
