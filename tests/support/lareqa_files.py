"""Files in LAReQA's form for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bias_bench.data.collection import Collection
from bias_bench.data.squad import load_lareqa
from bias_bench.errors import DataError

SENTENCES = ("Bees fly.", "They make honey.", "Bears like it.")


def paragraph(sentences: Sequence[str], *questions: tuple[str, int]) -> dict[str, Any]:
    """A paragraph in LAReQA's form; a question is its id and the sentence that answers it."""
    breaks, start = [], 0
    for sentence in sentences:
        breaks.append([start, start + len(sentence)])
        start += len(sentence) + 1
    return {
        "context": " ".join(sentences),
        "sentences": list(sentences),
        "sentence_breaks": breaks,
        "qas": [question(topic, breaks[index][0]) for topic, index in questions],
    }


def question(topic: str, start: int) -> dict[str, Any]:
    return {"id": topic, "question": f"{topic}?", "answers": [{"answer_start": start, "text": ""}]}


def document(*articles: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": list(a)} for a in articles]}


def write(folder: Path, language: str, content: Any, indent: int | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{language}.json"
    path.write_text(json.dumps(content, ensure_ascii=False, indent=indent), encoding="utf-8")
    return path


def load(folder: Path, indent: int | None = None, **documents: Any) -> Collection:
    paths = {lang: write(folder, lang, content, indent) for lang, content in documents.items()}
    return load_lareqa("bees", paths)


def good() -> dict[str, Any]:
    """Two articles; the second paragraph of the second one is the last place of the file."""
    return document(
        [paragraph(SENTENCES, ("q1", 1), ("q2", 0))],
        [
            paragraph(["Sun shines."], ("q3", 0)),
            paragraph(["Rain falls.", "Ice melts."], ("q4", 1)),
        ],
    )


def error_of(folder: Path, content: Any) -> tuple[str, Path]:
    """The message of the DataError that reading `content` raises, and the file it is about."""
    path = write(folder, "en", content)
    with pytest.raises(DataError) as caught:
        load_lareqa("bees", {"en": path})
    return str(caught.value), path
