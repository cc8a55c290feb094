"""Small files in every form that training sources have, and what they hold."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bias_bench.data.pairs import Pairs
from bias_bench.data.sources import (
    load_sources,
)
from bias_bench.errors import BiasBenchError

ELEVEN = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")


Tuples = list[tuple[str, str, str, str]]


def shown(pairs: Pairs) -> Tuples:
    """Each pair as (query language, query, candidate language, candidate)."""
    columns = pairs.query_language, pairs.query, pairs.candidate_language, pairs.candidate
    return [
        (
            pairs.languages[query_language],
            pairs.query_texts[query],
            pairs.languages[candidate_language],
            pairs.candidate_texts[candidate],
        )
        for query_language, query, candidate_language, candidate in zip(*columns, strict=True)
    ]


def topics_of(pairs: Pairs) -> list[str]:
    return [pairs.topic_ids[topic] for topic in pairs.topic]


def put(path: Path, lines: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def put_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    return put(path, (json.dumps(row, ensure_ascii=False) for row in rows))


def message(entry: str | dict[str, Any], folder: Path | None, kind: type[BiasBenchError]) -> str:
    """The one line that loading this entry fails with."""
    with pytest.raises(kind) as caught:
        load_sources([entry], folder)
    text = str(caught.value)
    assert "\n" not in text
    return text


def paragraph(context: str, questions: Mapping[str, tuple[str, str]], sentences: int = 0) -> dict:
    """Questions as id -> (text, answer); with `sentences`, cut at as many full stops."""
    made: dict[str, Any] = {
        "context": context,
        "qas": [
            {"id": name, "question": text, "answers": [{"answer_start": context.index(answer)}]}
            for name, (text, answer) in questions.items()
        ],
    }
    if sentences:
        ends = [index + 1 for index, character in enumerate(context) if character == "."]
        starts = [0, *(end + 1 for end in ends[:-1])]
        made["sentence_breaks"] = list(zip(starts, ends, strict=True))
        made["sentences"] = [context[a:b] for a, b in made["sentence_breaks"]]
    return made


def squad_file(path: Path, title: str, *paragraphs: dict) -> Path:
    return put(path, [json.dumps({"data": [{"title": title, "paragraphs": paragraphs}]})])


def make_bees(tmp_path: Path) -> Path:
    """q1 and q2 in en and de, q3 in en alone; q1 and q2 share a sentence in de."""
    english = {"q1": ("Who eats?", "Bees"), "q2": ("Who sings?", "Owls"), "q3": ("Why?", "Owls")}
    german = {"q2": ("Wer singt?", "Eulen"), "q1": ("Wer isst?", "Bienen")}
    for folder, broken in (("breaks", 1), ("plain", 0)):
        squad_file(
            tmp_path / folder / "en.json",
            "Animals",
            paragraph("Bees eat. Owls sing.", english, broken),
        )
        squad_file(
            tmp_path / folder / "de.json",
            "Tiere",
            paragraph("Nichts. Bienen und Eulen.", german, broken),
        )
    return tmp_path


def lines_entry(**files: str) -> dict[str, Any]:
    return {"name": "news", "form": "lines", "files": files}


ROW = {"query": "who", "positive": "bees", "language": "en"}


def make_miracl(tmp_path: Path) -> Path:
    """Topic 7 in sw and yo is not the same question; 8 in sw has no positive."""
    for language in ("sw", "yo"):
        base = tmp_path / f"miracl-v1.0-{language}"
        name = f"miracl-v1.0-{language}-train.tsv"
        put(base / f"topics/topics.{name}", [f"7\tseven {language}", f"8\teight {language}"])
        grades = ["7\tQ0\t1#0\t1", "7\tQ0\t1#1\t0", "7\tQ0\t2#0\t1", "7\tQ0\t1#2\t0"]
        put(base / f"qrels/qrels.{name}", [*grades, "8\tQ0\t3#0\t0"])
        corpus = tmp_path / f"miracl-corpus-v1.0-{language}"
        corpus.mkdir()
        ids = [["1#0", "1#1", "1#2", "9#9"], ["2#0", "3#0"]]
        for part, members in enumerate(ids):
            rows = [
                {"docid": name, "title": f"T{name[0]}", "text": f"text {name} {language}"}
                for name in members
            ]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (corpus / f"docs-{part}.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    return tmp_path


def make_mmarco(tmp_path: Path) -> Path:
    """Queries 1, 2, 3 and passages 10-14 in en and de; query 3 is in no triple."""
    for language, word in (("english", "en"), ("german", "de")):
        put(
            tmp_path / f"mmarco/queries/{language}_queries.train.tsv",
            [f"{number}\tq{number} {word}" for number in (3, 2, 1)],
        )
        put(
            tmp_path / f"mmarco/collections/{language}_collection.tsv",
            [f"{number}\tp{number} {word}\twith tab" for number in range(10, 15)],
        )
    triples = ["2\t12\t13", "1\t10\t11", "2\t12\t14", "2\t10\t12", "2\t12\t13", "1\t10\t14"]
    put(tmp_path / "mmarco/triples.train.ids.small.tsv", triples)
    return tmp_path


def miracl_entry(**options: Any) -> dict[str, Any]:
    return {"name": "miracl", "form": "miracl", "path": ".", "options": options}
