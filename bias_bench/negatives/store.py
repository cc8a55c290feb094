"""Mined negatives on disk: gzipped JSON lines that say where they come from.

The first line is a header with schema, sizes, the pairs' fingerprint and the caller's provenance;
then one line for each query that has negatives. Equal content gives equal bytes.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bias_bench.datasets.pairs import Pairs
from bias_bench.datasets.readers import Record, read_json_lines
from bias_bench.errors import DataError, UsageError
from bias_bench.files import atomic_path, json_text
from bias_bench.negatives.labels import used_labels
from bias_bench.negatives.mining import Mined

SCHEMA = 1
_ENDING = ".jsonl.gz"
_COMPRESSION = 6
_LARGEST = 3.4e38  # that float32 holds


class Stored(NamedTuple):
    """What a file of negatives holds."""

    mined: Mined
    provenance: dict[str, Any]


def write_negatives(path: Path, mined: Mined, pairs: Pairs, provenance: Mapping[str, Any]) -> None:
    """Write `mined` to `path` (``….jsonl.gz``), whole or not at all.

    `provenance` is what decided the negatives and is JSON: encoder's sha256, settings, seed, epoch.
    """
    if not path.name.endswith(_ENDING):
        raise UsageError(f"{path}: mined negatives are written as {_ENDING}; change the name")
    with (
        atomic_path(path) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile("", "wb", _COMPRESSION, raw, mtime=0) as stream,
    ):
        for record in _records(mined, pairs, provenance):
            stream.write(json_text(record).encode("utf-8") + b"\n")


def _records(mined: Mined, pairs: Pairs, provenance: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    queries = np.flatnonzero((mined.negatives >= 0).any(axis=1))
    yield {
        "schema": SCHEMA,
        "pairs": pairs.fingerprint,
        "number": mined.negatives.shape[1],
        "queries": len(queries),
        "provenance": dict(provenance),
    }
    for query in queries.tolist():
        found = mined.negatives[query] >= 0
        yield {
            "query": query,
            "negatives": mined.negatives[query][found].tolist(),
            # nine digits give a float32 back exactly
            "scores": [float(f"{score:.9g}") for score in mined.scores[query][found]],
        }


def read_negatives(path: Path, pairs: Pairs) -> Stored:
    """The negatives of `path`, which were mined for these very `pairs`.

    DataError, with the line, for damaged files, other pairs and ids that the pairs do not have.
    """
    if not path.name.endswith(_ENDING):
        raise UsageError(f"{path}: mined negatives are read from {_ENDING}; give such a file")
    records = read_json_lines(path)
    header = _header(next(records, None), path, pairs)
    known = _Known(
        used_labels(pairs.query, pairs.query_language, len(pairs.query_texts)),
        used_labels(pairs.candidate, pairs.candidate_language, len(pairs.candidate_texts)),
    )
    shape = (len(pairs.query_texts), header.number)
    negatives = np.full(shape, -1, dtype=np.int32)
    scores = np.full(shape, np.nan, dtype=np.float32)
    read = 0
    for record in records:
        row = _row(record, known, header.number)
        if negatives[row.query, 0] >= 0:
            raise DataError(f"{record.where}: query {row.query} stands in an earlier line too")
        negatives[row.query, : len(row.negatives)] = row.negatives
        scores[row.query, : len(row.scores)] = row.scores
        read += 1
    if read != header.queries:
        raise DataError(
            f"{path}: negatives of {read} queries, but its header says {header.queries}; mine again"
        )
    languages = np.append(known.candidates, np.int32(-1))[negatives]
    return Stored(Mined(negatives, languages, scores), header.provenance)


class _Header(NamedTuple):
    number: int
    queries: int
    provenance: dict[str, Any]


class _Known(NamedTuple):
    """int32 [texts] each: the language of a text, -1 for one that no pair uses."""

    queries: np.ndarray
    candidates: np.ndarray


class _Row(NamedTuple):
    query: int
    negatives: list[int]
    scores: list[float]


def _header(record: Record | None, path: Path, pairs: Pairs) -> _Header:
    if record is None or "schema" not in record.fields:
        where = record.where if record else path
        raise DataError(f"{where}: no header of mined negatives; is this another file?")
    fields = record.fields
    if fields["schema"] != SCHEMA:
        raise DataError(
            f"{record.where}: schema {fields['schema']!r}, but this version reads {SCHEMA}; "
            "mine again"
        )
    # whatever JSON holds: the types are checked below
    header = _Header(fields.get("number"), fields.get("queries"), fields.get("provenance"))  # type: ignore[arg-type]
    numbers = all(_is_index(value) for value in header[:2]) and header.number > 0
    if not numbers or not isinstance(header.provenance, dict):
        raise DataError(f"{record.where}: the header's numbers or provenance are damaged")
    if fields.get("pairs") != pairs.fingerprint:
        raise DataError(
            f"{record.where}: mined for other training pairs ({str(fields.get('pairs'))[:12]}, "
            f"these are {pairs.fingerprint[:12]}); mine again"
        )
    return header


def _row(record: Record, known: _Known, number: int) -> _Row:
    # as in the header
    row = _Row(*(record.fields.get(name) for name in _Row._fields))  # type: ignore[arg-type]
    _require_known(row.query, known.queries, "query", record.where)
    for values in (row.negatives, row.scores):
        if not isinstance(values, list) or not 0 < len(values) <= number:
            raise DataError(f"{record.where}: expected lists of 1 to {number} negatives and scores")
    for candidate in row.negatives:
        _require_known(candidate, known.candidates, "candidate", record.where)
    if len(row.scores) != len(row.negatives) or not all(map(_is_score, row.scores)):
        raise DataError(f"{record.where}: expected one finite score for each negative")
    return row


def _require_known(index: Any, known: np.ndarray, what: str, where: str) -> None:
    if not _is_index(index) or index >= len(known) or known[index] < 0:
        raise DataError(f"{where}: unknown {what} {json.dumps(index)[:40]}; the pairs have no such")


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_score(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) < _LARGEST  # false for NaN
