"""What a benchmark consists of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bias_bench.errors import UsageError, nearest
from bias_bench.languages import matching_language


class Query(NamedTuple):
    """A topic in one language."""

    id: str
    text: str


class Candidate(NamedTuple):
    """A retrievable sentence, with the paragraph it stands in."""

    id: str
    text: str
    context: str


class Topic(NamedTuple):
    """A question's identity across languages, with the clusters it belongs to."""

    id: str
    paragraph: str
    article: str
    title: str = ""


class CandidateRange(NamedTuple):
    """Rows ``start:stop`` of the candidates: the pool of one language."""

    start: int
    stop: int


def kept_languages(name: str, known: Iterable[str], wanted: Sequence[str] | None) -> list[str]:
    """The `known` languages of the benchmark `name` that are wanted (None or none: all), in order.

    A wanted one may be written in another way (``zh-Hans``, ``tha``). UsageError where none of the
    known ones is meant.
    """
    codes, kept = list(known), set()
    for language in wanted or ():
        found = matching_language(language, codes)
        if found is None:
            raise UsageError(f"{name}: no language '{language}': {nearest(language, codes)}")
        kept.add(found)
    return [code for code in codes if not wanted or code in kept]
