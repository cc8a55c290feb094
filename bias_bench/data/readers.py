"""Streams of lines and rows from plain, gzip and zip files; every fault names file and line."""

from __future__ import annotations

import gzip
import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from bias_bench.errors import DataError, UsageError, nearest
from bias_bench.system.files import is_hidden, parse_json
from bias_bench.system.packed import is_gzip_file

_EXACT = 2**53  # up to here a float holds every whole number


class Record(NamedTuple):
    """A row of a table, with its place for messages.

    What is missing in a row may be absent, null, or NaN, as pandas writes it.
    """

    where: str
    fields: dict[str, Any]

    def value(self, column: str) -> Any:
        """None where the row has none."""
        value = self.fields.get(column)
        return None if value != value else value

    def text(self, column: str, default: str | None = None) -> str:
        """A text; `default` where the row has none. Else a DataError names the row."""
        value = self.value(column)
        value = default if value is None else value
        if not isinstance(value, str):
            raise self.unexpected(column, "a text")
        return value

    def name(self, column: str) -> str | None:
        """A text or a whole number, as a text; None where the row has none."""
        value = self.value(column)
        if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
            value = int(value)  # as pandas writes a column of numbers of which one is missing
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
            raise self.unexpected(column, "a text or a whole number (up to 2**53)")
        return str(value)

    def unexpected(self, column: str, expected: str) -> DataError:
        """The error of a value that is not as it must be."""
        value = self.value(column)
        shown = "missing" if value is None else repr(value)
        shown = shown if len(shown) <= 40 else f"{shown[:39]}…"
        return DataError(f"{self.where}: '{column}' is {shown}, expected {expected}")


class Faults:
    """What to do about a DataError inside a ``with`` block: nothing, or go on behind the block.

    `lines` collects the messages of those that were passed over; None raises the first.
    """

    def __init__(self, lines: list[str] | None = None) -> None:
        self.lines = lines

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> bool:
        if self.lines is None or not isinstance(error, DataError):
            return False
        self.lines.append(str(error))
        return True


RAISED = Faults()


def read_lines(path: Path, member: str | None = None) -> Iterator[str]:
    """Lines of a UTF-8 file without their ends; gzip is unpacked, of ``.zip`` one `member`.

    Only a line feed ends a line: texts hold other separators that `str.splitlines` would cut at.
    """
    number = 0
    try:
        with _open(path, member) as stream:
            for number, raw in enumerate(stream, 1):
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                yield line.rstrip("\r\n")
    except UnicodeDecodeError:
        if path.suffix == ".gz" and not is_gzip_file(path):
            raise DataError(f"{path}: damaged after line 0; fetch the file again") from None
        raise DataError(f"{path}: line {number}: not UTF-8; convert the file") from None
    except (EOFError, zlib.error, zipfile.BadZipFile, gzip.BadGzipFile):
        raise DataError(f"{path}: damaged after line {number}; fetch the file again") from None
    except RuntimeError as error:  # an encrypted zip, or a way of packing that zipfile lacks
        raise DataError(f"{path}: cannot be unpacked ({error}); unpack it yourself") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_table(path: Path, columns: int) -> Iterator[tuple[int, list[str]]]:
    """Line number, from 1, and fields of a tab-separated file; the last field may hold tabs.

    Blank lines are passed over.
    """
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        fields = line.split("\t", columns - 1)
        if len(fields) != columns:
            raise DataError(
                f"{path}: line {number}: {len(fields)} field(s), expected {columns} between tabs"
            )
        yield number, fields


def read_json_lines(path: Path, member: str | None = None) -> Iterator[Record]:
    """One JSON object a line; blank lines are passed over."""
    for number, line in enumerate(read_lines(path, member), 1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            fields = parse_json(line)
        except ValueError as error:
            raise DataError(f"{where}: not JSON ({error}); expected one object a line") from None
        if ("\\ud" in line or "\\uD" in line) and not _encodable(fields):
            raise DataError(
                f"{where}: half of a surrogate pair, which is not text; correct the row"
            )
        if not isinstance(fields, dict):
            raise DataError(f"{where}: {type(fields).__name__}, expected a JSON object")
        yield Record(where, fields)


def read_rows(path: Path) -> Iterator[Record]:
    """The rows of a file of JSON lines or of a parquet file, by its name."""
    return read_parquet_rows(path) if path.suffix == ".parquet" else read_json_lines(path)


def read_parquet_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[Record]:
    """The rows of a parquet file, with these columns of it (None: all); a null is None."""
    import pyarrow.parquet as pq

    number = 0
    with _readable_parquet(path):
        for batch in pq.ParquetFile(path).iter_batches(columns=columns):
            for fields in batch.to_pylist():
                number += 1
                yield Record(f"{path}: row {number}", fields)


def parquet_columns(path: Path) -> list[str]:
    """The names of a parquet file's columns."""
    import pyarrow.parquet as pq

    with _readable_parquet(path):
        return list(pq.read_schema(path).names)


@contextmanager
def _readable_parquet(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{path}: cannot be read as parquet ({reason}); write it again") from None


def _encodable(value: Any) -> bool:
    """JSON can spell a lone surrogate; tokenizers and files cannot take it."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def _open(path: Path, member: str | None) -> Iterator[BinaryIO]:
    if member is not None and path.suffix != ".zip":
        raise UsageError(
            f"{path}: not a zip file, so it has no member '{member}'; remove the option"
        )
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(_member(archive, path, member)) as data:
            yield data  # type: ignore[misc]
    elif is_gzip_file(path):
        with gzip.open(path, "rb") as packed:
            yield packed  # type: ignore[misc]
    else:
        with path.open("rb") as stream:
            yield stream


def _member(archive: zipfile.ZipFile, path: Path, member: str | None) -> str:
    names = [
        name
        for name in archive.namelist()
        if not name.endswith("/") and not any(map(is_hidden, name.split("/")))
    ]
    if member is None and len(names) == 1:
        return names[0]
    if member not in names:
        what = f"no member '{member}'" if member else f"{len(names)} members and none is chosen"
        hint = nearest(member, names) if member else f"known: {', '.join(names[:5])}"
        raise UsageError(f"{path}: {what} (options.member): {hint}")
    return member
