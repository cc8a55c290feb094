"""Where a source's files are: below a folder, or in a data set repository of the hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from bias_bench.datasets.hub import hub_errors
from bias_bench.errors import DataError
from bias_bench.files import is_hidden, sha256_file

_Fetched = TypeVar("_Fetched")


@dataclass(frozen=True)
class Place:
    """Finds files by their names relative to `folder`, or to the root of the `hub` repository.

    `source` and `mend` end up in messages; `sha256` holds the checksums of some or all names.
    """

    source: str
    folder: Path
    mend: str
    hub: str | None = None
    revision: str | None = None
    sha256: Mapping[str, str] | None = None

    def full_name(self, name: str) -> str:
        """The name of a file, with the repository that it is in, if any."""
        return f"{self.hub}/{name}" if self.hub else name

    def file(self, name: str) -> Path:
        """A file on this disk, its checksum compared; DataError when it is missing or differs."""
        path = self._fetch(name) if self.hub else self.folder / name
        if not path.is_file():
            raise DataError(f"{path}: no such file (training source '{self.source}'); {self.mend}")
        expected = (self.sha256 or {}).get(name)
        if expected and (actual := sha256_file(path)) != expected.lower():
            raise DataError(
                f"{path}: damaged: sha256 {actual[:12]}… is not the {expected[:12]}… that training "
                f"source '{self.source}' expects; fetch the file again"
            )
        return path

    def names(self, below: str) -> list[str]:
        """Names of all files in a folder and its subfolders, sorted."""
        if self.hub:
            prefix = f"{below}/" if below not in ("", ".") else ""
            return sorted(name for name in self._list_hub() if name.startswith(prefix))
        root = self.folder / below
        if not root.is_dir():
            raise DataError(
                f"{root}: no such folder (training source '{self.source}'); {self.mend}"
            )
        # large parts of a data set often are links to another disk
        found = []
        for folder, inner, names in os.walk(root, followlinks=True):
            inner[:] = [name for name in inner if not is_hidden(name)]
            found += [
                os.path.normpath(Path(below, os.path.relpath(folder, root), name))
                for name in names
                if not is_hidden(name)
            ]
        return sorted(found)

    def lacks(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that are no file here, sorted."""
        wanted = sorted(names)
        if self.hub and wanted:
            present = set(self._list_hub())
            return [name for name in wanted if name not in present]
        return [name for name in wanted if not (self.folder / name).is_file()]

    def at(self, hub: str, revision: str | None) -> Place:
        """The same source's files in another repository of the hub."""
        return replace(self, hub=hub, revision=revision)

    def _fetch(self, name: str) -> Path:
        from huggingface_hub import hf_hub_download

        repository = self.hub or ""
        return self._ask(
            self.full_name(name),
            lambda: Path(
                hf_hub_download(repository, name, repo_type="dataset", revision=self.revision)
            ),
        )

    def _list_hub(self) -> list[str]:
        from huggingface_hub import HfApi

        repository = self.hub or ""
        return self._ask(
            repository,
            lambda: HfApi().list_repo_files(
                repository, repo_type="dataset", revision=self.revision
            ),
        )

    def _ask(self, what: str, request: Callable[[], _Fetched]) -> _Fetched:
        try:
            return request()
        except hub_errors() as error:
            raise DataError(
                f"{what}: not on this disk and not fetched from the hub ({type(error).__name__}; "
                f"training source '{self.source}'); check name, revision, access and network"
            ) from None
