"""Benchmarks of other packages: a real installed distribution with an entry point."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from bias_bench.data import registry
from bias_bench.data.benchmark import BenchmarkSpec
from bias_bench.data.registry import (
    benchmarks,
    check_files,
    data_folder,
    file_fix,
    load_benchmark,
)
from bias_bench.errors import DataError
from bias_bench.system.files import sha256_file

MODULE = '''
"""Two languages, several graded answers in each, parallel topics."""

from pathlib import Path

from bias_bench.data.benchmark import BenchmarkSpec, Size, files_reader
from bias_bench.data.collection import Candidate, Collection, Query, Topic

HERE = Path(__file__).parent


def load(name, folder):
    texts = dict(line.split("\\t") for line in (folder / "texts.tsv").read_text().splitlines())
    candidates = [Candidate(key, text, "") for key, text in texts.items()]
    return Collection(
        name=name,
        languages=("fa", "zh"),
        topics=(Topic("t1", "t1", "t1"),),
        queries=(Query("fa:t1", "fa question"), Query("zh:t1", "zh question")),
        candidates=tuple(candidates),
        relevance=(("t1", "fa:a"), ("t1", "fa:b"), ("t1", "zh:a")),
        grades=(3, 1, 2),
        not_relevant=(("t1", "zh:b"),),
    )


def benchmark():
    return BenchmarkSpec(
        title="small-clir", licence="CC0 1.0",
        licence_url="https://creativecommons.org/publicdomain/zero/1.0/", terms="none",
        citation="@misc{small}", folder=HERE,
        sizes={"fa": Size(queries=1, candidates=2), "zh": Size(queries=1, candidates=2)},
        reader=files_reader(load, {"texts.tsv": "SHA256"}),
    )


def broken():
    raise RuntimeError("two\\nlines")


def no_spec():
    return {"title": "not a spec"}
'''
TEXTS = "fa:a\tone\nfa:b\ttwo\nzh:a\tthree\nzh:b\tfour\n"
ENTRY_POINTS = """
[biasbench.benchmarks]
small-clir = small_clir.declared:benchmark
mini = small_clir.declared:benchmark
small-broken = small_clir.declared:broken
small-missing = small_clir.nowhere:benchmark
small-dict = small_clir.declared:no_spec
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path with an installed distribution, as pip leaves it."""
    package = tmp_path / "site/small_clir"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "texts.tsv").write_text(TEXTS, encoding="utf-8")
    source = MODULE.replace("SHA256", sha256_file(package / "texts.tsv"))
    (package / "declared.py").write_text(textwrap.dedent(source), encoding="utf-8")
    info = tmp_path / "site/small_clir-1.0.dist-info"
    info.mkdir()
    metadata = "Metadata-Version: 2.1\nName: small-clir\nVersion: 1.0\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    (info / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    benchmarks.cache_clear()
    yield tmp_path / "site"
    benchmarks.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "small_clir"]:
        del sys.modules[name]


def test_an_installed_package_adds_a_benchmark(site: Path) -> None:
    loaded = load_benchmark("small-clir", None)
    assert loaded.collection.name == "small-clir"
    assert loaded.collection.grades == (3, 1, 2)
    assert loaded.sha256 == {"texts.tsv": sha256_file(site / "small_clir/texts.tsv")}
    assert data_folder("small-clir", None) == site / "small_clir"
    assert [check.problem for check in check_files("small-clir", None)] == [None]
    assert load_benchmark("small-clir", None, ["zh"]).collection.grades == (2,)


def test_a_damaged_file_of_a_package_is_named(site: Path) -> None:
    path = site / "small_clir/texts.tsv"
    path.write_text(TEXTS + "\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_benchmark("small-clir", None)
    assert str(caught.value).startswith(f"{path}: damaged: sha256 ")
    assert file_fix("small-clir", None) == "reinstall the package that brings small-clir"


@pytest.mark.usefixtures("site")
def test_what_cannot_be_used_is_left_out_with_one_line_and_the_rest_works(
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = benchmarks()
    assert {name for name in known if name.startswith("small")} == {"small-clir"}
    assert known["mini"].demonstration
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("'")[1] for line in lines] == [
        "mini",
        "small-broken",
        "small-dict",
        "small-missing",
    ]
    assert "the name is taken" in lines[0]
    assert lines[1].endswith("left out: RuntimeError: two lines")
    assert "returned dict, expected a BenchmarkSpec" in lines[2]
    assert "ModuleNotFoundError" in lines[3]


def test_a_fresh_process_lists_the_benchmark(site: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "from bias_bench.cli import run_command\n"
        "sys.exit(run_command(['data', 'list']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "small-clir: small-clir\n  2 languages (fa zh), 2 queries, 4 candidates" in done.stdout


def test_files_in_lareqas_form_may_come_with_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(data_folder("mini", None), tmp_path / "copy")
    spec = benchmarks()["mini"].model_copy(update={"folder": copy})
    monkeypatch.setattr(registry, "benchmarks", lambda: {"own": spec})
    assert len(load_benchmark("own", None).collection.languages) == 11
    (copy / "de.json").unlink()
    with pytest.raises(DataError) as caught:
        load_benchmark("own", tmp_path)
    assert str(caught.value) == (
        f"{copy / 'de.json'}: missing; reinstall the package that brings own"
    )


def test_a_benchmark_needs_files_or_a_reader() -> None:
    fields = {**benchmarks()["mini"].model_dump(), "files": {}}
    with pytest.raises(ValueError, match="give 'files' in LAReQA's form, or a 'reader'"):
        BenchmarkSpec(**fields)
