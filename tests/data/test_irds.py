"""Benchmarks by an id of ir_datasets, with data sets that are registered here."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from bias_bench.data.registry import benchmark_name, load_benchmark
from bias_bench.errors import BiasBenchError, DataError, UsageError
from bias_bench.system.library_caches import direct_library_caches
from tests.support.command_line import Command

DOCUMENTS = ["d1\tThe bridge was built in 1932.", "d2\tA river runs below it.", "d3\tTrains cross."]
QUERIES = ["q1\tWhen was the bridge built?", "q2\tWhat crosses?", "q3\tNobody judged this."]
QRELS = ["q1 0 d1 2", "q1 0 d2 0", "q2 0 d3 1", "q2 0 d9 1"]


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Registers ``toy/en/test`` and ``toy/de/test``, and ``toy/en``, which has documents alone."""
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "home"))
    direct_library_caches()
    import ir_datasets

    def put(name: str, rows: Iterable[str]) -> str:
        path = tmp_path / name
        path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        return str(path)

    files = put("docs.tsv", DOCUMENTS), put("queries.tsv", QUERIES), put("qrels", QRELS)
    known = {
        "toy/en/test": ir_datasets.create_dataset(*files),
        "toy/de/test": ir_datasets.create_dataset(*files),
        "toy/en": ir_datasets.create_dataset(files[0]),
    }
    for name, data in known.items():
        ir_datasets.registry.register(name, data)
    yield list(known)
    for name in known:
        del ir_datasets.registry._registered[name]


@pytest.mark.usefixtures("registered")
def test_a_data_set_is_read_as_beir_is(capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load_benchmark("irds:en=toy/en/test", None)
    found = loaded.collection
    assert found.name == benchmark_name("irds:en=toy/en/test")
    assert [query.id for query in found.queries] == ["en:en:q1", "en:en:q2"]
    assert [item.text for item in found.candidates] == [row.split("\t")[1] for row in DOCUMENTS]
    assert found.relevance == (("en:q1", "en:d1"), ("en:q2", "en:d3"))
    assert (found.grades, found.not_relevant) == ((2, 1), (("en:q1", "en:d2"),))
    assert "1 of 4 judgements left out" in capsys.readouterr().err
    assert loaded.sha256 == {"irds:en=toy/en/test": found.fingerprint}
    assert load_benchmark("irds:toy/en/test", None).collection.languages == ("und",)


@pytest.mark.usefixtures("registered")
def test_several_ids_are_languages_of_one_benchmark() -> None:
    found = load_benchmark("irds:de=toy/de/test,en=toy/en/test", None).collection
    assert (found.languages, found.parallel) == (("de", "en"), False)
    assert len(found.topics) == 4
    kept = load_benchmark("irds:de=toy/de/test,en=toy/en/test", None, ["German"]).collection
    assert kept.languages == ("de",)


@pytest.mark.usefixtures("registered")
def test_what_cannot_be_meant_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"irds:toy/en: has no queries; give the id of a part"):
        load_benchmark("irds:toy/en", None)
    with pytest.raises(UsageError, match=r"no such data set: did you mean 'toy/en/test'"):
        load_benchmark("irds:toy/en/tests", None)
    with pytest.raises(UsageError, match=r"split=dev: irds:toy/en/test has no splits"):
        load_benchmark("irds:toy/en/test", None, split="dev")


@pytest.mark.usefixtures("registered")
def test_data_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "qrels").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"irds:toy/en/test: holds no judgement"):
        load_benchmark("irds:toy/en/test", None)
    (tmp_path / "docs.tsv").write_bytes(b"d1\t\xff\n")
    with pytest.raises(DataError, match=r"irds:toy/en/test: cannot be read \("):
        load_benchmark("irds:toy/en/test", None)


def test_without_ir_datasets_the_line_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(BiasBenchError, match=r"run `pip install 'ir-datasets>="):
        load_benchmark("irds:beir/scifact/test", None)


@pytest.mark.usefixtures("registered")
def test_a_run_ends_in_figures(biasbench: Command, tmp_path: Path) -> None:
    done = biasbench(
        "run", "irds:en=toy/en/test", "--recipe", "bm25", "--out", tmp_path / "runs",
        "--reports", tmp_path / "reports", "--name", "toy",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert (tmp_path / "runs" / "toy" / "metrics.json").is_file()
