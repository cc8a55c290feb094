"""Form ``pairs``: one query with its positive a row, in JSON lines or parquet.

Columns: `query`, `positive`; their languages as `query_language` and `positive_language`, or as
one `language`, or as the language under which ``files`` lists the file; and, if wanted,
`negatives` (list of texts in the positive's language), `group` (rows of one group are parallel),
`id`, `title` (of the document, for the zero-shot audit).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import field_validator

from bias_bench.data.languages import our_language
from bias_bench.data.pairs import Links
from bias_bench.data.readers import (
    Record,
    parquet_columns,
    read_json_lines,
    read_parquet_rows,
)
from bias_bench.data.sources.build import (
    LoadedSource,
    TextTable,
    make_pairs,
)
from bias_bench.data.sources.source import Options, Source
from bias_bench.errors import DataError, UsageError, nearest

REQUIRED = ("query", "positive")
COLUMNS = (
    *REQUIRED, "negatives", "query_language", "positive_language", "language", "group", "id",
    "title",
)  # fmt: skip
ENDINGS = (".jsonl", ".jsonl.gz", ".zip", ".parquet")


class PairsOptions(Options):
    """How to read the rows.

    `columns` maps our names to the file's, and then its other columns are ignored; `member` is the
    file in a zip; with `cross` every query of a group meets every positive of it, not only its
    row's.
    """

    columns: dict[str, str] | None = None
    member: str | None = None
    cross: bool = False

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, str] | None) -> dict[str, str] | None:
        for name in columns or ():
            if name not in COLUMNS:
                raise ValueError(f"unknown column '{name}': {nearest(name, COLUMNS)}")
        return columns


class PairRow(NamedTuple):
    """A row, checked; `topic` is its group, else its id, else its number."""

    query: str
    positive: str
    negatives: list[str] | None
    query_language: str
    positive_language: str
    topic: str
    title: str


def load_pairs(source: Source) -> LoadedSource:
    """The rows as pairs, in file order (with `cross`: in order of the groups)."""
    options = source.options(PairsOptions)
    rows = _read_rows(source, options)
    known = {language for row in rows for language in (row.query_language, row.positive_language)}
    languages = set(source.keep_languages(options.languages, known))
    queries, candidates = TextTable(), TextTable()
    titles: dict[str, str] = {}
    numbers: dict[str, int] = {}
    links: list[tuple[int, int, int]] = []
    negatives: dict[tuple[int, int], dict[str, None]] = {}
    for row in rows:
        if not {row.query_language, row.positive_language} <= languages:
            continue
        topic = numbers.setdefault(row.topic, len(numbers))
        titles[row.topic] = titles.get(row.topic) or row.title
        query = queries.row(row.query_language, row.query)
        candidate = candidates.row(row.positive_language, row.positive)
        links.append((topic, query, candidate))
        if row.negatives is not None:
            negatives.setdefault((topic, candidate), {}).update(dict.fromkeys(row.negatives))
    if options.cross:
        links = _cross(links)
    columns = np.array(links, dtype=np.int32).reshape(-1, 3).T
    pairs = make_pairs(source.name, queries, candidates, titles, Links(*columns))
    if not negatives:
        return LoadedSource(pairs, None)
    of_row = (negatives.get((topic, candidate)) for topic, _, candidate in links)
    return LoadedSource(pairs, {row: tuple(texts) for row, texts in enumerate(of_row) if texts})


def _cross(links: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Every query of a topic with every candidate of it, once each."""
    members: dict[int, tuple[dict[int, None], dict[int, None]]] = {}
    for topic, query, candidate in links:
        queries, candidates = members.setdefault(topic, ({}, {}))
        queries[query] = None
        candidates[candidate] = None
    return [
        (topic, query, candidate)
        for topic, (queries, candidates) in members.items()
        for query in queries
        for candidate in candidates
    ]


def _read_rows(source: Source, options: PairsOptions) -> list[PairRow]:
    spec = source.spec
    if bool(spec.path) == bool(spec.files):
        raise UsageError(f"{source.where}: form 'pairs' needs either 'path' or 'files'; give one")
    source.takes(optional=["path", "files"])
    rows: list[PairRow] = []
    grouped = False
    for language, name in spec.files.items() if spec.files else [("", spec.path)]:
        for record in read_records(source.place.file(name), options):
            grouped |= record.value("group") is not None
            rows.append(_checked(record, language, len(rows) + 1))
    if options.cross and not grouped:
        raise UsageError(f"{source.where}: options.cross needs a column 'group'; there is none")
    return rows


def read_records(path: Path, options: PairsOptions) -> Iterator[Record]:
    """Rows under our names of the columns; DataError for columns that lack or are unknown."""
    if not path.name.endswith(ENDINGS):
        raise UsageError(f"{path}: form 'pairs' reads {', '.join(ENDINGS)}; convert the file")
    theirs = {name: (options.columns or {}).get(name, name) for name in COLUMNS}
    seen: set[str] = set()
    if path.suffix == ".parquet":
        seen.update(parquet_columns(path))
        _check_columns(str(path), seen, options.columns)
        records = read_parquet_rows(path, sorted(seen & set(theirs.values())))
    else:
        records = read_json_lines(path, options.member)
    for where, fields in records:
        if path.suffix != ".parquet":
            _check_columns(where, fields, options.columns)
        seen.update(fields)
        yield Record(where, {ours: fields.get(name) for ours, name in theirs.items()})
    if seen and options.columns:
        # a row may leave a column out, but one that no row has was misspelt
        _require(str(path), options.columns.values(), seen)


def _check_columns(where: str, present: Collection[str], columns: dict[str, str] | None) -> None:
    if columns is None:
        for name in present:
            if name not in COLUMNS:
                raise DataError(
                    f"{where}: unknown column '{name}': {nearest(name, COLUMNS)} (or choose the "
                    "columns to read with options.columns)"
                )
    _require(where, [(columns or {}).get(name, name) for name in REQUIRED], present)


def _require(where: str, names: Collection[str], present: Collection[str]) -> None:
    for name in names:
        if name not in present:
            raise DataError(f"{where}: no column '{name}': {nearest(name, present)}")


def _checked(record: Record, language: str, number: int) -> PairRow:
    """A row with texts and languages as they must be; `language` is the file's, if it has one."""
    for column in REQUIRED:
        if not record.text(column).strip():
            raise record.unexpected(column, "a text")
    negatives = record.value("negatives")
    if negatives is not None:
        if not isinstance(negatives, list) or not all(
            isinstance(text, str) and text.strip() for text in negatives
        ):
            raise record.unexpected("negatives", "a list of texts")
        positive = record.text("positive").strip()
        negatives = [text.strip() for text in negatives if text.strip() != positive]
    return PairRow(
        query=record.text("query"),
        positive=record.text("positive"),
        negatives=negatives,
        query_language=_row_language(record, "query_language", language),
        positive_language=_row_language(record, "positive_language", language),
        topic=record.name("group") or record.name("id") or f"row-{number}",
        title=record.text("title", "").strip(),
    )


def _row_language(record: Record, column: str, language: str) -> str:
    given = record.value(column) or record.value("language") or language
    if not given:
        raise DataError(f"{record.where}: no '{column}' and no 'language'; add one of them")
    code = our_language(given) if isinstance(given, str) else None
    if code is None:
        raise DataError(f"{record.where}: '{column}' is {given!r:.40}, expected a language code")
    return code
