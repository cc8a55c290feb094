"""The one place that makes and reads ids: queries ``{lang}:{topic}``, candidates likewise.

A candidate is ``{lang}:{article}-{paragraph}-{sentence}``, counted from 0 in the language's file.
"""

from __future__ import annotations


def query_id(language: str, topic: str) -> str:
    return f"{language}:{topic}"


def candidate_id(language: str, article: int, paragraph: int, sentence: int) -> str:
    return f"{language}:{article}-{paragraph}-{sentence}"


def language_of(identifier: str) -> str:
    """The language of a query or candidate id."""
    return identifier.split(":", 1)[0]


def topic_of(identifier: str) -> str:
    """The topic of a query id."""
    return identifier.split(":", 1)[1]
