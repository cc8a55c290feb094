"""Files on disk: written whole or not at all, hashed, locked."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bias_bench.errors import BiasBenchError, DataError

if TYPE_CHECKING:
    import pyarrow as pa

TEMPORARY_PREFIX = ".writing-"
_STALE_SECONDS = 86_400
_PATIENCE = 60  # seconds
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")  # numpy's error, without a number
_LEFT_BY_SYSTEMS = {"__macosx", "thumbs.db", "desktop.ini"}
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a full disk, quota or file-size limit


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends without error."""
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with named_where_full(path):
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` when the block ends without error.

    One process at a time may make `path`; what an interrupted one left of it is removed.
    """
    temporary = make_folder(path.parent) / f"{TEMPORARY_PREFIX}{path.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    make_folder(temporary)
    try:
        with named_where_full(path):
            yield temporary
            shutil.rmtree(path, ignore_errors=True)
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def named_where_full(path: Path) -> Iterator[None]:
    """A BiasBenchError that names `path` where the disk is found to be full inside the block."""
    try:
        yield
    except Exception as error:
        number = _no_space(error)
        if number is None:
            raise
        raise BiasBenchError(
            f"{path}: cannot be written ({os.strerror(number)}); free some space, and give the "
            "command again"
        ) from None


def _no_space(error: Exception) -> int | None:
    """The number of the operating system's error where a disk is full."""
    if isinstance(error, OSError):
        if error.errno is None and _CUT_SHORT.fullmatch(str(error)):
            return errno.ENOSPC
        return error.errno if error.errno in NO_SPACE else None
    if type(error).__module__.partition(".")[0] in ("safetensors", "safetensors_rust"):
        # its own class of error has the number in the text alone
        return next((number for number in NO_SPACE if f"os error {number})" in str(error)), None)
    return None


def write_bytes(path: Path, data: bytes, durable: bool = False) -> None:
    """Write a file whole; a `durable` one is on the disk before it takes its place."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:  # closed, then renamed
        stream.write(data)
        if durable:
            stream.flush()
            os.fsync(stream.fileno())


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any, durable: bool = False) -> None:
    """Write indented JSON with sorted keys; NaN and infinities are refused."""
    write_bytes(path, (json_text(value, indent=1) + "\n").encode("utf-8"), durable)


def write_checked(path: Path, data: bytes, record: dict[str, Any]) -> None:
    """Write a file of the cache, then ``<stem>.json`` with its checksum: that marks it whole."""
    write_bytes(path, data)
    write_checksum(path, record)


def write_checksum(path: Path, record: dict[str, Any]) -> None:
    """Write ``<stem>.json`` of a file of the cache that was just written."""
    remove_stale_files(path.parent)
    checked = {"schema": 1, **record, "sha256": sha256_file(path)}
    write_json(path.with_suffix(".json"), checked)


def is_whole(path: Path) -> bool | None:
    """Whether a file that `write_checked` wrote is undamaged; None where it is not there."""
    record = path.with_suffix(".json")
    if not (path.is_file() and record.is_file()):
        return None
    try:
        content = read_json(record)
    except BiasBenchError:
        return False
    return isinstance(content, dict) and content.get("sha256") == sha256_file(path)


def json_text(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False, allow_nan=False)


def parse_json(text: str) -> Any:
    """The value of a JSON text, whatever it holds; ValueError says what is wrong with it."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: Path) -> Any:
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BiasBenchError(f"{path}: no such file") from None
    except ValueError as error:  # of the bytes, or of the text
        raise BiasBenchError(f"{path}: not valid JSON ({error})") from None


def read_parquet(
    path: Path,
    columns: list[str] | None = None,
    filters: Any = None,
    absent: str = "is this a complete run folder?",
) -> pa.Table:
    """A table of a run folder. DataError where it is damaged or absent; `absent` ends that line."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, columns=columns, filters=filters)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; {absent}") from None
    except (pa.ArrowException, OSError) as error:
        problem = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: damaged ({problem}); repeat the run") from None


def cache_root() -> Path:
    """``$BIASBENCH_CACHE``, else the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("BIASBENCH_CACHE") or platformdirs.user_cache_dir("biasbench"))


def make_folder(path: Path) -> Path:
    """Create a folder with its parents; a BiasBenchError says why when that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BiasBenchError(
            f"{path}: cannot create this folder ({error.strerror}); choose another"
        ) from None
    if not os.access(path, os.W_OK):
        raise BiasBenchError(f"{path}: no permission to write here; choose another folder")
    return path


def existing_parent(path: Path) -> Path:
    """`path` where it exists, else the nearest folder above it that does."""
    return next(parent for parent in (path, *path.absolute().parents) if parent.exists())


def require_writable(path: Path) -> None:
    """BiasBenchError unless the folder `path` is there or can be made; creates nothing."""
    existing = existing_parent(path)
    if not existing.is_dir():
        raise BiasBenchError(f"{path}: cannot create this folder ({existing} is a file)")
    if not os.access(existing, os.W_OK):
        raise BiasBenchError(f"{path}: no permission to write in {existing}; choose another folder")


def plain_name(text: str, longest: int = 80) -> str:
    """A text as (a part of) the name of a folder: ASCII letters, digits, ``.``, ``_`` and ``-``.

    The text itself where it is one already. Else accents are dropped, other characters become
    hyphens, what is too long is cut, and eight digits of the text's sha256 follow, so that two
    texts do not become one name.
    """
    if len(text) <= longest and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
        return text
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", letters).strip("._-")[: longest - 9].rstrip("._-")
    return "-".join(filter(None, (plain, hashlib.sha256(text.encode("utf-8")).hexdigest()[:8])))


def is_hidden(name: str) -> bool:
    """Whether a file or folder holds no data: it is hidden, or left by a system or an editor."""
    if name in (".", ".."):  # of a path
        return False
    return name.startswith((".", "~$")) or name.casefold() in _LEFT_BY_SYSTEMS


def remove_temporary_files(folder: Path) -> None:
    """Delete files and folders that an interrupted process left half-written below `folder`."""
    for path in sorted(folder.rglob(TEMPORARY_PREFIX + "*"), reverse=True):
        _remove(path)


def remove_stale_files(folder: Path) -> None:
    """Delete what an interrupted process left half-written in `folder`, which others may use now.

    Those write for seconds, so what nobody touched for a day is nobody's.
    """
    for path in folder.glob(TEMPORARY_PREFIX + "*"):
        with suppress(OSError):  # another process deletes it too
            if path.stat().st_mtime < time.time() - _STALE_SECONDS:
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(value: Any) -> str:
    """sha256 of a JSON-serialisable value, independent of key order."""
    return hashlib.sha256(json_text(value).encode("utf-8")).hexdigest()


class TextDigest:
    """sha256 of texts, one after the other; lengths are hashed too, so that no two lists collide.

    `characters` are those of all texts so far.
    """

    def __init__(self) -> None:
        self._state = hashlib.sha256()
        self.characters = 0

    def update(self, text: str) -> None:
        """Add a text."""
        data = text.encode("utf-8")
        self._state.update(len(data).to_bytes(8, "little"))
        self._state.update(data)
        self.characters += len(text)

    def hexdigest(self) -> str:
        """Of all texts so far."""
        return self._state.hexdigest()


def digest_texts(texts: Iterable[str]) -> str:
    """sha256 of texts in their order, as `TextDigest`."""
    state = TextDigest()
    for text in texts:
        state.update(text)
    return state.hexdigest()


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; a second one fails at once with a clear line."""
    from filelock import FileLock, Timeout

    make_folder(folder)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BiasBenchError(
            f"{folder}: in use by another biasbench process; wait for it, or give another --name"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def shared_folder(folder: Path) -> Iterator[None]:
    """Hold `folder` for a moment; a second process waits, and fails after a minute."""
    from filelock import FileLock, Timeout

    make_folder(folder)
    try:
        with FileLock(folder / ".lock", timeout=_PATIENCE):
            yield
    except Timeout:
        raise BiasBenchError(
            f"{folder}: another biasbench process has held it for {_PATIENCE} seconds; give the "
            "command again when it has ended"
        ) from None
