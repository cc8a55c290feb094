"""Small made-up data in MIRACL's layout, for tests."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from bias_bench.data.miracl_files import GENERATED, SUMS, Generated, corpus_folder
from bias_bench.system.files import sha256_file, write_json
from tests.support.generated_miracl import Plan, generate

Passage = tuple[str, str, str]  # docid, title, text

TOPICS = {"7": "why do bees dance", "8": "who keeps bees"}
QRELS = {"7": {"1#0": 1, "1#1": 0, "2#0": 1}, "8": {"2#0": 0, "3#4": 1}}
SHARDS: tuple[tuple[Passage, ...], ...] = (
    (("1#0", "Bees", "they dance"), ("1#1", "Bees", "they sleep"), ("9#9", "Owls", "owls hoot")),
    (("2#0", "Hives", "a dance floor"), ("3#4", "Keepers", "")),
)


def stand_in(folder: Path, passages: int = 60, languages: Iterable[str] = ("sw", "yo")) -> Path:
    """A data folder with a generated benchmark of several shards."""
    generate(Plan(passages, list(languages), topics=6, shard=25), folder / "miracl")
    return folder


def write_miracl(
    folder: Path,
    shards: Iterable[Iterable[Passage]] = SHARDS,
    topics: Mapping[str, str] = TOPICS,
    qrels: Mapping[str, Mapping[str, int]] = QRELS,
    languages: Iterable[str] = ("sw", "yo"),
) -> Path:
    """The same content in every language, marked as generated; returns the data folder."""
    base = folder / "miracl"
    parts = [list(shard) for shard in shards]
    for language in languages:
        annotated = base / f"miracl-v1.0-{language}"
        name = f"miracl-v1.0-{language}-dev.tsv"
        put(annotated / f"topics/topics.{name}", [f"{t}\t{text}" for t, text in topics.items()])
        lines = [f"{t}\tQ0\t{p}\t{g}" for t, grades in qrels.items() for p, g in grades.items()]
        put(annotated / f"qrels/qrels.{name}", lines)
        for number, part in enumerate(parts):
            put_shard(corpus_folder(base, language) / f"docs-{number}.jsonl.gz", part)
        write_sums(corpus_folder(base, language))
    number = sum(map(len, parts))
    known = Generated(what="for a test", seed=0, passages=dict.fromkeys(languages, number))
    write_json(base / GENERATED, known.model_dump())
    return folder


def put(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def put_shard(path: Path, passages: Iterable[Passage]) -> None:
    rows = [dict(zip(("docid", "title", "text"), passage, strict=True)) for passage in passages]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def write_sums(corpus: Path) -> None:
    """Checksums of what is there."""
    shards = sorted(corpus.glob("docs-*"))
    put(corpus / SUMS, [f"{sha256_file(path)}  {path.name}" for path in shards])
