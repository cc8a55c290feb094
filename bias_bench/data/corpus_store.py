"""Write the store of a corpus: passages sorted on disk, in memory that does not grow with them.

Passages are collected up to a fixed size, sorted and written as a run; runs are then merged, many
at a time, until one is left, which becomes the store. Equal ids meet in the merge, so a duplicate
is found there.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from bias_bench.data.corpus import FILES, RECORD, SHARD, TEXTS, Description, Shard, StoredCorpus
from bias_bench.errors import BiasBenchError, DataError
from bias_bench.system.console import warn
from bias_bench.system.files import (
    TextDigest,
    atomic_folder,
    cache_root,
    read_json,
    settle_folder,
    sha256_file,
    waiting_lock,
    write_json,
)

if TYPE_CHECKING:
    import pyarrow as pa

# Bounds of memory: letters of the passages that are sorted at once (two to four bytes each in
# Python), runs that are merged at once, and passages of each that are read at a time.
_SORTED = 32_000_000
_MERGED = 64
_READ = 256


class StoredPassage(NamedTuple):
    """A candidate's id, title and whole text, with its place for messages."""

    id: str
    title: str
    text: str
    where: str


def store_folder(key: str) -> Path:
    """Where the store of a corpus lies, by the digest of what it was made from."""
    return cache_root() / "corpora" / key


def stored_corpus(
    key: str, language: str, passages: Callable[[], Iterable[StoredPassage]]
) -> StoredCorpus:
    """The store of a language's passages, from the cache, or made of `passages` in any order.

    One process makes it, and others wait for it. DataError for an id that occurs twice, with the
    place of the second.
    """
    folder = store_folder(key)
    with waiting_lock(folder.with_name(f"{key}.lock"), f"corpus of '{language}'"):
        settle_folder(folder)
        if not _is_whole(folder):
            with atomic_folder(folder) as empty:
                _write(empty, language, passages())
    return StoredCorpus(folder)


def _is_whole(folder: Path) -> bool:
    if not (folder / RECORD).is_file():
        return False
    try:
        files = Description.model_validate(read_json(folder / RECORD)).files
    except (BiasBenchError, ValidationError):
        files = {}
    if all((folder / name).is_file() and files.get(name) == sha256_file(folder / name)
           for name in FILES):  # fmt: skip
        return True
    warn(f"{folder}: the stored corpus is damaged; reading its shards again")
    return False


def _write(folder: Path, language: str, passages: Iterable[StoredPassage]) -> None:
    runs = [
        _write_run(folder / f"run-{number}", part)
        for number, part in enumerate(_sorted_parts(passages))
    ]
    level = 0
    while len(runs) > _MERGED:
        level += 1
        groups = [runs[start : start + _MERGED] for start in range(0, len(runs), _MERGED)]
        runs = []
        for number, group in enumerate(groups):
            runs.append(_write_run(folder / f"run-{level}-{number}", _merged(group)))
            for path in group:
                path.unlink()
    _write_store(folder, language, _unique(_merged(runs)))
    for path in runs:
        path.unlink()


def _sorted_parts(passages: Iterable[StoredPassage]) -> Iterator[list[StoredPassage]]:
    """Passages in parts of bounded size, each sorted by id descending."""
    part: list[StoredPassage] = []
    size = 0
    for passage in passages:
        part.append(passage)
        size += sum(map(len, passage)) + 100  # of objects without any letters
        if size >= _SORTED:
            yield sorted(part, key=itemgetter(0), reverse=True)
            part, size = [], 0
    if part:
        yield sorted(part, key=itemgetter(0), reverse=True)


def _merged(runs: Iterable[Path]) -> Iterator[StoredPassage]:
    """All passages by id descending; equal ids in the order of the runs."""
    return heapq.merge(*map(_read_run, runs), key=itemgetter(0), reverse=True)


def _unique(passages: Iterable[StoredPassage]) -> Iterator[StoredPassage]:
    before = None
    for passage in passages:
        if passage.id == before:
            name = passage.id.partition(":")[2]
            raise DataError(f"{passage.where}: docid '{name}' occurs twice")
        before = passage.id
        yield passage


def _write_run(path: Path, passages: Iterable[StoredPassage]) -> Path:
    stream = iter(passages)
    with ExitStack() as opened:
        add = _writer(opened, path, StoredPassage._fields)
        while part := list(islice(stream, _READ)):
            add(zip(*part, strict=True))
    return path


def _read_run(path: Path) -> Iterator[StoredPassage]:
    import pyarrow as pa

    with pa.ipc.open_file(pa.OSFile(str(path))) as reader:
        for number in range(reader.num_record_batches):
            columns = [column.to_pylist() for column in reader.get_batch(number).columns]
            yield from map(StoredPassage._make, zip(*columns, strict=True))


def _write_store(folder: Path, language: str, passages: Iterator[StoredPassage]) -> None:
    shards: list[Shard] = []
    ids, number = TextDigest(), 0
    with ExitStack() as opened:
        add_ids = _writer(opened, folder / FILES[0], ("id",))
        add_texts = _writer(opened, folder / FILES[1], ("title", "text"))
        while True:
            names: list[str] = []
            texts = TextDigest()
            while part := list(islice(passages, min(TEXTS, SHARD - len(names)))):
                names += [passage.id for passage in part]
                for passage in part:
                    ids.update(passage.id)
                    texts.update(passage.text)
                add_texts(([passage.title for passage in part], [passage.text for passage in part]))
            if not names:
                break
            add_ids([names])
            number += len(names)
            shards.append(
                Shard(sha256=texts.hexdigest(), characters=texts.characters, first=names[0])
            )
    known = Description(
        language=language,
        passages=number,
        ids=ids.hexdigest(),
        shards=tuple(shards),
        files={name: sha256_file(folder / name) for name in FILES},
    )
    write_json(folder / RECORD, known.model_dump())


def _writer(
    opened: ExitStack, path: Path, names: tuple[str, ...]
) -> Callable[[Iterable[Any]], None]:
    """A function that adds a record batch of these columns of strings to a new file."""
    import pyarrow as pa

    schema = pa.schema([(name, pa.string()) for name in names])
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    sink = opened.enter_context(pa.OSFile(str(path), "wb"))
    file = opened.enter_context(pa.ipc.new_file(sink, schema, options=options))

    def add(columns: Iterable[Any]) -> None:
        arrays: list[pa.Array] = [pa.array(list(column), pa.string()) for column in columns]
        file.write_batch(pa.record_batch(arrays, schema=schema))

    return add
