"""A language's corpus of MIRACL: its shards, checked, as a stream and as a store on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bias_bench.console import progress
from bias_bench.datasets.corpus import StoredCorpus
from bias_bench.datasets.corpus_store import StoredPassage, stored_corpus
from bias_bench.datasets.miracl_folder import (
    ELSEWHERE,
    corpus_folder,
    expected_passages,
    expected_shards,
    read_generated,
)
from bias_bench.datasets.sources.miracl_files import Passage, read_passages
from bias_bench.errors import DataError
from bias_bench.files import digest, sha256_file

_FORM = 1  # of stored corpora; raise it when passages are read differently
_STEP = 1_000  # passages between two signs of life
_SHOWN_AFTER = 5.0  # seconds


def stream_corpus(folder: Path, language: str, sha256: dict[str, str]) -> Iterator[Passage]:
    """A language's passages, shard by shard, in a fixed order; one is in memory at a time.

    Each shard is checked before it is read, and its checksum goes into `sha256`. DataError for a
    missing or damaged shard, and at the end for another number of passages than there must be.
    """
    number = 0
    for path, expected in expected_shards(folder, language):
        sha256[f"{path.parent.name}/{path.name}"] = checked_file(folder, language, path, expected)
        for passage in read_passages(path):
            number += 1
            yield passage
    _require_number(folder, language, number)


def _require_number(folder: Path, language: str, number: int) -> None:
    wanted = expected_passages(folder, language)
    if number != wanted:
        raise DataError(
            f"{corpus_folder(folder, language)}: {number:,} passages, expected {wanted:,}; "
            f"{mend(folder, language)}"
        )


def store_corpus(folder: Path, language: str, sha256: dict[str, str]) -> StoredCorpus:
    """The whole corpus on disk, made where the cache lacks it; checks and records every shard."""
    shards = {}
    for path, expected in expected_shards(folder, language):
        shards[f"{path.parent.name}/{path.name}"] = checked_file(folder, language, path, expected)
    sha256.update(shards)
    key = digest({"form": _FORM, "language": language, "shards": list(shards.values())})

    def passages() -> Iterator[StoredPassage]:
        for passage in shown_corpus(folder, language, {}):
            name, text = f"{language}:{passage.id}", passage.with_title()
            yield StoredPassage(name, passage.title, text, passage.where)

    corpus = stored_corpus(key, language, passages)
    _require_number(folder, language, len(corpus))
    return corpus


def shown_corpus(folder: Path, language: str, sha256: dict[str, str]) -> Iterator[Passage]:
    """The corpus as a stream, with a sign of life."""
    total = expected_passages(folder, language)
    with progress(f"read {language}", total, "passages", after=_SHOWN_AFTER) as advance:
        for number, passage in enumerate(stream_corpus(folder, language, sha256), 1):
            if number % _STEP == 0 or number == total:
                advance(number % _STEP or _STEP)
            yield passage


def checked_file(folder: Path, language: str, path: Path, expected: str | None) -> str:
    """The sha256 of a file; DataError where it is missing or differs from the one expected."""
    if not path.is_file():
        raise DataError(f"{path}: missing; {mend(folder, language)}")
    actual = sha256_file(path)
    if expected and actual != expected:
        raise DataError(f"{path}: damaged: sha256 {actual[:12]}… differs; {mend(folder, language)}")
    return actual


def mend(folder: Path, language: str) -> str:
    if read_generated(folder):
        return ELSEWHERE
    return f"run `biasbench data fetch miracl --language {language} --data-dir {folder.parent}`"
