"""Which benchmarks there are, where their files lie, and how they are checked and loaded."""

from __future__ import annotations

from functools import cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from bias_bench.datasets.collection import Collection
from bias_bench.datasets.lareqa import load_lareqa
from bias_bench.errors import DataError, UsageError, nearest
from bias_bench.files import cache_root, sha256_file


class DataFile(BaseModel):
    """One language's file, with what it must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    bytes: int
    queries: int
    candidates: int
    sha256: str


class BenchmarkSpec(BaseModel):
    """A benchmark known by name. `base_url` is None for one that ships with the package.

    `training` holds settings of `training` that recipes which train take on this benchmark;
    `recipes` are run where none is asked for; `robustness` is the suite it has by default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    title: str
    licence: str
    licence_url: str
    terms: str
    base_url: str | None = None
    demonstration: bool = False
    training: dict[str, Any] = {}
    recipes: tuple[str, ...] = ("zero-shot",)
    robustness: dict[str, Any] | None = None
    files: dict[str, DataFile]
    citation: str


class LoadedBenchmark(NamedTuple):
    """A collection with the sha256 of every file it was read from."""

    collection: Collection
    sha256: dict[str, str]
    spec: BenchmarkSpec | None


class FileCheck(NamedTuple):
    """One file of a benchmark: `problem` is None when it is present and intact."""

    language: str
    path: Path
    problem: str | None


@cache
def benchmarks() -> dict[str, BenchmarkSpec]:
    """The benchmarks known by name."""
    import yaml

    text = package_files("bias_bench.datasets").joinpath("benchmarks.yaml").read_text("utf-8")
    return {name: BenchmarkSpec(**fields) for name, fields in yaml.safe_load(text).items()}


def benchmark_spec(name: str) -> BenchmarkSpec:
    """The spec of a known benchmark; UsageError with the nearest name otherwise."""
    if name not in benchmarks():
        raise UsageError(f"unknown benchmark '{name}': {nearest(name, benchmarks())}")
    return benchmarks()[name]


def data_folder(name: str, data_dir: Path | None) -> Path:
    """Where the files of a known benchmark are looked up: package, `data_dir` or the cache."""
    if benchmark_spec(name).base_url is None:
        return Path(str(package_files("bias_bench.datasets").joinpath(name)))
    if data_dir is not None:
        return data_dir / name
    return cache_root() / "data" / name


def check_files(name: str, data_dir: Path | None) -> list[FileCheck]:
    """Compare every file of a known benchmark with its recorded size and sha256."""
    folder = data_folder(name, data_dir)
    return [
        FileCheck(language, folder / f"{language}.json", _problem(folder, language, expected))
        for language, expected in benchmark_spec(name).files.items()
    ]


def _problem(folder: Path, language: str, expected: DataFile) -> str | None:
    path = folder / f"{language}.json"
    if not path.is_file():
        return "missing"
    size = path.stat().st_size
    if size != expected.bytes:
        return f"damaged: {size:,} bytes, expected {expected.bytes:,}"
    actual = sha256_file(path)
    return None if actual == expected.sha256 else f"damaged: sha256 {actual[:12]}… differs"


def mend(name: str, data_dir: Path | None) -> str:
    """What to do about a missing or damaged file of a known benchmark."""
    if benchmark_spec(name).base_url is None:
        return "reinstall biasbench"
    folder = f" --data-dir {data_dir}" if data_dir else ""
    return f"run `biasbench data fetch {name}{folder}`"


def load_benchmark(name: str, data_dir: Path | None) -> LoadedBenchmark:
    """Load a known benchmark (checked against its checksums) or a folder of language files."""
    if name not in benchmarks():
        if Path(name).is_dir():
            return _load_folder(Path(name))
        raise UsageError(
            f"unknown benchmark '{name}': {nearest(name, benchmarks())} "
            "(or give a folder with one <language>.json each)"
        )
    spec = benchmark_spec(name)
    checks = check_files(name, data_dir)
    for check in checks:
        if check.problem:
            raise DataError(f"{check.path}: {check.problem}; {mend(name, data_dir)}")
    collection = load_lareqa(name, {check.language: check.path for check in checks})
    sha256 = {f"{language}.json": file.sha256 for language, file in spec.files.items()}
    return LoadedBenchmark(collection, sha256, spec)


def _load_folder(folder: Path) -> LoadedBenchmark:
    paths = {path.stem: path for path in sorted(folder.glob("*.json"))}
    if not paths:
        raise DataError(f"{folder}: holds no <language>.json file in LAReQA's form")
    collection = load_lareqa(folder.resolve().name, paths)
    return LoadedBenchmark(collection, {p.name: sha256_file(p) for p in paths.values()}, None)
