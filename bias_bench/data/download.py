"""Fetch a benchmark's files: resumed where they broke off, checked, then put in place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import sleep

from bias_bench.data.benchmark import FileCheck
from bias_bench.data.registry import benchmark_spec, check_files, data_folder, languages_of
from bias_bench.errors import DataError
from bias_bench.system.console import Advance, progress, say
from bias_bench.system.files import sha256_file, waiting_lock

_CHUNK = 1 << 16
_TIMEOUT = 30
_ATTEMPTS = 2


def fetch_benchmark(
    name: str,
    data_dir: Path | None = None,
    base_url: str | None = None,
    languages: Sequence[str] | None = None,
) -> Path:
    """Download what is missing or damaged; returns the folder. Raises DataError offline.

    With `languages` only their files. One process at a time fetches a benchmark into a folder;
    others wait, and use what it fetched.
    """
    spec = benchmark_spec(name)
    folder = data_folder(name, data_dir)
    if spec.folder is not None:
        return folder
    lock = waiting_lock(folder.with_name(f".{folder.name}.lock"), f"fetch {name}")
    if spec.reader is not None:
        if spec.reader.fetch is not None:
            with lock:
                spec.reader.fetch(folder, languages_of(name, languages) if languages else None)
        return folder
    if spec.base_url and _wanted(name, data_dir, languages):
        with lock:  # what another process has fetched meanwhile is not fetched again
            _fetch(name, data_dir, base_url or spec.base_url, languages)
    return folder


def _wanted(name: str, data_dir: Path | None, languages: Sequence[str] | None) -> list[FileCheck]:
    """The files that are missing or damaged."""
    return [check for check in check_files(name, data_dir, languages) if check.problem]


def _fetch(
    name: str, data_dir: Path | None, base_url: str, languages: Sequence[str] | None
) -> None:
    spec, wanted = benchmark_spec(name), _wanted(name, data_dir, languages)
    if not wanted:
        return
    say(f"{name}: {spec.licence} ({spec.licence_url}). {spec.terms}")
    total = sum(spec.files[check.language].bytes for check in wanted)
    with progress(f"fetch {name}", total, "bytes") as advance:
        for check in wanted:
            url = f"{base_url}{check.path.name}"
            _fetch_one(url, check.path, spec.files[check.language].sha256, advance)


def _fetch_one(url: str, path: Path, sha256: str, advance: Advance) -> None:
    """Fetch a file, with a second attempt where the first fails; DataError says why that did."""
    import requests

    partial = path.with_name(f"{path.name}.part")
    for attempt in range(_ATTEMPTS):
        sleep(attempt)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _resume(url, partial, advance)
            if sha256_file(partial) == sha256:
                partial.replace(path)
                return
            partial.unlink()
            problem = (
                f"{url}: the fetched file has another checksum than recorded; nothing was kept, "
                "try again later"
            )
        except requests.RequestException as error:
            problem = (
                f"{url}: cannot be fetched ({type(error).__name__}); check the network and run "
                "the same command again, or point --data-dir at a copy"
            )
        except OSError as error:
            raise DataError(
                f"{path.parent}: cannot store {path.name} ({error.strerror or error})"
            ) from None
    raise DataError(problem)


def _resume(url: str, partial: Path, advance: Advance) -> None:
    """Continue `partial` by an HTTP range request."""
    import requests

    have = partial.stat().st_size if partial.is_file() else 0
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            partial.unlink()
            _resume(url, partial, advance)
            return
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        advance(have if resumed else 0)
        with partial.open("ab" if resumed else "wb") as stream:
            for chunk in response.iter_content(_CHUNK):
                stream.write(chunk)
                advance(len(chunk))
