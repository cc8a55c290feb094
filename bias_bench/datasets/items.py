"""What a benchmark consists of."""

from __future__ import annotations

from typing import NamedTuple


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
