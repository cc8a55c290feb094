"""Files on disk: written whole or not at all, hashed, locked."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from stat import S_IMODE
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from bias_bench.errors import BiasBenchError, DataError
from bias_bench.system.console import say

if TYPE_CHECKING:
    import pyarrow as pa

TEMPORARY_PREFIX = ".writing-"
_ASIDE_PREFIX = ".replaced-"
CACHE_FIX = "set BIASBENCH_CACHE to a folder that can be written"
_STALE_SECONDS = 86_400
_PATIENCE = 60  # seconds
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")  # numpy's error, without a number
_LEFT_BY_SYSTEMS = {"__macosx", "thumbs.db", "desktop.ini"}
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a full disk, quota or file-size limit


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends without error.

    Its permissions are those of any new file: the umask decides.
    """
    temporary = make_folder(path.parent) / f"{TEMPORARY_PREFIX}{uuid4().hex}{path.suffix}"
    try:
        with named_where_full(path):
            temporary.touch(exist_ok=False)
            mode = temporary.stat().st_mode
            yield temporary
            _set_mode(temporary, mode)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` when the block ends without error.

    What was at `path` is moved aside, and removed when the new folder is in its place: a process
    that is killed at any moment leaves the old or the new one whole, and `settle_folder` or the
    next call puts things in order. One process at a time may make `path`. The umask decides the
    permissions of what is in it. Raises BiasBenchError where `path` is a file.
    """
    path = path.resolve()  # what a link stands for is replaced, not the link
    if path.exists() and not path.is_dir():
        raise BiasBenchError(f"{path}: is a file where a folder belongs; remove it")
    settle_folder(path)
    temporary = make_folder(path.parent) / f"{TEMPORARY_PREFIX}{path.name}"
    _remove(temporary)
    try:
        with named_where_full(path):
            make_folder(temporary)
            mode = temporary.stat().st_mode & 0o666
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    _set_mode(file, mode)
            _put_in_place(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def settle_folder(path: Path) -> None:
    """Put in order what a killed process left of a replacement of the folder `path`, if anything.

    The old folder goes back where there is no new one.
    """
    old = path.with_name(f"{_ASIDE_PREFIX}{path.name}")
    doomed = path.with_name(f"{TEMPORARY_PREFIX}{old.name}")
    if old.is_dir() and not path.exists():
        old.rename(path)
    elif old.is_dir():  # no longer by a name from which it would go back
        _remove(doomed)
        old.rename(doomed)
    _remove(doomed)


def _put_in_place(temporary: Path, path: Path) -> None:
    old = path.with_name(f"{_ASIDE_PREFIX}{path.name}")
    if path.exists():
        path.rename(old)
    try:
        temporary.rename(path)
    except OSError:
        if old.exists():
            old.rename(path)
        raise
    settle_folder(path)


def _set_mode(path: Path, mode: int) -> None:
    """Give a file the permissions `mode`; some libraries make theirs private."""
    if S_IMODE(path.stat().st_mode) != S_IMODE(mode):
        path.chmod(S_IMODE(mode))


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
    write_bytes(path, _utf8(text))


def write_json(path: Path, value: Any, durable: bool = False) -> None:
    """Write indented JSON with sorted keys; NaN and infinities are refused."""
    write_bytes(path, _utf8(json_text(value, indent=1) + "\n"), durable)


def _utf8(text: str) -> bytes:
    """As UTF-8; a byte of a file's name that is not UTF-8 as an escape, which JSON reads back."""
    return text.encode("utf-8", "backslashreplace")


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


def json_text(value: Any, indent: int | None = None, ascii_alone: bool = False) -> str:
    return json.dumps(
        value, indent=indent, sort_keys=True, ensure_ascii=ascii_alone, allow_nan=False
    )


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
    """``$BIASBENCH_CACHE``, else the user's cache folder; BiasBenchError where there is neither."""
    import platformdirs

    if named := os.environ.get("BIASBENCH_CACHE"):
        return Path(named).expanduser()
    with suppress(RuntimeError):
        folder = Path(platformdirs.user_cache_dir("biasbench"))
        if folder.is_absolute():
            return folder
    raise BiasBenchError(f"this user has no home folder; {CACHE_FIX}")


def make_folder(path: Path) -> Path:
    """Create a folder with its parents; a BiasBenchError says why when that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror
        raise BiasBenchError(
            f"{path}: cannot create this folder ({reason}); {_fix_of(path)}"
        ) from None
    if not os.access(path, os.W_OK):
        raise BiasBenchError(f"{path}: no permission to write here; {_fix_of(path)}")
    return path


def _fix_of(path: Path) -> str:
    """What to do about a folder that cannot be written."""
    with suppress(BiasBenchError):  # there may be no cache
        if path.is_relative_to(cache_root()):
            return CACHE_FIX
    return "choose another folder"


def existing_parent(path: Path) -> Path:
    """`path` where it exists, else the nearest folder above it that does and may be looked at."""
    return next(parent for parent in (path, *path.absolute().parents) if os.path.exists(parent))  # noqa: PTH110 - pathlib's raises where it may not look


def can_write(path: Path) -> bool:
    """Whether the folder `path` is there and can be written, or can be made; creates nothing."""
    existing = existing_parent(path)
    return existing.is_dir() and os.access(existing, os.W_OK)


def require_writable(path: Path) -> None:
    """BiasBenchError unless the folder `path` is there or can be made; creates nothing."""
    if _utf8(str(path)) != os.fsencode(path):  # some libraries know no such names
        raise BiasBenchError(f"{path}: this name is not in UTF-8; choose another folder")
    if can_write(path):
        return
    existing = existing_parent(path)
    if not existing.is_dir():
        raise BiasBenchError(f"{path}: cannot create this folder ({existing} is a file)")
    raise BiasBenchError(f"{path}: no permission to write in {existing}; {_fix_of(path)}")


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
    """Delete what an interrupted process left half-written below `folder`; finish replacements."""
    for path in sorted(folder.rglob(_ASIDE_PREFIX + "*")):
        settle_folder(path.with_name(path.name.removeprefix(_ASIDE_PREFIX)))
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
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(value: Any) -> str:
    """sha256 of a JSON-serialisable value, independent of key order."""
    return hashlib.sha256(_utf8(json_text(value))).hexdigest()


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


def folder_lock(folder: Path) -> AbstractContextManager[None]:
    """Hold `folder` for this process; a second one fails at once with a clear line."""
    return _held(
        folder, 0, "in use by another biasbench process; wait for it, or give another --name"
    )


def shared_folder(folder: Path) -> AbstractContextManager[None]:
    """Hold `folder` for a moment; a second process waits, and fails after a minute."""
    problem = f"another biasbench process has held it for {_PATIENCE} seconds"
    return _held(folder, _PATIENCE, f"{problem}; give the command again when it has ended")


@contextmanager
def _held(folder: Path, patience: float, problem: str) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(make_folder(folder) / ".lock")
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        raise BiasBenchError(f"{folder}: {problem}") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def waiting_lock(path: Path, work: str) -> Iterator[None]:
    """Hold the lock file `path`; while another process holds it, say so and wait.

    `work` begins that line. Where nothing can be written there is nothing to protect, and no lock.
    """
    from filelock import FileLock, Timeout

    if not os.access(existing_parent(path.parent), os.W_OK):
        yield
        return
    lock = FileLock(make_folder(path.parent) / path.name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"{work}: another process is at work on it; waiting until it is done")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
