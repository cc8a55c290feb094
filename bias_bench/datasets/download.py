"""Fetch a benchmark's files: resumed where they broke off, checked, then put in place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bias_bench.console import Advance, progress, say
from bias_bench.datasets.registry import benchmark_spec, check_files, data_folder, languages_of
from bias_bench.errors import DataError

if TYPE_CHECKING:
    import pooch

_CHUNK = 1 << 16
_TIMEOUT = 30


def fetch_benchmark(
    name: str,
    data_dir: Path | None = None,
    base_url: str | None = None,
    languages: Sequence[str] | None = None,
) -> Path:
    """Download what is missing or damaged; returns the folder. Raises DataError offline.

    With `languages` only their files.
    """
    import logging

    import pooch

    spec = benchmark_spec(name)
    folder = data_folder(name, data_dir)
    if spec.folder is not None:
        return folder
    if spec.reader is not None:
        if spec.reader.fetch is not None:
            spec.reader.fetch(folder, languages_of(name, languages) if languages else None)
        return folder
    if spec.base_url is None:
        return folder
    wanted = [check for check in check_files(name, data_dir, languages) if check.problem]
    if not wanted:
        return folder
    say(f"{name}: {spec.licence} ({spec.licence_url}). {spec.terms}")
    pooch.get_logger().setLevel(logging.WARNING)
    source = pooch.create(
        path=folder,
        base_url=base_url or spec.base_url,
        registry={f"{lang}.json": f"sha256:{file.sha256}" for lang, file in spec.files.items()},
        retry_if_failed=1,
    )
    total = sum(spec.files[check.language].bytes for check in wanted)
    with progress(f"fetch {name}", total, "bytes") as advance:

        def download(url: str, output_file: str, _: pooch.Pooch) -> None:
            partial = folder / (url.rsplit("/", 1)[1] + ".part")
            _resume(url, partial, Path(output_file), advance)

        for check in wanted:
            _fetch_one(source, check.path.name, download)
    return folder


def _fetch_one(source: pooch.Pooch, file_name: str, download: object) -> None:
    import requests

    try:
        source.fetch(file_name, downloader=download)
    except requests.RequestException as error:
        reason = type(error).__name__
        raise DataError(
            f"{source.base_url}{file_name}: cannot be fetched ({reason}); check the network and "
            "run the same command again, or point --data-dir at a copy"
        ) from None
    except ValueError:
        raise DataError(
            f"{source.base_url}{file_name}: the fetched file has another checksum than recorded; "
            "nothing was kept, try again later"
        ) from None
    except OSError as error:
        raise DataError(
            f"{source.path}: cannot store {file_name} ({error.strerror or error})"
        ) from None


def _resume(url: str, partial: Path, target: Path, advance: Advance) -> None:
    """Continue `partial` by an HTTP range request, then move it to `target`."""
    import requests

    have = partial.stat().st_size if partial.is_file() else 0
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            partial.unlink()
            _resume(url, partial, target, advance)
            return
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        advance(have if resumed else 0)
        with partial.open("ab" if resumed else "wb") as stream:
            for chunk in response.iter_content(_CHUNK):
                stream.write(chunk)
                advance(len(chunk))
    partial.replace(target)
