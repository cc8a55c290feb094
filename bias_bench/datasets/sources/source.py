"""An entry of ``training.sources``, checked: its form, its files and its options."""

from __future__ import annotations

import posixpath
from collections.abc import Collection
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bias_bench.datasets.sources.place import Place
from bias_bench.errors import UsageError, nearest
from bias_bench.languages import our_language

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
    place = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        raise UsageError(f"{where}: unknown key '{place}': {nearest(place, model.model_fields)}")
    message = problem["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    raise UsageError(f"{where}: {f'{place}: ' if place else ''}{message}")
