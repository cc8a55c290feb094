"""Form ``pairs``: one query with its positive a row, in JSON lines or parquet.

Columns: `query`, `positive`; their languages as `query_language` and `positive_language`, or as
one `language`, or as the language under which ``files`` lists the file; and, if wanted,
`negatives` (list of texts in the positive's language), `group` (rows of one group are parallel),
`id`, `title` (of the document, for the zero-shot audit).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import field_validator

from bias_bench.datasets.readers import (
    Record,
    parquet_columns,
    read_json_lines,
    read_parquet_rows,
)
from bias_bench.datasets.sources.build import (
    Links,
    LoadedSource,
    TextTable,
    make_pairs,
)
from bias_bench.datasets.sources.source import Options, Source
from bias_bench.errors import DataError, UsageError, nearest
from bias_bench.languages import our_language

REQUIRED = ("query", "positive")
COLUMNS = (
    *REQUIRED, "negatives", "query_language", "positive_language", "language", "group", "id",
    "title",
)  # fmt: skip
_EXACT = 2**53  # up to here a float holds every whole number
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
    negatives: tuple[str, ...] | None
    query_language: str
    positive_language: str
    topic: str
    title: str


def load_pairs(source: Source) -> LoadedSource:
    """The rows as pairs, in file order (with `cross`: in order of the groups)."""
    options = source.options(PairsOptions)
    rows = _read_rows(source, options)
    found = {language for row in rows for language in (row.query_language, row.positive_language)}
    languages = set(source.keep_languages(options.languages, found))
    queries, candidates = TextTable(), TextTable()
    titles: dict[str, str] = {}
    numbers: dict[str, int] = {}
    links: list[tuple[int, int, int]] = []
    negatives: dict[tuple[int, int], tuple[str, ...]] = {}
    for row in rows:
        if not {row.query_language, row.positive_language} <= languages:
            continue
        topic = numbers.setdefault(row.topic, len(numbers))
        titles[row.topic] = titles.get(row.topic) or row.title
        query = queries.row(row.query_language, row.query)
        candidate = candidates.row(row.positive_language, row.positive)
        links.append((topic, query, candidate))
        if row.negatives is not None:
            known = negatives.get((topic, candidate), ())
            negatives[topic, candidate] = tuple(dict.fromkeys((*known, *row.negatives)))
    if options.cross:
        links = _cross(links)
    pairs = make_pairs(
        source.name,
        queries,
        candidates,
        titles,
        Links(*np.array(links, dtype=np.int32).reshape(-1, 3).T),
    )
    if not negatives:
        return LoadedSource(pairs, None)
    of_row = (negatives.get((topic, candidate)) for topic, _, candidate in links)
    return LoadedSource(pairs, {number: texts for number, texts in enumerate(of_row) if texts})


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
            grouped |= record.fields.get("group") is not None
            rows.append(_checked(record, language, len(rows) + 1))
    if options.cross and not grouped:
        raise UsageError(f"{source.where}: options.cross needs a column 'group'; there is none")
    return rows


def read_records(path: Path, options: PairsOptions) -> Iterator[Record]:
    """Rows under our names of the columns; DataError for columns that lack or are unknown."""
    if not path.name.endswith(ENDINGS):
        raise UsageError(f"{path}: form 'pairs' reads {', '.join(ENDINGS)}; convert the file")
    theirs = {name: (options.columns or {}).get(name, name) for name in COLUMNS}
    if path.name.endswith(".parquet"):
        yield from _read_parquet(path, options.columns, theirs)
        return
    seen: set[str] = set()
    for where, fields in read_json_lines(path, options.member):
        _check_columns(where, fields, options.columns)
        seen.update(fields)
        yield Record(where, _without_nan({ours: fields.get(name) for ours, name in theirs.items()}))
    if seen and options.columns:
        # a row may leave a column out, but one that no row has was misspelt
        _require(str(path), options.columns.values(), seen)


def _read_parquet(
    path: Path, columns: dict[str, str] | None, theirs: dict[str, str]
) -> Iterator[Record]:
    present = parquet_columns(path)
    _check_columns(str(path), present, columns)
    if columns:
        _require(str(path), columns.values(), present)
    wanted = {ours: name for ours, name in theirs.items() if name in present}
    for where, fields in read_parquet_rows(path, sorted(set(wanted.values()))):
        yield Record(where, _without_nan({ours: fields[name] for ours, name in wanted.items()}))


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
    where, fields = record
    for name in REQUIRED:
        if not isinstance(fields[name], str) or not fields[name].strip():
            raise DataError(f"{where}: '{name}' is {_shown(fields[name])}, expected a text")
    negatives = fields.get("negatives")
    if negatives is not None:
        if not isinstance(negatives, list) or not all(
            isinstance(text, str) and text.strip() for text in negatives
        ):
            raise DataError(
                f"{where}: 'negatives' is {_shown(negatives)}, expected a list of texts"
            )
        positive = fields["positive"].strip()
        negatives = tuple(text.strip() for text in negatives if text.strip() != positive)
    topic = next((fields[key] for key in ("group", "id") if fields.get(key) is not None), None)
    if isinstance(topic, float):
        topic = _whole(topic, where)
    if topic is not None and (not isinstance(topic, str | int) or not str(topic).strip()):
        raise DataError(f"{where}: group or id is {_shown(topic)}, expected a text or a number")
    title = fields.get("title") or ""
    if not isinstance(title, str):
        raise DataError(f"{where}: 'title' is {_shown(title)}, expected a text")
    return PairRow(
        query=fields["query"],
        positive=fields["positive"],
        negatives=negatives,
        query_language=_row_language(record, "query_language", language),
        positive_language=_row_language(record, "positive_language", language),
        topic=f"row-{number}" if topic is None else str(topic),
        title=title.strip(),
    )


def _whole(number: float, where: str) -> int:
    """A whole number that pandas made a float because others were missing."""
    if not number.is_integer() or abs(number) > _EXACT:
        raise DataError(
            f"{where}: group or id is {number!r}, expected a whole number up to 2**53; write texts "
            "or integers"
        )
    return int(number)


def _without_nan(fields: dict[str, Any]) -> dict[str, Any]:
    """A row in which a missing value is None, also where pandas wrote NaN for it."""
    missing = {name for name, value in fields.items() if value != value}
    return {name: None if name in missing else value for name, value in fields.items()}


def _row_language(record: Record, column: str, language: str) -> str:
    value = record.fields.get(column) or record.fields.get("language") or language
    if not value:
        raise DataError(f"{record.where}: no '{column}' and no 'language'; add one of them")
    ours = our_language(value) if isinstance(value, str) else None
    if ours is None:
        raise DataError(f"{record.where}: '{column}' is {_shown(value)}, expected a language code")
    return ours


def _shown(value: Any) -> str:
    """A value for a message, cut short."""
    if value is None:
        return "missing"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
