"""Candidates that are too many for memory: a language's corpus on disk, in id-descending order.

A store is a folder of Arrow files, ``ids.arrow`` and ``texts.arrow`` (title, text), in record
batches that are read one at a time, and ``corpus.json`` that describes and closes it. That is the
order of ties in a ranking, so a passage's row is its column in a search, and an id is found by
bisection. `corpus_store` writes stores.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np
from pydantic import BaseModel, ConfigDict

from bias_bench.system.files import digest, read_json

if TYPE_CHECKING:
    import pyarrow as pa

SHARD = 65_536  # texts that are encoded together, and ids of a record batch
TEXTS = 1_024  # texts of a record batch
FILES = ("ids.arrow", "texts.arrow")
RECORD = "corpus.json"


class Candidate(NamedTuple):
    """A retrievable sentence, with the paragraph it stands in."""

    id: str
    text: str
    context: str


class CandidateRange(NamedTuple):
    """Rows ``start:stop`` of the candidates: the pool of one language."""

    start: int
    stop: int


class Shard(BaseModel):
    """Texts that are encoded together: their sha256 (`files.digest_texts`) and number of letters,
    and the id of the first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    sha256: str
    characters: int
    first: str


class Description(BaseModel):
    """``corpus.json``. `files` are sha256 by name, `ids` is the sha256 of all ids in order."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: Literal[1] = 1
    language: str
    passages: int
    ids: str
    shards: tuple[Shard, ...]
    files: dict[str, str]


class StoredCorpus:
    """One language's passages in a folder that `corpus_store` wrote; rows count from 0."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known = Description.model_validate(read_json(folder / RECORD))

    def __len__(self) -> int:
        return self.known.passages

    @property
    def language(self) -> str:
        """The language that all ids begin with."""
        return self.known.language

    @property
    def fingerprint(self) -> str:
        """sha256 over ids and texts."""
        return digest([self.known.ids, *(shard.sha256 for shard in self.known.shards)])

    @property
    def shards(self) -> list[ShardTexts]:
        """The texts to encode."""
        return [ShardTexts(self, number) for number in range(len(self.known.shards))]

    def ids(self, rows: np.ndarray) -> pa.Array:
        """The ids (strings [n]) at `rows` int [n], in that order."""
        import pyarrow as pa

        order = np.argsort(rows, kind="stable")
        parts = [
            batch.column(0).take(pa.array(rows[places] - start))
            for batch, start, places in self._batches("ids.arrow", SHARD, rows, order)
        ]
        if not parts:
            return pa.array([], pa.string())
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return pa.concat_arrays(parts).take(pa.array(back))

    def titles_and_texts(self, rows: np.ndarray) -> list[tuple[str, str]]:
        """Title and text at `rows` int [n], in that order."""
        pairs = [("", "")] * len(rows)
        order = np.argsort(rows, kind="stable")
        for batch, start, places in self._batches("texts.arrow", TEXTS, rows, order):
            for place in places:
                row = int(rows[place] - start)
                pairs[place] = (batch.column(0)[row].as_py(), batch.column(1)[row].as_py())
        return pairs

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """int64 [n]: the row of each id, -1 where there is none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        firsts = [shard.first for shard in reversed(self.known.shards)]  # ascending
        rows = np.full(len(ids), -1, dtype=np.int64)
        shards = len(firsts) - 1 - np.array([bisect_left(firsts, name) for name in ids], np.int64)
        with _opened(self.folder / "ids.arrow") as reader:
            for shard in np.unique(shards[shards >= 0]).tolist():
                places = np.flatnonzero(shards == shard)
                wanted = pa.array([ids[place] for place in places.tolist()], pa.string())
                places_in = pc.index_in(wanted, reader.get_batch(shard).column(0))
                rows[places] = pc.add(places_in.cast(pa.int64()), shard * SHARD).fill_null(-1)
        return rows

    def texts(self, start: int, stop: int) -> Iterator[str]:
        """Texts of the rows ``start:stop``, a record batch in memory at a time."""
        with _opened(self.folder / "texts.arrow") as reader:
            for number in range(start // TEXTS, -(-stop // TEXTS)):
                first = number * TEXTS
                part = reader.get_batch(number).column(1)
                yield from part[max(start - first, 0) : stop - first].to_pylist()

    def __iter__(self) -> Iterator[Candidate]:
        with _opened(self.folder / "ids.arrow") as reader:
            for number in range(reader.num_record_batches):
                ids = reader.get_batch(number).column(0).to_pylist()
                start = number * SHARD
                for name, text in zip(ids, self.texts(start, start + len(ids)), strict=True):
                    yield Candidate(name, text, "")

    def _batches(
        self, name: str, size: int, rows: np.ndarray, order: np.ndarray
    ) -> Iterator[tuple[Any, int, np.ndarray]]:
        """Record batches that hold any of `rows`, their first row, and the places of those."""
        numbers = rows[order] // size
        cuts = np.flatnonzero(np.diff(numbers, prepend=-1))
        with _opened(self.folder / name) as reader:
            for places in np.split(order, cuts[1:]) if len(order) else ():
                number = int(rows[places[0]]) // size
                yield reader.get_batch(number), number * size, places


def _opened(path: Path) -> Any:
    """A reader of record batches; the file is read, not mapped, so no page of it stays."""
    import pyarrow as pa

    return pa.ipc.open_file(pa.OSFile(str(path)))


class ShardTexts(Sequence[str]):
    """The texts of one shard, read when they are asked for; their digest is known already."""

    def __init__(self, corpus: StoredCorpus, number: int) -> None:
        self._corpus, self.number = corpus, number
        self.start = number * SHARD
        self._known = corpus.known.shards[number]

    @property
    def sha256(self) -> str:
        """As `files.digest_texts` gives it."""
        return self._known.sha256

    @property
    def characters(self) -> int:
        """Of all texts."""
        return self._known.characters

    def __len__(self) -> int:
        return min(SHARD, len(self._corpus) - self.start)

    def __iter__(self) -> Iterator[str]:
        return self._corpus.texts(self.start, self.start + len(self))

    @overload
    def __getitem__(self, item: int) -> str: ...
    @overload
    def __getitem__(self, item: slice) -> list[str]: ...
    def __getitem__(self, item: int | slice) -> str | list[str]:
        start, stop, step = (item if isinstance(item, slice) else slice(item, item + 1)).indices(
            len(self)
        )
        found = list(self._corpus.texts(self.start + start, self.start + stop))[::step]
        return found if isinstance(item, slice) else found[0]


class StoredCandidates(Sequence[Candidate]):
    """The candidates of a benchmark on disk: one corpus after the other."""

    def __init__(self, corpora: Sequence[StoredCorpus]) -> None:
        self.corpora = {corpus.language: corpus for corpus in corpora}

    @cached_property
    def pools(self) -> dict[str, CandidateRange]:
        """Rows of each language."""
        found, start = {}, 0
        for language, corpus in self.corpora.items():
            found[language] = CandidateRange(start, start + len(corpus))
            start += len(corpus)
        return found

    def keep(self, languages: Sequence[str]) -> StoredCandidates:
        """The candidates in some languages."""
        return StoredCandidates([self.corpora[language] for language in languages])

    def __len__(self) -> int:
        return sum(map(len, self.corpora.values()))

    def __iter__(self) -> Iterator[Candidate]:
        for corpus in self.corpora.values():
            yield from corpus

    def ids(self, rows: np.ndarray) -> pa.Array:
        """The ids (strings [n]) at `rows` int [n], in that order."""
        import pyarrow as pa

        order = np.argsort(rows, kind="stable")
        parts = []
        for language, (start, stop) in self.pools.items():
            first, last = np.searchsorted(rows[order], (start, stop))
            parts.append(self.corpora[language].ids(rows[order[first:last]] - start))
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return pa.concat_arrays(parts).take(pa.array(back))

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """int64 [n]: the row of each id, -1 where there is none."""
        rows = np.full(len(ids), -1, dtype=np.int64)
        languages = np.array([identifier.partition(":")[0] for identifier in ids], dtype=object)
        for language, (start, _) in self.pools.items():
            places = np.flatnonzero(languages == language)
            own = self.corpora[language].rows_of([ids[place] for place in places.tolist()])
            rows[places] = np.where(own >= 0, own + start, -1)
        return rows

    def text_parts(
        self,
        language: str,
        with_context: bool,  # noqa: ARG002 - such passages have none
    ) -> list[Sequence[str]]:
        """The texts to encode, a shard at a time."""
        return [*self.corpora[language].shards]

    def content(self) -> Iterator[str]:
        """What a fingerprint is taken of: the corpora's."""
        return (corpus.fingerprint for corpus in self.corpora.values())

    @overload
    def __getitem__(self, item: int) -> Candidate: ...
    @overload
    def __getitem__(self, item: slice) -> list[Candidate]: ...
    def __getitem__(self, item: int | slice) -> Candidate | list[Candidate]:
        rows = range(len(self))[item]
        wanted = np.array([rows] if isinstance(rows, int) else rows, dtype=np.int64)
        found = []
        for name, row in zip(self.ids(wanted).to_pylist(), wanted.tolist(), strict=True):
            language = name.partition(":")[0]
            own = np.array([row - self.pools[language].start])
            found.append(Candidate(name, self.corpora[language].titles_and_texts(own)[0][1], ""))
        return found[0] if isinstance(rows, int) else found
