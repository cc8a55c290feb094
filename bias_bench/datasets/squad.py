"""The SQuAD file form (v1.1, and v2.0 without its unanswerable questions), with LAReQA's optional
sentences, read and checked.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bias_bench.console import say
from bias_bench.errors import DataError


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Answer(_Form):
    """An answer's text, and where in the context it begins, in characters."""

    answer_start: int
    text: str = ""


class Question(_Form):
    """A question; one that is marked as impossible, or has no answer, is not answerable."""

    id: str = Field(min_length=1)
    question: str = Field(pattern=r"\S")
    answers: list[Answer]
    is_impossible: bool = False

    @property
    def answerable(self) -> bool:
        return bool(self.answers) and not self.is_impossible


class Paragraph(_Form):
    """A context with its questions, and LAReQA's sentences as text and as breaks [start, end)."""

    context: str
    qas: list[Question]
    sentences: list[str] | None = None
    sentence_breaks: list[tuple[int, int]] | None = None

    @property
    def answerable(self) -> list[Question]:
        """The questions that the context answers."""
        return [question for question in self.qas if question.answerable]


class Article(_Form):
    """Paragraphs under a title."""

    title: str | None = None
    paragraphs: list[Paragraph]


class SquadFile(_Form):
    """A whole file."""

    data: list[Article]


def read_squad(path: Path) -> SquadFile:
    """Read a file; a DataError names the file, the place in it and what is wrong there.

    Says how many questions are unanswerable, which nobody can retrieve an answer to.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check --data-dir or fetch the data") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        file = SquadFile.model_validate_json(content.removeprefix(BOM_UTF8))
    except ValidationError as error:
        raise DataError(_explain(path, error.errors(include_url=False)[0])) from None
    paragraphs = [paragraph for article in file.data for paragraph in article.paragraphs]
    lost = sum(len(paragraph.qas) - len(paragraph.answerable) for paragraph in paragraphs)
    if lost:
        say(f"{path}: {lost:,} question{'s' * (lost > 1)} without an answer left out")
    return file


def _explain(path: Path, problem: Any) -> str:
    """One line for the first thing that is wrong."""
    if problem["type"] == "json_invalid":
        return f"{path}: truncated or not JSON ({problem['ctx']['error']}); fetch it again"
    keys = {"data": "article", "paragraphs": "paragraph", "qas": "question"}
    place, rest = [], list(problem["loc"])
    while len(rest) >= 2 and rest[0] in keys and isinstance(rest[1], int):
        place.append(f"{keys[rest[0]]} {rest[1]}")
        rest = rest[2:]
    field = ".".join(map(str, rest))
    where = f"{path}: {', '.join(place)}" if place else str(path)
    if problem["type"] == "missing":
        return f"{where}: no '{field}'; expected the SQuAD v1.1 form"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{where}: {f'{field!r}: ' if field else ''}{message}; expected the SQuAD v1.1 form"
