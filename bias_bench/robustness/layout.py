"""The layout of a question: its white space, its word order, a span in a second language.

Reordering follows Penha, Câmara and Hauff 2022 (arXiv:2111.13057).
"""

from __future__ import annotations

import numpy as np
import regex

from bias_bench.robustness.text import Question, breakable, clusters, piece_size, share, split_words

_GAP = regex.compile(r"(?<=\S)\s+(?=\S)")


def white_space(question: Question, strength: float, random: np.random.Generator) -> str:
    """Change that share of the places where words meet.

    A space is dropped or doubled, at even chances; in scripts without spaces one is put in between
    two clusters.
    """
    text = question.text
    places = [gap.span() for gap in _GAP.finditer(text)]
    places += [(offset, offset) for offset in _seams(text)]
    if not places:
        return text
    chosen = random.choice(len(places), share(strength, len(places)), replace=False).tolist()
    for start, stop in sorted((places[place] for place in chosen), reverse=True):
        gap = text[start:stop]
        changed = gap * (2 * int(random.integers(2))) if gap else " "
        text = text[:start] + changed + text[stop:]
    return text


def _seams(text: str) -> list[int]:
    """Offsets between clusters of a script without spaces where a word may end."""
    seams = []
    offset, last = 0, ""
    for cluster in clusters(text):
        if last and piece_size(last) and piece_size(cluster) and breakable(last, cluster):
            seams.append(offset)
        offset += len(cluster)
        last = cluster
    return seams


def word_order(question: Question, strength: float, random: np.random.Generator) -> str:
    """Move that share of the words: neighbours change places; at strength 1 all are shuffled.

    Punctuation at the ends of the text stays there. In scripts without spaces short pieces move.
    """
    split = split_words(question.text)
    words = split.words
    if len(set(words)) < 2:
        return question.text
    if strength < 1:
        _swap_neighbours(words, share(strength / 2, len(words)), random)
    else:
        before = list(words)
        words[:] = [before[place] for place in random.permutation(len(words))]
        if words == before:
            words.append(words.pop(0))
    return split.join()


def _swap_neighbours(words: list[str], pairs: int, random: np.random.Generator) -> None:
    """Swap up to `pairs` pairs of unequal neighbours, no word twice."""
    moved: set[int] = set()
    for place in random.permutation(len(words) - 1).tolist():
        if len(moved) < 2 * pairs and not moved & {place, place + 1}:
            if words[place] == words[place + 1]:
                continue
            words[place], words[place + 1] = words[place + 1], words[place]
            moved |= {place, place + 1}


def code_switching(question: Question, strength: float, random: np.random.Generator) -> str:
    """Say that share of the words in the language of the parallel question.

    One span of words is replaced by the span at the same relative position; a word of the text's
    own always stays, where there are two. Without a parallel question nothing changes.
    """
    split, other = split_words(question.text), split_words(question.parallel)
    own = split.words
    if not own or not other.words:
        return question.text
    number = share(strength, max(1, len(own) - 1))
    start = int(random.integers(len(own) - number + 1))
    first = start * len(other.words) // len(own)
    last = max(first + 1, -(-(start + number) * len(other.words) // len(own)))
    span = other._replace(
        head="", words=other.words[first:last], gaps=other.gaps[first : last - 1], tail=""
    ).join()
    if not span.strip():  # a control character is not a word
        return question.text
    before = split._replace(words=own[:start], gaps=split.gaps[: max(0, start - 1)], tail="")
    after = split._replace(head="", words=own[start + number :], gaps=split.gaps[start + number :])
    left = before.join() + (" " if before.words else "")
    right = (" " if after.words else "") + after.join()
    return left + span + right
