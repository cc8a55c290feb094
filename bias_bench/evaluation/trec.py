"""TREC run and qrels files: written canonically, read with errors that name the line.

A run line is ``query Q0 candidate rank score tag``, a qrels line ``query 0 candidate grade``; files
of other tools may have a heading, and judgements three columns, ``query candidate grade`` (BEIR).
Gzip is told by its first bytes; written files whose name ends in ``.gz`` hold no time or name, so
equal content is equal bytes. Scores are written as the shortest text that reads back to the same
float32.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bias_bench.errors import BiasBenchError, DataError
from bias_bench.system.files import write_bytes
from bias_bench.system.packed import is_gzip

_COMPRESSION = 1  # run files are large and regular: higher levels cost seconds and gain little
# trec_eval keeps a count for every grade up to the highest, 8 bytes each
LARGEST_GRADE = 1_000_000
_RUN = ("query", "Q0", "candidate", "rank", "score", "tag")
_QRELS = ("query", "iteration", "candidate", "grade")
_BEIR = ("query", "candidate", "grade")
# what the first column is called where a file has a heading
_HEADINGS = frozenset(
    ("query", "query-id", "query_id", "queryid", "qid", "q_id", "topic", "topic_id")
)  # fmt: skip


class RunTable(NamedTuple):
    """A run as columns: query and candidate ids, float32 scores; in file order."""

    queries: pa.StringArray
    candidates: pa.StringArray
    scores: np.ndarray


class QrelsTable(NamedTuple):
    """Judgements as columns: query and candidate ids, int grades (above 0 is relevant)."""

    queries: pa.StringArray
    candidates: pa.StringArray
    grades: np.ndarray


def by_query(table: RunTable | QrelsTable) -> dict[str, dict[str, Any]]:
    """Scores or grades by query and candidate, as plain Python numbers."""
    queries, candidates, values = table
    nested: dict[str, dict[str, Any]] = {}
    rows = zip(queries.to_pylist(), candidates.to_pylist(), values.tolist(), strict=True)
    for query, candidate, value in rows:
        nested.setdefault(query, {})[candidate] = value
    return nested


def ragged_run_bytes(
    queries: pa.StringArray,
    candidates: pa.StringArray,
    ranks: np.ndarray,
    scores: np.ndarray,
    tag: str,
) -> bytes:
    """A run file's content from columns of equal length, a row per result, in the given order."""
    texts = [pa.array(column).cast(pa.string()) for column in (ranks, scores)]
    return _lines(queries, "Q0", candidates, *texts, tag)


def run_bytes(
    queries: Sequence[str], candidates: pa.StringArray, scores: np.ndarray, tag: str
) -> bytes:
    """A run file's content. `candidates` [queries * depth] and `scores` float32 [queries, depth]
    are best first and strictly decreasing.
    """
    depth = scores.shape[1]
    rows = pa.array(np.repeat(np.arange(len(queries)), depth))
    ranks = np.tile(np.arange(1, depth + 1), len(queries))
    column = pa.array(queries, pa.string()).take(rows)
    return ragged_run_bytes(column, candidates, ranks, scores.reshape(-1), tag)


def qrels_bytes(
    queries: Sequence[str], candidates: Sequence[str], grades: Sequence[int] | None = None
) -> bytes:
    """A qrels file's content. Without `grades` every pair is relevant with grade 1."""
    last = "1" if grades is None else pa.array(grades, pa.int64()).cast(pa.string())
    return _lines(pa.array(queries, pa.string()), "0", pa.array(candidates, pa.string()), last)


def _lines(*columns: pa.StringArray | str) -> bytes:
    """Columns joined by spaces into lines; the joined column's buffer is the file's content."""
    *parts, last = [pa.scalar(c) if isinstance(c, str) else c for c in columns]
    ending = pc.binary_join_element_wise(last, "", "\n")
    joined = pc.binary_join_element_wise(*parts, ending, " ")
    return bytes(joined.buffers()[2]) if len(joined) else b""


def write_gzip(path: Path, content: bytes) -> None:
    """Compress with a fixed header and write the file whole."""
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", _COMPRESSION, buffer, mtime=0) as stream:
        stream.write(content)
    write_bytes(path, buffer.getvalue())


def read_content(path: Path) -> bytes:
    """A file's content, decompressed where it is gzip, whatever its name is."""
    try:
        content = path.read_bytes()
        if not content and path.suffix == ".gz":
            raise EOFError("the file is empty")
        return gzip.decompress(content) if is_gzip(content) else content
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: truncated or damaged ({error})") from None


def read_run(path: Path) -> RunTable:
    """Read a run; DataError names the line of a malformed, NaN, infinite or duplicate entry."""
    table = _read_columns(path, _RUN)
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused as such
        scores = _numbers(path, table["score"], "score").astype(np.float32)
    _require(path, np.isfinite(scores), "score is NaN or infinite")
    _require_unique_pairs(path, table["query"], table["candidate"])
    return RunTable(table["query"], table["candidate"], scores)


def read_qrels(path: Path) -> QrelsTable:
    """Read judgements; DataError names the line of a malformed or duplicate entry.

    Grades below 1, negative ones too, are judged and not relevant.
    """
    table = _read_columns(path, _QRELS, _BEIR)
    grades = _numbers(path, table["grade"], "grade")
    _require(
        path, np.isfinite(grades) & (grades == np.trunc(grades)), "grade is not a whole number"
    )
    _require(
        path,
        np.abs(grades) <= LARGEST_GRADE,
        f"grade is past {LARGEST_GRADE:,}, more than trec_eval can hold; use smaller gains",
    )
    _require_unique_pairs(path, table["query"], table["candidate"])
    return QrelsTable(table["query"], table["candidate"], grades.astype(np.int64))


def entry_lines(path: Path) -> bytes:
    """A TREC file's entries, one a line, fields separated by one space, without blank lines.

    Other tools separate by tabs, pad, head the columns, or end lines as on Windows; every scorer
    reads this instead.
    """
    content = read_content(path).removeprefix(codecs.BOM_UTF8)
    odd = (b"\t", b"  ", b" \n", b"\n ", b"\n\n", b"\r")
    plain = content.endswith(b"\n") and content[:1].strip() and not any(m in content for m in odd)
    if plain and not _is_heading(content.partition(b"\n")[0]):
        return content
    return b"".join(b" ".join(line.split()) + b"\n" for _, line in _entries(content))


def _entries(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Number, from 1, and text of each line that is an entry: not blank, and no heading."""
    first = True
    for number, line in enumerate(content.removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        if line.strip() and not (first and _is_heading(line)):
            yield number, line
        first = first and not line.strip()


def _is_heading(line: bytes) -> bool:
    """Whether the first line names the columns; the second one, Q0 or 0, may name itself."""
    first, *rest = line.lower().split() or [b""]
    return (
        first.decode("utf-8", "replace") in _HEADINGS
        and len(rest) >= 2
        and not any(field[-1:].isdigit() for field in rest[1:])
    )


def _read_columns(path: Path, *forms: tuple[str, ...]) -> dict[str, pa.StringArray]:
    """The columns of the form that the first entry has; the first form is the usual one."""
    from pyarrow import csv

    content = entry_lines(path)
    names = forms[0]
    if not content:
        return {name: pa.array([], pa.string()) for name in names}
    if b"\0" in content:
        damaged = next(number for number, line in _entries(read_content(path)) if b"\0" in line)
        raise DataError(
            f"{path}, line {damaged}: holds a NUL byte, so the file is damaged; write it again"
        )
    width = content.split(b"\n", 1)[0].count(b" ") + 1
    names = next((form for form in forms if len(form) == width), forms[0])
    try:
        table = csv.read_csv(
            io.BytesIO(content),
            read_options=csv.ReadOptions(column_names=list(names), use_threads=False),
            parse_options=csv.ParseOptions(delimiter=" ", quote_char=False),
            convert_options=csv.ConvertOptions(
                column_types={name: pa.string() for name in names}, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        for number, line in _entries(read_content(path)):
            fields = len(line.split())
            if fields != len(names):
                raise DataError(
                    f"{path}, line {number}: {fields} fields, expected {len(names)}: "
                    f"{' '.join(names)}"
                ) from None
            if not _is_text(line):
                raise DataError(f"{path}, line {number}: not UTF-8 text") from None
        raise DataError(f"{path}: not a TREC file ({error})") from None
    return {name: table[name].combine_chunks() for name in names}


def _is_text(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _numbers(path: Path, column: pa.StringArray, what: str) -> np.ndarray:
    try:
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        texts = column.to_pylist()
    numbers = []
    for row, text in enumerate(texts):
        try:
            numbers.append(float(text.replace("_", "?")))  # Python alone reads 1_000 as a number
        except ValueError:
            where = f"{path}, line {line_of(path, row)}"
            raise DataError(f"{where}: {what} '{text}' is not a number") from None
    return np.array(numbers)


def _require(path: Path, valid: np.ndarray, problem: str) -> None:
    """DataError with the line of the first entry that is not valid."""
    bad = np.flatnonzero(~valid)
    if len(bad):
        raise DataError(f"{path}, line {line_of(path, int(bad[0]))}: {problem}")


def line_of(path: Path, row: int) -> int:
    """The line, from 1, of the entry with index `row`; others hold no entry but count."""
    return next(islice(_entries(read_content(path)), row, None))[0]


def _require_unique_pairs(path: Path, queries: pa.Array, candidates: pa.Array) -> None:
    query = queries.dictionary_encode()
    candidate = candidates.dictionary_encode()
    pairs = query.indices.to_numpy().astype(np.int64) * max(len(candidate.dictionary), 1)
    pairs += candidate.indices.to_numpy()
    order = np.argsort(pairs, kind="stable")
    repeated = np.flatnonzero(pairs[order][1:] == pairs[order][:-1])
    if len(repeated):
        row = int(order[repeated[0] + 1])
        raise DataError(
            f"{path}, line {line_of(path, row)}: candidate '{candidates[row]}' occurs twice "
            f"for query '{queries[row]}'"
        )


def require_plain_id(text: str) -> str:
    """A name as TREC files can hold it: without white space."""
    if not text or any(character.isspace() for character in text):
        raise BiasBenchError(f"'{text}' cannot stand in a TREC file: it is empty or has spaces")
    return text
