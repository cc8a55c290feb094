"""What a benchmark is declared as: facts about it, and how its files become a Collection.

Benchmarks that ship with the package are declared in ``benchmarks.yaml``, others by a function
behind an entry point of the group ``biasbench.benchmarks`` (``docs/benchmarks.md``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bias_bench.data.collection import Collection
from bias_bench.errors import DataError
from bias_bench.system.files import sha256_file


class Size(BaseModel):
    """How much one language holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    queries: int
    candidates: int


class DataFile(Size):
    """One language's file in LAReQA's form, with what it must hold."""

    bytes: int
    sha256: str


class FileCheck(NamedTuple):
    """One file of a benchmark: `problem` is None when it is present and intact."""

    language: str
    path: Path
    problem: str | None


class Content(NamedTuple):
    """What a reader read, with the sha256 of the files by name."""

    collection: Collection
    sha256: dict[str, str]


@dataclass(frozen=True)
class Reader:
    """How the files of a benchmark are read, checked and fetched; all of it below one folder.

    Each function takes the folder, and the languages wanted (None: all that there are). `load`
    takes the benchmark's name first, and checks what it reads. `check` takes last whether to read
    the files, or to look only whether they are there. `fetch` gets what is missing or damaged; it
    is None where files cannot be fetched. `note` says of a folder what must stand beside every
    figure that comes from it, if anything.
    """

    load: Callable[[str, Path, Sequence[str] | None], Content]
    check: Callable[[Path, Sequence[str] | None, bool], list[FileCheck]]
    fetch: Callable[[Path, Sequence[str] | None], None] | None = None
    note: Callable[[Path], str | None] = lambda _: None


class BenchmarkSpec(BaseModel):
    """A benchmark known by name.

    Its files are in LAReQA's form, one of `files` per language, unless `reader` reads them; `sizes`
    then says what they hold. They lie in `folder` where a package brings them, else in a folder
    called `data` (by default the benchmark's name) below --data-dir or in the cache. `base_url` is
    where files in LAReQA's form are fetched; without it they ship with this package.

    `training` holds settings of `training` that recipes which train take on this benchmark;
    `recipes` are run where none is asked for; `robustness` is the suite it has by default.
    `averages` are named sets of languages over which monolingual figures are averaged too; `note`
    must stand beside every figure.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
    title: str
    licence: str
    licence_url: str
    terms: str
    base_url: str | None = None
    demonstration: bool = False
    training: dict[str, Any] = {}
    recipes: tuple[str, ...] = ("zero-shot",)
    robustness: dict[str, Any] | None = None
    averages: dict[str, tuple[str, ...]] = {}
    note: str | None = None
    files: dict[str, DataFile] = {}
    sizes: dict[str, Size] = {}
    data: str | None = None
    folder: Path | None = None
    reader: Reader | None = Field(default=None, repr=False)
    citation: str

    @model_validator(mode="after")
    def _complete(self) -> BenchmarkSpec:
        if bool(self.files) == (self.reader is not None):
            raise ValueError("give 'files' in LAReQA's form, or a 'reader' with 'sizes'")
        return self

    @property
    def contents(self) -> Mapping[str, Size]:
        """What each language holds, as declared."""
        return self.sizes or self.files


class LoadedBenchmark(NamedTuple):
    """A collection with the sha256 of every file it was read from, and what is known of it."""

    collection: Collection
    sha256: dict[str, str]
    spec: BenchmarkSpec | None
    note: str | None = None


def file_problem(path: Path, size: int | None, sha256: str) -> str | None:
    """What is wrong with a file that should have this sha256 and size in bytes, if known."""
    if not path.is_file():
        return "missing"
    actual = path.stat().st_size
    if size is not None and actual != size:
        return f"damaged: {actual:,} bytes, expected {size:,}"
    digest = sha256_file(path)
    return None if digest == sha256 else f"damaged: sha256 {digest[:12]}… differs"


def files_reader(load: Callable[[str, Path], Collection], sha256: Mapping[str, str]) -> Reader:
    """A reader of files with these checksums, by name below the benchmark's folder.

    `load` takes the benchmark's name and the folder, and is called once all files are as they
    should be; DataError names the first one that is not.
    """

    def check(folder: Path, _: Sequence[str] | None, deep: bool) -> list[FileCheck]:
        del deep  # such files are small
        return [
            FileCheck("", folder / name, file_problem(folder / name, None, expected))
            for name, expected in sha256.items()
        ]

    def read(name: str, folder: Path, languages: Sequence[str] | None) -> Content:
        for checked in check(folder, languages, True):
            if checked.problem:
                raise DataError(f"{checked.path}: {checked.problem}; put the file of {name} there")
        return Content(load(name, folder), dict(sha256))

    return Reader(load=read, check=check)
