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

from bias_bench.data.pairs import Pairs
from bias_bench.data.readers import Record, read_json_lines
from bias_bench.errors import DataError, UsageError
from bias_bench.system.files import atomic_path, json_text
from bias_bench.training.negatives.labels import used_labels
from bias_bench.training.negatives.mining import Mined

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
        filled = mined.negatives[query] >= 0
        yield {
            "query": query,
            "negatives": mined.negatives[query][filled].tolist(),
            # nine digits give a float32 back exactly
            "scores": [float(f"{score:.9g}") for score in mined.scores[query][filled]],
        }


def read_negatives(path: Path, pairs: Pairs) -> Stored:
    """The negatives of `path`, which were mined for these very `pairs`.

    DataError, with the line, for damaged files, other pairs and ids that the pairs do not have.
    """
    if not path.name.endswith(_ENDING):
        raise UsageError(f"{path}: mined negatives are read from {_ENDING}; give such a file")
    records = read_json_lines(path)
    header = _header(next(records, None), path, pairs)
    queries = used_labels(pairs.query, pairs.query_language, len(pairs.query_texts))
    candidates = used_labels(pairs.candidate, pairs.candidate_language, len(pairs.candidate_texts))
    negatives = np.full((len(queries), header["number"]), -1, dtype=np.int32)
    scores = np.full(negatives.shape, np.nan, dtype=np.float32)
    read = 0
    for record in records:
        query = record.fields.get("query")
        _require_known(query, queries, "query", record.where)
        row, row_scores = _row(record, candidates, header["number"])
        if negatives[query, 0] >= 0:
            raise DataError(f"{record.where}: query {query} stands in an earlier line too")
        negatives[query, : len(row)] = row
        scores[query, : len(row)] = row_scores
        read += 1
    if read != header["queries"]:
        raise DataError(
            f"{path}: negatives of {read} queries, but its header says {header['queries']}; "
            "mine again"
        )
    languages = np.append(candidates, np.int32(-1))[negatives]
    return Stored(Mined(negatives, languages, scores), header["provenance"])


def _header(record: Record | None, path: Path, pairs: Pairs) -> dict[str, Any]:
    """`number`, `queries` and `provenance`, of the right types."""
    if record is None or "schema" not in record.fields:
        where = record.where if record else path
        raise DataError(f"{where}: no header of mined negatives; is this another file?")
    header, where = record.fields, record.where
    if header["schema"] != SCHEMA:
        raise DataError(
            f"{where}: schema {header['schema']!r}, but this version reads {SCHEMA}; mine again"
        )
    sizes = [header.get("number"), header.get("queries")]
    whole = all(map(_is_index, sizes)) and sizes[0] != 0
    if not whole or not isinstance(header.get("provenance"), dict):
        raise DataError(f"{where}: the header's numbers or provenance are damaged")
    if header.get("pairs") != pairs.fingerprint:
        raise DataError(
            f"{where}: mined for other training pairs ({str(header.get('pairs'))[:12]}, "
            f"these are {pairs.fingerprint[:12]}); mine again"
        )
    return header


def _row(record: Record, candidates: np.ndarray, number: int) -> tuple[list[int], list[float]]:
    """The negatives of a query and their scores."""
    negatives: Any = record.fields.get("negatives")
    scores: Any = record.fields.get("scores")
    for values in (negatives, scores):
        if not isinstance(values, list) or not 0 < len(values) <= number:
            raise DataError(f"{record.where}: expected lists of 1 to {number} negatives and scores")
    for candidate in negatives:
        _require_known(candidate, candidates, "candidate", record.where)
    if len(scores) != len(negatives) or not all(map(_is_score, scores)):
        raise DataError(f"{record.where}: expected one finite score for each negative")
    return negatives, scores


def _require_known(index: Any, known: np.ndarray, what: str, where: str) -> None:
    if not _is_index(index) or index >= len(known) or known[index] < 0:
        raise DataError(f"{where}: unknown {what} {json.dumps(index)[:40]}; the pairs have no such")


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_score(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) < _LARGEST  # false for NaN
