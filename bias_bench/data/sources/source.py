"""An entry of ``training.sources``, checked: its form, its options, and where its files are."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bias_bench.data.hub import ask_hub, hub_file
from bias_bench.data.languages import our_language
from bias_bench.errors import DataError, UsageError, nearest
from bias_bench.system.files import is_hidden, sha256_file

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]


class SourceSpec(BaseModel):
    """A source known by `name`, or one of its own with `form` and `files` or `path`.

    Names of files are relative to --data-dir (else to the working folder), or to the root of the
    `hub` repository. `files` maps languages to names; `path` is one file or folder; `documents`
    belongs to form ``lines``; `sha256` maps names of files to checksums.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = ""
    form: str = ""
    files: dict[str, str] = {}
    path: str = ""
    documents: str = ""
    sha256: dict[str, Sha256] = {}
    hub: str | None = None
    revision: str | None = None
    options: dict[str, Any] = {}

    @field_validator("files")
    @classmethod
    def _our_codes(cls, files: dict[str, str]) -> dict[str, str]:
        ours: dict[str, str] = {}
        for code, file in files.items():
            language = _language(code)
            if language in ours:
                raise ValueError(f"'{code}' is language '{language}', which has a file already")
            ours[language] = file
        return ours

    @property
    def label(self) -> str:
        """The name, else one made of what the entry reads."""
        first = next(iter(self.files.values()), self.path)
        stem = posixpath.basename(first.rstrip("/")).split(".")[0]
        return self.name or self.hub or stem or self.form


class Options(BaseModel):
    """What all forms can be told: `languages` keeps these and leaves out the rest."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    languages: tuple[str, ...] | None = Field(default=None, min_length=1)

    @field_validator("languages")
    @classmethod
    def _our_codes(cls, languages: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return languages and tuple(dict.fromkeys(_language(code) for code in languages))


def _language(code: str) -> str:
    language = our_language(code)
    if language is None:
        raise ValueError(f"'{code}' cannot be a language code; write for example en, zh or deu")
    return language


@dataclass(frozen=True)
class Place:
    """Finds files by their names relative to `folder`, or to the root of the `hub` repository.

    `source` and `fix` end up in messages; `sha256` holds the checksums of some or all names.
    """

    source: str
    folder: Path
    fix: str
    hub: str | None = None
    revision: str | None = None
    sha256: Mapping[str, str] | None = None

    def full_name(self, name: str) -> str:
        """The name of a file, with the repository that it is in, if any."""
        return f"{self.hub}/{name}" if self.hub else name

    def file(self, name: str) -> Path:
        """A file on this disk, its checksum compared; DataError when it is missing or differs."""
        path = self.folder / name
        if self.hub:
            path = hub_file(self.hub, name, self.revision, self._hub_fix)
        if not path.is_file():
            raise DataError(f"{path}: no such file (training source '{self.source}'); {self.fix}")
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
            raise DataError(f"{root}: no such folder (training source '{self.source}'); {self.fix}")
        # large parts of a data set often are links to another disk
        paths = []
        for folder, inner, names in os.walk(root, followlinks=True):
            inner[:] = [name for name in inner if not is_hidden(name)]
            paths += [
                os.path.normpath(Path(below, os.path.relpath(folder, root), name))
                for name in names
                if not is_hidden(name)
            ]
        return sorted(paths)

    def lacks(self, names: Collection[str]) -> list[str]:
        """The `names` that are not a file here, sorted."""
        if self.hub and names:
            return sorted(set(names) - set(self._list_hub()))
        return sorted(name for name in names if not (self.folder / name).is_file())

    def at(self, hub: str, revision: str | None) -> Place:
        """The same source's files in another repository of the hub."""
        return replace(self, hub=hub, revision=revision)

    def _list_hub(self) -> list[str]:
        from huggingface_hub import HfApi

        repository = self.hub or ""
        return ask_hub(
            repository,
            lambda: HfApi().list_repo_files(
                repository, repo_type="dataset", revision=self.revision
            ),
            self._hub_fix,
        )

    @property
    def _hub_fix(self) -> str:
        return f"check name, revision, access and network (training source '{self.source}')"


_Options = TypeVar("_Options", bound=Options)


class Source(NamedTuple):
    """A source ready to be loaded."""

    name: str
    spec: SourceSpec
    place: Place

    @property
    def where(self) -> str:
        return f"training source '{self.name}'"

    def options(self, model: type[_Options]) -> _Options:
        """The entry's options as its form knows them."""
        return validated(model, self.spec.options, f"{self.where}: options")

    def takes(self, *needed: str, optional: Collection[str] = ()) -> None:
        """UsageError unless the entry has the `needed` keys and no key that its form ignores."""
        for key in ("files", "path", "documents"):
            given = bool(getattr(self.spec, key))
            if key in needed and not given:
                raise UsageError(f"{self.where}: form '{self.spec.form}' needs '{key}'; add it")
            if given and key not in needed and key not in optional:
                raise UsageError(
                    f"{self.where}: form '{self.spec.form}' takes no '{key}'; remove it"
                )

    def keep_languages(self, wanted: tuple[str, ...] | None, known: Collection[str]) -> list[str]:
        """The languages to read, sorted; UsageError when a wanted one is not there."""
        for language in wanted or ():
            if language not in known:
                raise UsageError(
                    f"{self.where}: has no language '{language}' (options.languages); it has "
                    f"{', '.join(sorted(known)) or 'none'}"
                )
        return sorted(wanted or known)


def validated(model: type[_Options] | type[SourceSpec], fields: Any, where: str) -> Any:
    """`fields` as a `model`; a UsageError with one line for the first thing that is wrong."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        raise UsageError(f"{where}: unknown key '{key}': {nearest(key, model.model_fields)}")
    message = problem["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    raise UsageError(f"{where}: {f'{key}: ' if key else ''}{message}")
