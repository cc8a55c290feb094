"""The SQuAD v1.1 file form, with LAReQA's optional sentences, read and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bias_bench.errors import DataError


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Answer(_Form):
    """Where in the context an answer begins, in characters."""

    answer_start: int


class Question(_Form):
    """A question with at least one answer."""

    id: str = Field(min_length=1)
    question: str = Field(pattern=r"\S")
    answers: list[Answer] = Field(min_length=1)


class Paragraph(_Form):
    """A context with its questions, and LAReQA's sentences as text and as breaks [start, end)."""

    context: str
    qas: list[Question]
    sentences: list[str] | None = None
    sentence_breaks: list[tuple[int, int]] | None = None


class Article(_Form):
    """Paragraphs under a title."""

    title: str = ""
    paragraphs: list[Paragraph]


class SquadFile(_Form):
    """A whole file."""

    data: list[Article]


def read_squad(path: Path) -> SquadFile:
    """Read a file; a DataError names the file, the place in it and what is wrong there."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check --data-dir or fetch the data") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return SquadFile.model_validate_json(content)
    except ValidationError as error:
        raise DataError(_explain(path, error.errors(include_url=False)[0])) from None


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
