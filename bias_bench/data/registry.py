"""Which benchmarks there are, where their files lie, and how they are checked and loaded."""

from __future__ import annotations

from collections.abc import Container, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from bias_bench.data.benchmark import (
    BenchmarkSpec,
    Content,
    DataFile,
    FileCheck,
    LoadedBenchmark,
    file_problem,
)
from bias_bench.data.folders import load_folder
from bias_bench.data.irds import PREFIX, irds_name, load_irds
from bias_bench.data.languages import chosen_languages
from bias_bench.data.squad import load_lareqa
from bias_bench.errors import DataError, UsageError, nearest
from bias_bench.system.console import warn
from bias_bench.system.files import cache_root
from bias_bench.system.yaml_values import package_yaml

__all__ = [
    "BenchmarkSpec",
    "DataFile",
    "FileCheck",
    "LoadedBenchmark",
    "benchmark_name",
    "benchmark_place",
    "benchmark_spec",
    "benchmarks",
    "check_files",
    "data_folder",
    "data_note",
    "file_fix",
    "languages_of",
    "load_benchmark",
]  # fmt: skip


GROUP = "biasbench.benchmarks"  # of entry points (``docs/benchmarks.md``)


@cache
def benchmarks() -> dict[str, BenchmarkSpec]:
    """The benchmarks known by name: those of this package, then those of others, by name."""
    packaged = _own_benchmarks()
    return {**packaged, **_installed_benchmarks(packaged)}


def _own_benchmarks() -> dict[str, BenchmarkSpec]:
    from bias_bench.data.belebele import BELEBELE, belebele_sizes
    from bias_bench.data.miracl import miracl_reader, miracl_sizes

    readers: dict[str, dict[str, Any]] = {
        "belebele": {"reader": BELEBELE, "sizes": belebele_sizes()},
        "miracl": {"reader": miracl_reader(False), "sizes": miracl_sizes(False)},
        "miracl-judged": {"reader": miracl_reader(True), "sizes": miracl_sizes(True)},
    }
    known = package_yaml("bias_bench.data", "benchmarks.yaml")
    return {
        name: BenchmarkSpec(**readers.get(fields.pop("form", ""), {}), **fields)
        for name, fields in known.items()
    }


def _installed_benchmarks(taken: Container[str]) -> dict[str, BenchmarkSpec]:
    """Every benchmark of the entry points of `GROUP`, by name.

    One that cannot be used, or whose name is among `taken` or another's, is left out with a
    warning: a broken package must not keep the others from running.
    """
    usable: dict[str, BenchmarkSpec] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        problem = None
        if point.name in taken or point.name in usable:
            problem = "the name is taken"
        else:
            try:
                usable[point.name] = _declared(point)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
        if problem:
            line = " ".join(problem.split())
            warn(f"benchmark '{point.name}' of {point.value} is left out: {line}")
    return usable


def _declared(point: EntryPoint) -> BenchmarkSpec:
    spec = point.load()()
    if not isinstance(spec, BenchmarkSpec):
        raise TypeError(f"returned {type(spec).__name__}, expected a BenchmarkSpec")
    return spec


def benchmark_spec(name: str) -> BenchmarkSpec:
    """The spec of a known benchmark; UsageError with the nearest name otherwise."""
    if name not in benchmarks():
        raise UsageError(f"unknown benchmark '{name}': {nearest(name, benchmarks())}")
    return benchmarks()[name]


def benchmark_place(name: str) -> str:
    """A benchmark's name, or the whole path of a folder: what tells folders of one name apart."""
    return name if name in benchmarks() or not Path(name).is_dir() else str(Path(name).resolve())


def benchmark_name(name: str) -> str:
    """What the collection is called that `load_benchmark` gives for a benchmark that is not known
    by name: as its folder, or as `irds.irds_name`.
    """
    return irds_name(name) if name.startswith(PREFIX) else Path(name).resolve().name


def data_folder(name: str, data_dir: Path | None) -> Path:
    """Where the files of a known benchmark are looked up: package, `data_dir` or the cache."""
    spec = benchmark_spec(name)
    if spec.folder is not None:
        return spec.folder
    if spec.reader is None and spec.base_url is None:
        return Path(str(package_files("bias_bench.data").joinpath(name)))
    if data_dir is not None:
        return data_dir / (spec.data or name)
    return cache_root() / "data" / (spec.data or name)


def data_note(name: str, data_dir: Path | None) -> str | None:
    """What must stand beside every figure from the files of a known benchmark, if anything."""
    spec = benchmark_spec(name)
    note = spec.reader.note(data_folder(name, data_dir)) if spec.reader else None
    return " ".join(filter(None, (note, spec.note))) or None


def languages_of(name: str, wanted: Sequence[str] | None) -> list[str]:
    """The languages of a known benchmark, or those wanted; UsageError for one that it lacks."""
    return chosen_languages(name, benchmark_spec(name).contents, wanted)


def check_files(
    name: str, data_dir: Path | None, languages: Sequence[str] | None = None, deep: bool = True
) -> list[FileCheck]:
    """Compare every file of a known benchmark with its recorded size and sha256.

    Without `deep`, large files are not read: it is only looked whether they are there.
    """
    folder, spec = data_folder(name, data_dir), benchmark_spec(name)
    if spec.reader is not None:
        return spec.reader.check(folder, languages and languages_of(name, languages), deep)
    return [
        _check(folder, language, spec.files[language]) for language in languages_of(name, languages)
    ]


def _check(folder: Path, language: str, expected: DataFile) -> FileCheck:
    path = folder / f"{language}.json"
    return FileCheck(language, path, file_problem(path, expected.bytes, expected.sha256))


def file_fix(name: str, data_dir: Path | None) -> str:
    """What to do about a missing or damaged file of a known benchmark."""
    spec = benchmark_spec(name)
    if spec.folder is not None:
        return f"reinstall the package that brings {name}"
    if spec.reader is None and spec.base_url is None:
        return "reinstall biasbench"
    if spec.reader is not None and spec.reader.fetch is None:
        return f"put the files of {name} there"
    folder = f" --data-dir {data_dir}" if data_dir else ""
    return f"run `biasbench data fetch {name}{folder}`"


def load_benchmark(
    name: str,
    data_dir: Path | None,
    languages: Sequence[str] | None = None,
    split: str | None = None,
) -> LoadedBenchmark:
    """Load a known benchmark (checked against its checksums), a folder of one's own, or irds:ID.

    With `languages` only their part of it; UsageError where it lacks one. `split` is that of a
    folder in BEIR's form.
    """
    if split is not None and (name in benchmarks() or name.startswith(PREFIX)):
        raise UsageError(f"split={split}: {name} has no splits; remove the setting")
    spec, note = None, None
    if name.startswith(PREFIX):
        content = load_irds(name)
    elif name in benchmarks():
        spec, note = benchmark_spec(name), data_note(name, data_dir)
        languages = languages_of(name, languages) if languages else None
        content = _load_known(name, data_dir, languages)
    elif Path(name).is_dir():
        content = load_folder(Path(name), languages, split)
    else:
        raise UsageError(
            f"unknown benchmark '{name}': {nearest(name, benchmarks())} "
            "(or give a folder with one <language>.json each or in BEIR's form, or irds:ID)"
        )
    collection = content.collection.keep(languages) if languages else content.collection
    return LoadedBenchmark(collection, content.sha256, spec, note)


def _load_known(name: str, data_dir: Path | None, languages: Sequence[str] | None) -> Content:
    spec = benchmark_spec(name)
    if spec.reader is not None:
        return spec.reader.load(name, data_folder(name, data_dir), languages)
    checks = check_files(name, data_dir, languages)
    for check in checks:
        if check.problem:
            raise DataError(f"{check.path}: {check.problem}; {file_fix(name, data_dir)}")
    collection = load_lareqa(name, {check.language: check.path for check in checks})
    return Content(
        collection, {check.path.name: spec.files[check.language].sha256 for check in checks}
    )
