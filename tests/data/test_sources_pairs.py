"""Training sources: rows of pairs as JSONL and parquet, mMARCO and MIRACL."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bias_bench.data.sources import (
    load_sources,
)
from bias_bench.errors import DataError, UsageError
from tests.support.source_files import (
    ROW,
    make_miracl,
    make_mmarco,
    message,
    miracl_entry,
    put,
    put_rows,
    shown,
    topics_of,
)

ROW_LINE = json.dumps(ROW).encode() + b"\n"


@pytest.fixture
def miracl(tmp_path: Path) -> Path:
    return make_miracl(tmp_path)


def test_pairs_take_rows_as_they_stand(tmp_path: Path) -> None:
    rows = [
        {"query": "who", "positive": "bees", "negatives": ["ants", "bees"], "language": "en",
         "group": 7, "title": ""},
        {"query": "wer", "positive": "bees", "query_language": "deu", "positive_language": "en-GB",
         "group": 7, "title": "Bee"},
        {"query": "why", "positive": "sun", "language": "en", "id": "w", "negatives": None},
        {"query": "wo", "positive": "Haus", "language": "de", "negatives": []},
        {"query": "whence", "positive": "sun", "language": "en"},
    ]  # fmt: skip
    put_rows(tmp_path / "rows.jsonl", rows)
    loaded = load_sources([{"form": "pairs", "path": "rows.jsonl"}], tmp_path)
    assert shown(loaded.pairs) == [
        ("en", "who", "en", "bees"),
        ("de", "wer", "en", "bees"),
        ("en", "why", "en", "sun"),
        ("de", "wo", "de", "Haus"),
        ("en", "whence", "en", "sun"),
    ]
    assert topics_of(loaded.pairs) == ["7", "7", "w", "row-4", "row-5"]
    assert loaded.pairs.group.tolist() == [0, 0, 1, 2, 1]  # two questions share 'sun'
    assert loaded.pairs.topic_titles[0] == "Bee"
    assert loaded.negatives == {0: ("ants",), 1: ("ants",)}
    assert loaded.pairs.data_sets == ("rows",)


def test_pairs_read_jsonl_gzip_zip_and_parquet_alike(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{**ROW, "query": f"q{i}", "group": str(i // 2), "negatives": ["no"]} for i in range(5)]
    text = put_rows(tmp_path / "a.jsonl", rows).read_bytes()
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(text, mtime=0))
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("data/train.jsonl", text)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "d.parquet")
    loaded = [
        load_sources([{"form": "pairs", "path": path.name}], tmp_path)
        for path in sorted(tmp_path.iterdir())
    ]
    assert len(loaded) == 4
    for other in loaded:
        assert shown(other.pairs) == shown(loaded[0].pairs)
        assert other.pairs.group.tolist() == loaded[0].pairs.group.tolist()
        assert other.negatives == loaded[0].negatives == dict.fromkeys(range(5), ("no",))


def test_pairs_cross_pairs_every_query_of_a_group_with_every_positive(tmp_path: Path) -> None:
    rows = [
        {"query": "who", "positive": "bees", "language": "en", "group": "g", "negatives": ["ants"]},
        {"query": "wer", "positive": "Bienen", "language": "de", "group": "g"},
        {"query": "why", "positive": "sun", "language": "en", "group": "h"},
    ]
    put_rows(tmp_path / "r.jsonl", rows)
    entry = {"form": "pairs", "path": "r.jsonl", "options": {"cross": True}}
    loaded = load_sources([entry], tmp_path)
    assert len(loaded.pairs) == 4 + 1
    assert loaded.negatives is not None
    for number, (_, _, _, candidate) in enumerate(shown(loaded.pairs)):
        assert loaded.negatives.get(number) == (("ants",) if candidate == "bees" else None)
    put_rows(tmp_path / "r.jsonl", [ROW])
    assert "needs a column 'group'" in message(entry, tmp_path, UsageError)


def test_pairs_columns_and_languages_of_files(tmp_path: Path) -> None:
    rows = [{"frage": "wer", "positive": "Bienen", "nr": 1, "extra": True}]
    put_rows(tmp_path / "de.jsonl", rows)
    put_rows(tmp_path / "en.jsonl", [{"frage": "who", "positive": "bees", "nr": 1}])
    entry: dict[str, Any] = {
        "form": "pairs",
        "files": {"de": "de.jsonl", "en": "en.jsonl"},
        "options": {"columns": {"query": "frage", "group": "nr"}},
    }
    pairs = load_sources([entry], tmp_path).pairs
    assert shown(pairs) == [("de", "wer", "de", "Bienen"), ("en", "who", "en", "bees")]
    assert pairs.group.tolist() == [0, 0]
    entry["options"]["languages"] = ["en"]
    assert load_sources([entry], tmp_path).pairs.languages == ("en",)
    entry["options"] = {"columns": {"query": "frage", "group": "number"}}
    assert "no column 'number'" in message(entry, tmp_path, DataError)
    entry["options"] = {"columns": {"querry": "frage"}}
    assert "unknown column 'querry': did you mean 'query'" in message(entry, tmp_path, UsageError)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"negatvies": []}, "line 2: unknown column 'negatvies': did you mean 'negatives'?"),
        ({"positive": "remove"}, "line 2: no column 'positive': known: language, query"),
        ({"query": " "}, "line 2: 'query' is ' ', expected a text"),
        ({"query": None}, "line 2: 'query' is missing, expected a text"),
        ({"negatives": "ants"}, "line 2: 'negatives' is 'ants', expected a list of texts"),
        ({"negatives": ["a", ""]}, "line 2: 'negatives' is ['a', ''], expected a list of texts"),
        ({"language": "remove"}, "line 2: no 'query_language' and no 'language'; add one"),
        ({"language": "?"}, "line 2: 'query_language' is '?', expected a language code"),
        ({"group": ["g"]}, "line 2: 'group' is ['g'], expected a text or a whole number"),
        ({"title": 3}, "line 2: 'title' is 3, expected a text"),
    ],
)
def test_pairs_bad_rows_are_named(tmp_path: Path, change: dict, expected: str) -> None:
    row = {key: value for key, value in {**ROW, **change}.items() if value != "remove"}
    path = put_rows(tmp_path / "r.jsonl", [ROW, row])
    text = message({"form": "pairs", "path": "r.jsonl"}, tmp_path, DataError)
    assert text.startswith(f"{path}: {expected}")


def test_pairs_unknown_column_of_parquet_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([{**ROW, "positives": "x"}]), tmp_path / "r.parquet")
    entry = {"form": "pairs", "path": "r.parquet"}
    assert "unknown column 'positives': did you mean" in message(entry, tmp_path, DataError)
    (tmp_path / "r.parquet").write_bytes(b"PAR1 no")
    assert "cannot be read as parquet" in message(entry, tmp_path, DataError)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("r.jsonl", b'{"query": \n', "line 1: not JSON"),
        ("r.jsonl", b"[1]\n", "line 1: list, expected a JSON object"),
        ("r.jsonl", b'{"query": "\xff"}\n', "line 1: not UTF-8"),
        ("r.jsonl", b'{"query": "\\ud800"}\n', "line 1: half of a surrogate pair"),
        ("r.jsonl.gz", gzip.compress(ROW_LINE * 99, mtime=0)[:-12], "damaged after line"),
        ("r.jsonl.gz", b"\xff no gzip", "damaged after line 0"),
        ("r.zip", b"no zip", "damaged after line 0"),
        ("r.jsonl", b"", "nothing to train on"),
    ],
)
def test_pairs_damaged_files_are_named(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert expected in message({"form": "pairs", "path": name}, tmp_path, DataError)


def test_zip_member_and_ending_are_checked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "r.zip", "w") as archive:
        archive.writestr("train.jsonl", "")
        archive.writestr("test.jsonl", "")
    entry: dict[str, Any] = {"form": "pairs", "path": "r.zip"}
    assert "2 members and none is chosen" in message(entry, tmp_path, UsageError)
    entry["options"] = {"member": "trian.jsonl"}
    assert "did you mean 'train.jsonl'?" in message(entry, tmp_path, UsageError)
    put(tmp_path / "r.csv", ["query,positive"])
    assert "reads .jsonl" in message({"form": "pairs", "path": "r.csv"}, tmp_path, UsageError)


@pytest.fixture
def marco(tmp_path: Path) -> Path:
    return make_mmarco(tmp_path)


def marco_entry(**options: Any) -> dict[str, Any]:
    return {"form": "mmarco", "path": "mmarco", "options": options}


def test_mmarco_is_parallel_through_ids_and_gathers_negatives(marco: Path) -> None:
    loaded = load_sources([marco_entry()], marco)
    pairs, negatives = loaded
    assert negatives is not None
    assert pairs.languages == ("de", "en")
    assert len(pairs) == 3 * 4
    assert topics_of(pairs) == ["2"] * 4 + ["1"] * 4 + ["2"] * 4
    assert pairs.group.max() == 0  # both questions are answered by passage 10
    by_pair = dict(zip(shown(pairs), range(len(pairs)), strict=True))
    row = by_pair["en", "q2 en", "de", "p12 de\twith tab"]
    assert negatives[row] == ("p13 de\twith tab", "p14 de\twith tab")
    row = by_pair["de", "q2 de", "en", "p10 en\twith tab"]
    assert row not in negatives  # passage 12 answers the question in another triple
    assert "q3 en" not in pairs.query_texts
    assert len(pairs.candidate_texts) == 4


def test_mmarco_limits(marco: Path) -> None:
    first = load_sources([marco_entry(limit=2, languages=["de"])], marco)
    assert shown(first.pairs) == [
        ("de", "q2 de", "de", "p12 de\twith tab"),
        ("de", "q1 de", "de", "p10 de\twith tab"),
    ]
    assert first.negatives == {0: ("p13 de\twith tab",), 1: ("p11 de\twith tab",)}
    assert first.pairs.group.tolist() == [0, 1]
    few = load_sources([marco_entry(max_negatives=1)], marco).negatives
    assert few is not None
    assert {len(texts) for texts in few.values()} == {1}


def test_mmarco_layout_of_the_hub_and_blank_texts(
    marco: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Queries one folder deeper and the triples one folder up; a blank translation is left out."""
    for old, new in (("queries", "google/queries/train"), ("collections", "google/collections")):
        (marco / "mmarco" / new).parent.mkdir(parents=True, exist_ok=True)
        (marco / "mmarco" / old).rename(marco / "mmarco" / new)
    path = marco / "mmarco/google/queries/train/german_queries.train.tsv"
    put(path, ["1\t", "2\tzwei", "3\tdrei"])
    entry = {"form": "mmarco", "path": "mmarco/google"}
    pairs = load_sources([entry], marco).pairs
    assert len(pairs) == 2 * 4 + 1
    assert "1 pairs left out of a language that has a blank text there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "lines", "expected"),
    [
        ("triples.train.ids.small.tsv", ["1\t10\t11", "1\t99\t11"], "line 2: passage 99 is not in"),
        ("triples.train.ids.small.tsv", ["1\t10\t99"], "line 1: passage 99 is not in"),
        ("triples.train.ids.small.tsv", ["", "1\t10\t11", "", "2\t99\t11"], "line 4: passage 99"),
        ("triples.train.ids.small.tsv", ["9\t10\t11"], "line 1: query 9 is not in"),
        ("triples.train.ids.small.tsv", ["1\tx\t11"], "line 1: '1\tx\t11', expected three whole"),
        ("triples.train.ids.small.tsv", [f"{10**20}\t1\t1"], "line 1: '1000"),
        ("triples.train.ids.small.tsv", [], "empty"),
        ("queries/german_queries.train.tsv", ["1 no tab"], "line 1: 1 field(s), expected 2"),
        ("collections/german_collection.tsv", ["D1\tx"], "line 1: id 'D1' is not a whole number"),
    ],
)
def test_mmarco_bad_files_are_named(
    marco: Path, name: str, lines: list[str], expected: str
) -> None:
    path = put(marco / "mmarco" / name, lines)
    text = message(marco_entry(), marco, DataError)
    assert text.startswith(f"{path}: {expected}")


def test_mmarco_missing_parts_are_named(marco: Path) -> None:
    (marco / "mmarco/triples.train.ids.small.tsv").unlink()
    text = message(marco_entry(), marco, DataError)
    assert "mmarco/triples.train.ids.small.tsv: no such file (training source 'mmarco')" in text
    put(marco / "mmarco/other/de_collection.tsv", [])
    assert "let path name the folder of one" in message(marco_entry(), marco, UsageError)
    empty = {"form": "mmarco", "path": "mmarco/queries"}
    assert "no <language>_queries.train.tsv with its" in message(empty, marco, DataError)
    missing = {"form": "mmarco", "path": "marco"}
    assert "marco: no such folder" in message(missing, marco, DataError)


def test_miracl_pairs_are_monolingual_with_judged_negatives(miracl: Path) -> None:
    loaded = load_sources([miracl_entry()], miracl)
    assert shown(loaded.pairs) == [
        (language, f"seven {language}", language, f"T{doc[0]} text {doc} {language}")
        for language in ("sw", "yo")
        for doc in ("1#0", "2#0")
    ]
    assert loaded.pairs.topic_ids == ("sw:7", "yo:7")
    assert loaded.pairs.topic_titles == ("T1", "T1")
    assert loaded.pairs.group.tolist() == [0, 0, 1, 1]
    assert loaded.negatives is not None
    assert loaded.negatives[1] == ("T1 text 1#1 sw", "T1 text 1#2 sw")
    assert set(loaded.negatives) == {0, 1, 2, 3}
    bare = load_sources([miracl_entry(title=False, max_negatives=1, languages=["yo"])], miracl)
    assert bare.pairs.candidate_texts == ("text 1#0 yo", "text 2#0 yo")
    assert bare.negatives == {0: ("text 1#1 yo",), 1: ("text 1#1 yo",)}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("9\tQ0\t1#0\t1", "line 2: topic '9' is not in"),
        ("7\tQ0\t5#5\t1", "line 2: passage '5#5' is in no file of miracl-corpus-v1.0-sw"),
        ("7\tQ0\t1#0\thigh", "line 2: grade 'high' is not a whole number"),
        ("7 Q0 1#0 1", "line 2: 1 field(s), expected 4 between tabs"),
    ],
)
def test_miracl_bad_judgements_are_named(miracl: Path, line: str, expected: str) -> None:
    path = miracl / "miracl-v1.0-sw/qrels/qrels.miracl-v1.0-sw-train.tsv"
    put(path, ["7\tQ0\t1#0\t1", line])
    assert message(miracl_entry(), miracl, DataError).startswith(f"{path}: {expected}")


def test_miracl_missing_parts_are_named(miracl: Path) -> None:
    for path in (miracl / "miracl-corpus-v1.0-sw").iterdir():
        path.unlink()
    assert "holds no docs-*.jsonl.gz" in message(miracl_entry(), miracl, DataError)
    text = message(miracl_entry(languages=["fi"]), miracl, UsageError)
    assert "has no language 'fi' (options.languages); it has sw, yo" in text
