"""Training sources together: entries, files, checksums, the hub, the named ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bias_bench.data.languages import our_language
from bias_bench.data.mini import training_topics
from bias_bench.data.pairs import pairs_from_collection
from bias_bench.data.registry import benchmarks
from bias_bench.data.sources import (
    FORMS,
    SourceSpec,
    load_sources,
    parse_entry,
    source_digests,
)
from bias_bench.data.sources.build import TextTable, crossed
from bias_bench.data.sources.named import named_sources
from bias_bench.data.sources.source import Place
from bias_bench.errors import DataError, UsageError
from bias_bench.system.files import sha256_file
from tests.support.source_files import (
    ELEVEN,
    ROW,
    lines_entry,
    make_bees,
    make_miracl,
    make_mmarco,
    message,
    miracl_entry,
    put,
    put_rows,
    shown,
)


@pytest.fixture
def miracl(tmp_path: Path) -> Path:
    return make_miracl(tmp_path)


def test_joined_sources_keep_names_and_renumber_negatives(miracl: Path) -> None:
    put(miracl / "a.en", ["one", "two"])
    put(miracl / "a.sw", ["moja", "mbili"])
    parts: list[str | dict[str, Any]] = [lines_entry(en="a.en", sw="a.sw"), miracl_entry(), "mini"]
    loaded = load_sources(parts, miracl)
    assert loaded.pairs.data_sets == ("news", "miracl", "mini")
    alone = load_sources([miracl_entry()], miracl)
    assert loaded.negatives is not None
    assert alone.negatives is not None
    assert loaded.negatives == {row + 4: texts for row, texts in alone.negatives.items()}
    assert shown(loaded.pairs)[4:8] == shown(alone.pairs)
    assert (np.bincount(loaded.pairs.data_set) == [4, 4, 72 * 121]).all()


def test_mini_is_the_embedded_training_topics() -> None:
    pairs = load_sources(["mini"], None).pairs
    expected = pairs_from_collection(training_topics())
    assert shown(pairs) == shown(expected)
    assert pairs.data_sets == ("mini",)
    two = load_sources([{"name": "mini", "options": {"languages": ["th", "en"]}}], None).pairs
    assert (two.languages, len(two)) == (("en", "th"), 72 * 4)


def test_an_entry_may_be_checked_and_spelt_out_before(tmp_path: Path) -> None:
    put_rows(tmp_path / "r.jsonl", [ROW])
    own = {"form": "pairs", "path": "r.jsonl"}
    for entry in ("mini", own):
        spec = SourceSpec(**({"name": entry} if isinstance(entry, str) else entry))
        expected = shown(load_sources([entry], tmp_path).pairs)
        for same in (spec, spec.model_dump()):
            assert shown(load_sources([same], tmp_path).pairs) == expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("ntrex", "unknown training source 'ntrex': did you mean 'ntrex-128'?"),
        ({}, "neither 'name' nor 'form'"),
        ({"form": "line"}, "unknown form 'line': did you mean 'lines'?"),
        ({"form": "lines", "file": {}}, "unknown key 'file': did you mean 'files'?"),
        ({"form": "lines"}, "form 'lines' needs 'files'; add it"),
        ({"form": "lines", "files": {"en": "a"}, "path": "b"}, "takes no 'path'; remove it"),
        ({"form": "squad", "files": {"en": "a"}, "documents": "b"}, "takes no 'documents'"),
        ({"form": "pairs"}, "needs either 'path' or 'files'"),
        ({"form": "lines", "files": {"e1": "a"}}, "'e1' cannot be a language code"),
        ({"form": "lines", "files": {"zho": "a", "zh-CN": "b"}}, "language 'zh', which has a file"),
        ({"form": "lines", "files": ["a"]}, "files: input should be a valid dictionary"),
        ({"form": "mmarco", "path": "x", "revision": "y"}, "'revision' belongs to 'hub'"),
        ({"name": "mini", "path": "x"}, "source 'mini' brings its own 'path'"),
        ({"name": "mini", "options": {"limt": 3}}, "unknown key 'limt': known: languages"),
        ({"name": "mini", "options": {"languages": ["fi"]}}, "has no language 'fi'"),
        ({"form": "squad", "files": {"en": "a"}, "sha256": {"a": "12"}}, "sha256.a: string should"),
        (
            {"form": "squad", "files": {"en": "a.json"}, "sha256": {"b.json": "0" * 64}},
            "sha256 is given for 'b.json', which is not a file of it: did you mean 'a.json'?",
        ),
        (
            {"form": "mmarco", "path": "m", "sha256": {"m/none": "0" * 64}},
            "sha256 is given for 'm/none', which is not a file of it",
        ),
    ],
)
def test_entries_that_cannot_be_meant_are_usage_errors(
    tmp_path: Path, entry: str | dict, expected: str
) -> None:
    assert expected in message(entry, tmp_path, UsageError)


def test_no_entry_and_an_entry_twice_are_usage_errors() -> None:
    with pytest.raises(UsageError, match=r"training\.sources: empty"):
        load_sources([], None)
    with pytest.raises(UsageError, match=r"sources\[1\]: 'mini' stands there already"):
        load_sources(["mini", "mini"], None)


def test_missing_file_of_a_named_source_says_which_where_and_what_to_do(tmp_path: Path) -> None:
    text = message("arcd", tmp_path, DataError)
    assert text == (
        f"{tmp_path}/qa-extra/arcd-train.ar.json: no such file (training source 'arcd'); "
        "point --data-dir at the folder that holds it"
    )
    text = message("mlqa-r", None, DataError)
    assert "data/mlqa-r/ar.json: no such file" in text
    assert text.endswith("point --data-dir at the folder that holds it, or run "
                         "`biasbench data fetch mlqa-r`")  # fmt: skip


def test_checksums_are_compared(tmp_path: Path) -> None:
    path = put_rows(tmp_path / "r.jsonl", [ROW])
    entry = {"form": "pairs", "path": "r.jsonl", "sha256": {"r.jsonl": sha256_file(path).upper()}}
    assert len(load_sources([entry], tmp_path).pairs) == 1
    put_rows(path, [ROW, ROW])
    text = message(entry, tmp_path, DataError)
    assert text.startswith(f"{path}: damaged: sha256 {sha256_file(path)[:12]}… is not the ")
    put(tmp_path / "qa-extra/arcd-train.ar.json", ["{}"])
    assert "damaged: sha256" in message("arcd", tmp_path, DataError)


def test_names_are_relative_to_the_working_folder_without_a_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put_rows(tmp_path / "r.jsonl", [ROW])
    monkeypatch.chdir(tmp_path)
    for name in ("r.jsonl", str(path)):
        assert len(load_sources([{"form": "pairs", "path": name}], None).pairs) == 1


def test_files_come_from_the_hub_at_a_revision(
    miracl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked = []

    def download(repo_id: str, filename: str, *, repo_type: str, revision: str | None) -> str:
        asked.append((repo_id, filename.split("/")[-1], repo_type, revision))
        return str(miracl / filename)

    def listing(_: object, repo_id: str, *, repo_type: str, revision: str | None) -> list[str]:
        assert (repo_type, revision) == ("dataset", "v1" if repo_id == "m/m" else "v2")
        return [str(p.relative_to(miracl)) for p in miracl.rglob("*") if p.is_file()]

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", listing)
    entry = miracl_entry(languages=["yo"], corpus_hub="m/corpus", corpus_revision="v2")
    entry |= {"hub": "m/m", "revision": "v1"}
    assert shown(load_sources([entry], None).pairs) == shown(
        load_sources([miracl_entry(languages=["yo"])], miracl).pairs
    )
    assert asked == [
        ("m/m", "topics.miracl-v1.0-yo-train.tsv", "dataset", "v1"),
        ("m/m", "qrels.miracl-v1.0-yo-train.tsv", "dataset", "v1"),
        ("m/corpus", "docs-0.jsonl.gz", "dataset", "v2"),
        ("m/corpus", "docs-1.jsonl.gz", "dataset", "v2"),
    ]


@pytest.fixture
def every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import huggingface_hub

    make_mmarco(make_miracl(make_bees(tmp_path)))
    put(tmp_path / "a.en", ["one"])
    put(tmp_path / "a.sw", ["moja"])
    put(tmp_path / "a.tsv", ["doc"])
    put_rows(tmp_path / "r.jsonl", [ROW])
    put_rows(tmp_path / "hub/h.jsonl", [ROW])
    pq.write_table(pa.Table.from_pylist([ROW]), tmp_path / "r.parquet")
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda _, name, **__: str(tmp_path / "hub" / name)
    )
    return tmp_path


SQUAD = {"form": "squad", "files": {"en": "plain/en.json", "de": "plain/de.json"}}
MIRACL_YO = [
    "miracl-v1.0-yo/topics/topics.miracl-v1.0-yo-train.tsv",
    "miracl-v1.0-yo/qrels/qrels.miracl-v1.0-yo-train.tsv",
    "miracl-corpus-v1.0-yo/docs-0.jsonl.gz",
    "miracl-corpus-v1.0-yo/docs-1.jsonl.gz",
]
MMARCO = ["triples.train.ids.small.tsv"]


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        (SQUAD, ["plain/en.json", "plain/de.json"]),
        ({**SQUAD, "options": {"languages": ["de"]}}, ["plain/de.json"]),
        ({**lines_entry(en="a.en", sw="a.sw"), "documents": "a.tsv"}, ["a.en", "a.sw", "a.tsv"]),
        ({"form": "pairs", "path": "r.jsonl"}, ["r.jsonl"]),
        ({"form": "pairs", "path": "r.parquet"}, ["r.parquet"]),
        ({"form": "pairs", "files": {"en": "r.jsonl"}}, ["r.jsonl"]),
        ({"form": "pairs", "path": "h.jsonl", "hub": "we/rows"}, ["we/rows/h.jsonl"]),
        (miracl_entry(languages=["yo"]), MIRACL_YO),
        ({"form": "mmarco", "path": "mmarco"}, None),
    ],
)
def test_digests_of_sources_are_those_of_the_files_that_are_read(
    every_form: Path,
    monkeypatch: pytest.MonkeyPatch,
    entry: dict[str, Any],
    names: list[str] | None,
) -> None:
    opened = {}
    real = Place.file

    def file(place: Place, name: str) -> Path:
        opened[place.full_name(name)] = path = real(place, name)
        return path

    monkeypatch.setattr(Place, "file", file)
    load_sources([entry], every_form)
    read = {name: sha256_file(path) for name, path in opened.items()}
    assert source_digests([entry], every_form) == read
    assert names is None or sorted(read) == sorted(names)
    changed = next(iter(opened.values()))
    changed.write_bytes(changed.read_bytes() + b"\n")
    assert source_digests([entry], every_form) != read


def test_digests_of_sources_say_what_is_missing_or_damaged(tmp_path: Path) -> None:
    put(tmp_path / "a.en", ["one"])
    put_rows(tmp_path / "r.jsonl", [ROW])
    assert len(source_digests(["mini"], None)) == 11
    with pytest.raises(DataError, match=r"a\.sw: no such file \(training source 'news'\)"):
        source_digests([lines_entry(en="a.en", sw="a.sw")], tmp_path)
    entry = {"form": "pairs", "path": "r.jsonl", "sha256": {"r.jsonl": "0" * 64}}
    with pytest.raises(DataError, match="damaged: sha256"):
        source_digests([entry], tmp_path)
    with pytest.raises(UsageError, match="has no language 'fi'"):
        source_digests([lines_entry(en="a.en") | {"options": {"languages": ["fi"]}}], tmp_path)


@pytest.mark.parametrize("entry", [{"form": "pairs", "path": "r.jsonl"}, miracl_entry()])
def test_hub_out_of_reach_is_one_clear_line(entry: dict) -> None:
    text = message({**entry, "hub": "nobody/nothing"}, None, DataError)
    assert "nobody/nothing" in text
    assert "not on this disk and not fetched from the hub" in text


def test_crossed_takes_what_is_there() -> None:
    queries = np.array([[0, 1, -1], [2, -1, 3]])
    candidates = np.array([[5, -1, 6], [7, 8, 9]])
    topic, query, candidate = crossed(queries, candidates)
    assert list(zip(topic, query, candidate, strict=True)) == [
        (0, 0, 5), (0, 0, 6), (0, 1, 5), (0, 1, 6),
        (1, 2, 7), (1, 2, 8), (1, 2, 9), (1, 3, 7), (1, 3, 8), (1, 3, 9),
    ]  # fmt: skip
    _, query, candidate = crossed(queries, candidates, monolingual=False)
    assert (0, 5) not in set(zip(query, candidate, strict=True))
    assert len(query) == 3 + 4


def test_equal_texts_are_one_per_language() -> None:
    table = TextTable()
    rows = [table.row("en", "so"), table.row("de", "so"), table.row("en", " so\n")]
    assert rows == [0, 1, 0]
    assert table.finish() == (("so", "so"), ["en", "de"])


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("arb", "ar"), ("zho-CN", "zh"), ("zho_Hans", "zh"), ("eng_Latn", "en"), ("german", "de"),
        ("en-US", "en"), ("EN", "en"), ("ell", "el"), ("xyz", "xyz"), ("all", None), ("", None),
        ("e1", None), ("elvish", None), ("klingon", "tlh"), ("cmn", "zh"), ("iw", "he"),
        ("Modern Greek", None), ("Haitian Creole", "ht"), ("nob", "nb"), ("pes_Arab", "fa"),
    ],
)  # fmt: skip
def test_language_codes_are_ours(theirs: str, ours: str | None) -> None:
    assert our_language(theirs) == ours


def test_named_sources_are_complete() -> None:
    sources = named_sources()
    assert list(sources) == [
        "mini", "mlqa-r", "xquad-r", "ntrex-128", "flores-200", "arcd", "cmrc2018", "iapp",
        "tydiqa-goldp",
    ]  # fmt: skip
    for name, source in sources.items():
        assert source.spec.form in FORMS
        assert source.licence
        spec = parse_entry(name, "here")
        assert spec.form != "embedded" or not spec.files
        assert set(spec.sha256) >= set(spec.files.values())
    assert sources["mlqa-r"].licence == benchmarks()["mlqa-r"].licence
    for name in ("ntrex-128", "flores-200"):
        assert tuple(sources[name].spec.files) == ELEVEN
