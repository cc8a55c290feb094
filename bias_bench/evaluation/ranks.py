"""ranks.parquet: the exact rank of every relevant candidate in every setting's full pool.

Columns: setting, query, topic, paragraph, article, candidate, candidate_language (dictionaries)
and rank (int32, from 1; lower is better); grade (int32, from 1) where not all are 1. The schema's
metadata holds the pool sizes, as far as they are known, and a cut-off where ranks are known down to
one only: a relevant candidate that was not retrieved then has the rank cut-off + 1, and `listed`
(int32) is the length of the query's ranking. The least rank that such a candidate can have is
listed + 1; several may share it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bias_bench.data.collection import Collection
from bias_bench.data.ids import language_of
from bias_bench.errors import BiasBenchError, DataError
from bias_bench.evaluation.ranking import ragged
from bias_bench.evaluation.settings import ALL, Setting
from bias_bench.system.files import atomic_path, parse_json, read_parquet

SCHEMA = 1
_COLUMNS = (
    "setting", "query", "topic", "paragraph", "article", "candidate", "candidate_language",
)  # fmt: skip


class RankedQueries(NamedTuple):
    """One setting's queries with the ranks of their relevant candidates.

    `ranks` int32 [queries, most relevant], 0 past the end; `languages` likewise holds the index
    of each candidate's language in `language_names`, -1 past the end. `grades` likewise holds
    grades, 0 past the end; None where all are 1. `listed` int32 [queries] is the length of each
    query's ranking, down to the cut-off; None where no ranking ends.
    """

    queries: list[str]
    topics: list[str]
    paragraphs: list[str]
    articles: list[str]
    ranks: np.ndarray
    languages: np.ndarray
    language_names: list[str]
    grades: np.ndarray | None = None
    listed: np.ndarray | None = None

    def least(self) -> np.ndarray:
        """The least ranks that the rankings allow, as `ranks`: what was not retrieved stands right
        behind its query's own ranking.
        """
        if self.listed is None:
            return self.ranks
        return np.minimum(self.ranks, self.listed[:, None] + np.int32(1))


def setting_rows(
    collection: Collection,
    setting: Setting,
    query_topics: np.ndarray,
    ranks: np.ndarray,
    listed: np.ndarray | None = None,
) -> pa.Table:
    """The rows of one setting. `ranks` int32 [queries, relevant, 2] as `retrieval.exact` gives.

    `listed` int [queries] are the lengths of rankings that end, None where none does.
    """
    relevant = collection.relevant_rows[query_topics]
    wanted = relevant >= 0
    if setting.pool != ALL:
        start, stop = collection.pools[setting.pool]
        wanted &= (relevant >= start) & (relevant < stop)
    queries, places = np.nonzero(wanted)
    topics = [collection.topics[row] for row in query_topics[queries]]
    candidates = collection.candidate_ids(relevant[queries, places]).to_pylist()
    ids = [query.id for query in collection.queries_in(setting.query_language)]
    grades = collection.relevant_grades
    return rank_rows(
        setting,
        [ids[row] for row in queries],
        [(topic.id, topic.paragraph, topic.article) for topic in topics],
        candidates,
        [language_of(candidate) for candidate in candidates],
        rank=ranks[queries, places, 1 if setting.pool == ALL else 0],
        grade=None if grades is None else grades[query_topics][queries, places],
        listed=None if listed is None else listed[queries],
    )


def rank_rows(
    setting: Setting,
    queries: Sequence[str],
    clusters: Sequence[tuple[str, str, str]],
    candidates: Sequence[str],
    languages: Sequence[str],
    **numbers: np.ndarray | None,
) -> pa.Table:
    """The rows of one setting, a row for each relevant candidate of each query.

    `clusters` are each query's topic, paragraph and article, `languages` the candidates'; `numbers`
    int [rows] are `rank` and, where there are any (else None), `grade` and `listed`.
    """
    names = zip(*clusters, strict=True) if clusters else ((), (), ())
    columns = [[str(setting)] * len(queries), queries, *names, candidates, languages]
    arrays = {
        name: pa.array(column, pa.string()) for name, column in zip(_COLUMNS, columns, strict=True)
    }
    known = {name: column for name, column in numbers.items() if column is not None}
    arrays |= {name: pa.array(column, pa.int32()) for name, column in known.items()}
    return pa.table(arrays)


def write_ranks(
    path: Path, tables: Sequence[pa.Table], pool_sizes: dict[str, int], cutoff: int | None = None
) -> None:
    """Write all settings' rows with dictionary-encoded text columns."""
    table = pa.concat_tables(tables).combine_chunks()
    for name in _COLUMNS:
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, table[name].dictionary_encode())
    content = {"schema": SCHEMA, "pools": pool_sizes, **({"cutoff": cutoff} if cutoff else {})}
    metadata = {"biasbench": json.dumps(content, sort_keys=True)}
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd")


class RankTable:
    """ranks.parquet in memory, as known down to `cutoff` (None: as the file has it).

    Tables of one cut-off can be compared, whether or not their files go deeper.
    """

    def __init__(self, path: Path, cutoff: int | None = None) -> None:
        table = read_rank_rows(path)
        metadata = _metadata(table)
        if metadata.get("schema") != SCHEMA:
            raise BiasBenchError(
                f"{path}: schema {metadata.get('schema')} is not known to this version of "
                "biasbench; update it, or repeat the run"
            )
        if not {*_COLUMNS, "rank"} <= set(table.column_names) or "pools" not in metadata:
            raise DataError(f"{path}: damaged (columns or sizes of pools are lost); repeat the run")
        self.pools: dict[str, int] = metadata["pools"]
        held: int | None = metadata.get("cutoff")
        if cutoff and held and cutoff > held:
            raise BiasBenchError(f"{path}: ranks are known down to {held} only, not to {cutoff}")
        self.cutoff = cutoff or held
        self._parts = _split_by_setting(table)

    @property
    def settings(self) -> list[str]:
        return list(self._parts)

    def of(self, setting: str) -> RankedQueries:
        """The ranks of one setting, a row per query."""
        part = self._parts[setting]
        rows = pc.rank(part["query"].cast(pa.string()), tiebreaker="dense").to_numpy() - 1
        order = np.argsort(rows, kind="stable")
        height, ordered = int(rows.max()) + 1, rows[order]
        first = pa.array(order[np.unique(ordered, return_index=True)[1]])
        ranks = ragged(ordered, part["rank"].to_numpy()[order], height, fill=0)
        if self.cutoff:
            ranks = np.minimum(ranks, np.int32(self.cutoff + 1))
        grades = None
        if "grade" in part.column_names:
            grades = ragged(ordered, part["grade"].to_numpy()[order], height, fill=0)
        languages = part["candidate_language"].cast(pa.string())
        names = sorted(set(languages.to_pylist()))
        codes = pc.index_in(languages, pa.array(names)).to_numpy()[order]
        texts = (
            part[name].cast(pa.string()).take(first).to_pylist()
            for name in ("query", "topic", "paragraph", "article")
        )
        queries, topics, paragraphs, articles = texts
        return RankedQueries(
            queries, topics, paragraphs, articles, ranks, ragged(ordered, codes, height), names,
            grades, self._listed(part, first),
        )  # fmt: skip

    def _listed(self, part: pa.Table, rows: pa.Array) -> np.ndarray | None:
        """Lengths of the rankings of queries whose first rows are given."""
        if not self.cutoff:
            return None
        if "listed" not in part.column_names:  # exact ranks, or a file of an earlier version
            return np.full(len(rows), self.cutoff, dtype=np.int32)
        return np.minimum(part["listed"].take(rows).to_numpy(), np.int32(self.cutoff))


def read_rank_rows(path: Path) -> pa.Table:
    """The rows of ranks.parquet; DataError where it is absent or damaged."""
    return read_parquet(path)


def _metadata(table: pa.Table) -> dict[str, Any]:
    try:
        content = parse_json((table.schema.metadata or {}).get(b"biasbench", b"{}").decode("utf-8"))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _split_by_setting(table: pa.Table) -> dict[str, pa.Table]:
    names = table["setting"].cast(pa.string()).combine_chunks()
    encoded = names.dictionary_encode()
    codes = encoded.indices.to_numpy()
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    stops = np.append(starts[1:], len(codes))
    return {
        encoded.dictionary[int(codes[start])].as_py(): table.slice(start, stop - start)
        for start, stop in zip(starts, stops, strict=True)
    }
