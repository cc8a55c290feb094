"""Benchmarks in BEIR's form: one language, a folder for each, columns, and faults in the files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bias_bench.data.beir import load_beir
from bias_bench.data.collection import Collection
from bias_bench.data.ids import language_of
from bias_bench.errors import DataError, UsageError
from bias_bench.evaluation.settings import settings_of

Rows = list[dict[str, Any]]

CORPUS: Rows = [
    {"_id": "d1", "title": "Bridges", "text": "The bridge was built in 1932."},
    {"_id": "d2", "title": "", "text": "A river runs below it."},
    {"_id": "3", "text": "Trains cross it."},
]
QUERIES: Rows = [
    {"_id": "q1", "text": "When was the bridge built?"},
    {"_id": "q2", "text": "What crosses the bridge?"},
    {"_id": "q3", "text": "A question of another split"},
]
QRELS = [("q1", "d1", "2"), ("q1", "d2", "0"), ("q2", "3", "1")]
PARALLEL_CORPUS = [
    {"_id": f"{language}{n}", "text": f"{language} text {n}", "language": language}
    for language in ("de", "en")
    for n in range(3)
]
PARALLEL_QUERIES = [
    {"_id": f"{language}-q{n}", "text": f"{language} question {n}?", "language": language,
     "topic": f"t{n}", "article": "a"}
    for language in ("de", "en")
    for n in range(2)
]  # fmt: skip
PARALLEL_QRELS = [(f"{language}-q{n}", f"{language}{n}", "1") for language in ("de", "en")
                  for n in range(2)]  # fmt: skip


def lines(rows: Rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(rows: Iterable[tuple[str, ...]], header: bool = True) -> str:
    content = "".join("\t".join(row) + "\n" for row in rows)
    return ("query-id\tcorpus-id\tscore\n" if header else "") + content


def write(
    folder: Path,
    corpus: Rows = CORPUS,
    queries: Rows = QUERIES,
    qrels: str = table(QRELS),
    split: str = "test",
) -> Path:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(lines(corpus), encoding="utf-8")
    (folder / "queries.jsonl").write_text(lines(queries), encoding="utf-8")
    (folder / "qrels" / f"{split}.tsv").write_text(qrels, encoding="utf-8")
    return folder


def collection(folder: Path, **options: Any) -> Collection:
    return load_beir("own", folder, **options).collection


def test_one_language_is_read_as_beir_reads_it(tmp_path: Path) -> None:
    found = collection(write(tmp_path / "own"))
    assert found.languages == ("und",)
    assert [item.text for item in found.candidates] == [
        "Bridges The bridge was built in 1932.", "A river runs below it.", "Trains cross it.",
    ]  # fmt: skip
    assert [query.text for query in found.queries] == [row["text"] for row in QUERIES[:2]]
    assert found.relevance == (("und:q1", "und:d1"), ("und:q2", "und:3"))
    assert found.grades == (2, 1)
    assert found.not_relevant == (("und:q1", "und:d2"),)
    assert not found.parallel


def test_a_folder_for_each_language_is_searched_in_that_language(tmp_path: Path) -> None:
    for language in ("sw", "zh-Hans"):
        write(tmp_path / "own" / language)
    (tmp_path / "own" / ".cache").mkdir()
    found = collection(tmp_path / "own")
    assert found.languages == ("sw", "zh_Hans")
    assert not found.parallel
    assert [str(setting) for setting in settings_of(found)] == ["sw", "zh_Hans"]
    assert collection(tmp_path / "own", languages=["sw"]).languages == ("sw",)


def test_queries_of_one_topic_make_pooled_settings(tmp_path: Path) -> None:
    folder = write(tmp_path / "own", PARALLEL_CORPUS, PARALLEL_QUERIES, table(PARALLEL_QRELS))
    found = collection(folder)
    assert found.parallel
    assert [topic.id for topic in found.topics] == ["t0", "t1"]
    assert {topic.article for topic in found.topics} == {"a"}
    assert [topic.paragraph for topic in found.topics] == ["de:de0", "de:de1"]
    assert set(found.relevance) == {
        ("t0", "de:de0"), ("t0", "en:en0"), ("t1", "de:de1"), ("t1", "en:en1"),
    }  # fmt: skip
    assert [str(setting) for setting in settings_of(found)] == [
        "de", "en", "de-en", "en-de", "de-all", "en-all",
    ]  # fmt: skip


def test_languages_without_common_topics_are_searched_each_on_its_own(tmp_path: Path) -> None:
    queries = [{**row, "topic": None} for row in PARALLEL_QUERIES]
    found = collection(write(tmp_path / "own", PARALLEL_CORPUS, queries, table(PARALLEL_QRELS)))
    assert not found.parallel
    assert [str(setting) for setting in settings_of(found)] == ["de", "en"]
    assert len(found.topics) == 4


def test_the_largest_grade_of_a_topic_s_queries_counts(tmp_path: Path) -> None:
    qrels = [*PARALLEL_QRELS, ("en-q0", "de0", "0"), ("en-q1", "de1", "3")]
    found = collection(write(tmp_path / "own", PARALLEL_CORPUS, PARALLEL_QUERIES, table(qrels)))
    grades = dict(zip(found.relevance, found.grades, strict=True))
    assert grades["t0", "de:de0"] == 1
    assert grades["t1", "de:de1"] == 3
    assert not found.not_relevant


def test_parquet_and_packed_lines_hold_the_same(tmp_path: Path) -> None:
    plain = collection(write(tmp_path / "a", PARALLEL_CORPUS, PARALLEL_QUERIES,
                             table(PARALLEL_QRELS)))  # fmt: skip
    other = tmp_path / "b"
    (other / "qrels").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(PARALLEL_QUERIES), other / "queries.parquet")
    (other / "corpus.jsonl.gz").write_bytes(gzip.compress(lines(PARALLEL_CORPUS).encode()))
    rows = [{"query-id": q, "corpus-id": d, "score": int(s)} for q, d, s in PARALLEL_QRELS]
    pq.write_table(pa.Table.from_pylist(rows), other / "qrels" / "dev.parquet")
    assert collection(other).fingerprint == plain.fingerprint


@pytest.mark.parametrize(
    "qrels",
    [
        table(QRELS, header=False),
        "\ufeff" + table(QRELS),
        table(QRELS).replace("\n", "\r\n") + "\r\n",
        "".join(f"{q} 0 {d} {s}\n" for q, d, s in QRELS),
        table([("q1", "d1", "2"), ("q1", "d2", "-1"), ("q2", "3", "1.0")]),
    ],
    ids=["no header", "byte order mark", "CRLF", "TREC", "negative and float grades"],
)
def test_usual_forms_of_judgements_mean_the_same(tmp_path: Path, qrels: str) -> None:
    assert (
        collection(write(tmp_path / "a", qrels=qrels)).fingerprint
        == collection(write(tmp_path / "b")).fingerprint
    )


def test_the_split_is_the_only_one_or_test_or_the_one_asked_for(tmp_path: Path) -> None:
    folder = write(tmp_path / "own", split="dev")
    assert len(collection(folder).queries) == 2
    (folder / "qrels" / "train.tsv").write_text(table([("q3", "d2", "1")]))
    with pytest.raises(UsageError, match=r"dev, train; choose one, for example --set split=dev"):
        collection(folder)
    assert [query.id for query in collection(folder, split="train").queries] == ["und:und:q3"]
    (folder / "qrels" / "test.tsv").write_text(table(QRELS[:2]))
    assert len(collection(folder).queries) == 1
    with pytest.raises(UsageError, match="no split 'tets': did you mean 'test'"):
        collection(folder, split="tets")


def _edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_edit("qrels/test.tsv", "d1", "d9"), r"test.tsv: line 2: document 'd9' is not in corpus"),
        (_edit("qrels/test.tsv", "q2", "q9"), r"test.tsv: line 4: query 'q9' is not in queries"),
        (_edit("qrels/test.tsv", "d2", "d1"), r"line 3: query 'q1' and document 'd1' occur twice"),
        (_edit("qrels/test.tsv", "\t2", "\thigh"), r"line 2: grade 'high' is not a whole number"),
        (_edit("qrels/test.tsv", "\t2", "\t0.5"), r"line 2: grade '0.5' is not a whole number"),
        (_edit("qrels/test.tsv", "q1\t", ""), r"line 2: 2 fields, expected query, document"),
        (_edit("corpus.jsonl", '"d2"', '"d1"'), r"corpus.jsonl: line 2: document 'd1' occurs"),
        (_edit("corpus.jsonl", '"d2"', '"d 2"'), r"line 2: id 'd 2' holds white space"),
        (_edit("corpus.jsonl", '"_id": "d2", ', ""), r"corpus.jsonl: line 2: no '_id'"),
        (_edit("corpus.jsonl", '"text": "A', '"t": "A'), r"line 2: .text. is missing"),
        (_edit("corpus.jsonl", '"Bridges"', "[1]"), r"line 1: 'title' is \[1\], expected a text"),
        (_edit("queries.jsonl", "What crosses the bridge?", " "), r"line 2: query .q2. has no"),
        (_edit("queries.jsonl", '"q2"', '"q1"'), r"queries.jsonl: line 2: query 'q1' occurs twice"),
        (_edit("queries.jsonl", '"q2"', "true"), r"line 2: '_id' is True, expected a text or a"),
        (lambda folder: (folder / "queries.jsonl").unlink(), r"no queries.jsonl, queries.jsonl.gz"),
        (lambda folder: (folder / "qrels" / "test.tsv").unlink(), r"no judgements in qrels/"),
        (lambda folder: (folder / "qrels" / "test.tsv").write_text(""), r"holds no judgement"),
        (lambda folder: (folder / "corpus.parquet").write_bytes(b""), r"keep one of them"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_that_names_file_and_line(
    tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    folder = write(tmp_path / "own")
    change(folder)
    with pytest.raises(DataError, match=message) as caught:
        collection(folder)
    assert "\n" not in str(caught.value)


def test_documents_in_a_language_that_nobody_asks_in_are_refused(tmp_path: Path) -> None:
    corpus = [*PARALLEL_CORPUS, {"_id": "fr1", "text": "fr", "language": "fr"}]
    folder = write(tmp_path / "own", corpus, PARALLEL_QUERIES, table(PARALLEL_QRELS))
    with pytest.raises(DataError, match="own: fr has documents and no judged query"):
        collection(folder)


def test_a_topic_is_asked_once_in_a_language(tmp_path: Path) -> None:
    queries = [*PARALLEL_QUERIES, {**PARALLEL_QUERIES[0], "_id": "again"}]
    qrels = table([*PARALLEL_QRELS, ("again", "de0", "1")])
    folder = write(tmp_path / "own", PARALLEL_CORPUS, queries, qrels)
    with pytest.raises(DataError, match="line 5: topic 't0' is asked twice in de"):
        collection(folder)


def test_every_candidate_and_query_is_in_the_language_of_its_id(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "own", PARALLEL_CORPUS[::-1], PARALLEL_QUERIES[::-1], table(PARALLEL_QRELS)
    )
    found = collection(folder)
    assert [language_of(item.id) for item in found.candidates] == ["de"] * 3 + ["en"] * 3
    assert [language_of(item.id) for item in found.queries] == ["de"] * 2 + ["en"] * 2
