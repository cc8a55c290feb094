"""Files and lists of data set repositories of the hub; what goes wrong there is one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bias_bench.errors import DataError

_Answer = TypeVar("_Answer")


def hub_errors() -> tuple[type[Exception], ...]:
    """What its client raises where a file or a list cannot be had, with or without a network."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    # the bases are OSError and the error of the HTTP library, which differs between versions
    return (LocalEntryNotFoundError, ValueError, *HfHubHTTPError.__bases__)


def ask_hub(what: str, request: Callable[[], _Answer], fix: str) -> _Answer:
    """The answer to a request; a DataError says of `what` that it failed, and ends with `fix`."""
    try:
        return request()
    except hub_errors() as error:
        raise DataError(
            f"{what}: not on this disk and not fetched from the hub ({type(error).__name__}); {fix}"
        ) from None


def hub_file(
    repository: str, name: str, revision: str | None, fix: str, folder: Path | None = None
) -> Path:
    """A file of a data set repository: in the hub's cache, or below `folder`."""
    from huggingface_hub import hf_hub_download

    options = {"local_dir": folder} if folder else {}
    return ask_hub(
        f"{repository}/{name}",
        lambda: Path(
            hf_hub_download(repository, name, repo_type="dataset", revision=revision, **options)
        ),
        fix,
    )
