"""Data as people's editors, archives and table programs leave it is read as it was meant."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bias_bench.data.miracl_files import read_judgements, read_topics
from bias_bench.data.readers import read_lines
from bias_bench.data.registry import load_benchmark
from bias_bench.data.sources import load_sources
from bias_bench.data.sources.source import Place
from bias_bench.data.squad import read_squad
from bias_bench.errors import DataError, UsageError
from bias_bench.evaluation.given_files import given_files
from tests.support.lareqa_files import SENTENCES, document, error_of, good, load, paragraph, write
from tests.support.source_files import put_rows, topics_of


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf-8"))
    return path


def question(content: Any, number: int = 0) -> dict[str, Any]:
    """A question of the first paragraph, to be changed."""
    found: dict[str, Any] = content["data"][0]["paragraphs"][0]["qas"][number]
    return found


# --- files and folders --------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_byte_order_mark_and_any_ends_of_lines_are_read(tmp_path: Path, end: bytes) -> None:
    path = write(tmp_path, "en", good(), indent=1)
    plain = read_squad(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", end) + end * 3)
    assert read_squad(path) == plain


HIDDEN = ("._en.json", ".hidden.json", ".ipynb_checkpoints/en.json", "__MACOSX/._en.json")
LEFT = (*HIDDEN, "~$en.json", ".DS_Store", "Thumbs.db", "desktop.ini")


def leave(folder: Path, names: tuple[str, ...] = LEFT) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0\5\26\7")


def test_hidden_files_are_no_languages(tmp_path: Path) -> None:
    write(tmp_path / "own", "en", good())
    leave(tmp_path / "own")
    assert load_benchmark(str(tmp_path / "own"), None).collection.languages == ("en",)


def test_hidden_files_are_no_files_of_a_source(tmp_path: Path) -> None:
    text(tmp_path / "set" / "a" / "en.json", "{}")
    leave(tmp_path / "set" / "a")
    assert Place("s", tmp_path, "fix").names("set") == ["set/a/en.json"]


def test_hidden_files_are_no_rankings(tmp_path: Path) -> None:
    text(tmp_path / "runs" / "en.run", "q Q0 c 1 1.0 t\n")
    leave(tmp_path / "runs", ("._en.run", ".ipynb_checkpoints/en.run", "__MACOSX/._en.run"))
    assert [file.name for file in given_files([str(tmp_path / "runs")], "run")] == ["en.run"]


def test_hidden_members_of_an_archive_are_passed_over(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("__MACOSX/._train.jsonl", ".DS_Store", "train.jsonl"):
            archive.writestr(name, name)
    assert list(read_lines(tmp_path / "a.zip")) == ["train.jsonl"]


# --- SQuAD --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"answers": [], "is_impossible": True},
        {"answers": []},
        {"is_impossible": True},
    ],
)
def test_questions_without_an_answer_are_left_out_and_counted(
    tmp_path: Path, change: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    content = good()
    question(content).update(change)
    bees = load(tmp_path, en=content)
    assert [query.id for query in bees.queries] == ["en:q2", "en:q3", "en:q4"]
    assert "en.json: 1 question without an answer left out" in capsys.readouterr().err


def test_a_training_source_leaves_them_out_too(tmp_path: Path) -> None:
    content = good()
    for article in content["data"]:
        for part in article["paragraphs"]:
            del part["sentence_breaks"]
    question(content).update(answers=[], is_impossible=True)
    write(tmp_path, "en", content)
    entry = {"form": "squad", "name": "x", "files": {"en": "en.json"}}
    assert topics_of(load_sources([entry], tmp_path).pairs) == ["q2", "q3", "q4"]


def test_a_file_of_unanswerable_questions_alone_is_refused(tmp_path: Path) -> None:
    content = document([paragraph(SENTENCES, ("q1", 1))])
    question(content).update(answers=[])
    message, path = error_of(tmp_path, content)
    assert message.startswith(f"{path}: no question in this file")


def test_a_title_of_null_is_no_title(tmp_path: Path) -> None:
    content = good()
    content["data"][0]["title"] = None
    assert [topic.title for topic in load(tmp_path, en=content).topics] == ["", "", "t", "t"]


# --- gold that contradicts itself ----------------------------------------------------------------

EMOJI = ("Bees 🐝🐝🐝 fly away.", "They make honey.", "Bears like it.")
HONEY = " ".join(EMOJI).index("honey")


def answered(start: int, text: str = "honey") -> Any:
    content = document([paragraph(EMOJI, ("q1", 1))])
    question(content)["answers"] = [{"text": text, "answer_start": start}]
    return content


@pytest.mark.parametrize("text", ["honey", "honey. Bears", "honey.  Bears\n", ""])
def test_an_answer_that_stands_at_its_offset_is_taken(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, en=answered(HONEY, text)).relevance == (("q1", "en:0-0-1"),)


def test_forms_of_unicode_make_no_difference(tmp_path: Path) -> None:
    content = document([paragraph(["Une e\u0301toile."], ("q1", 0))])
    question(content)["answers"] = [{"text": "\u00e9toile", "answer_start": 4}]
    assert load(tmp_path, fr=content).relevance == (("q1", "fr:0-0-0"),)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (HONEY + 3, "are the offsets counted in UTF-16 code units? Count characters"),
        (HONEY + 9, "are the offsets counted in bytes? Count characters"),
        (HONEY + 1, "correct the offset"),
        (HONEY - 5, "correct the offset"),
        (9_999, "correct the offset"),
        (-1, "correct the offset"),
    ],
)  # fmt: skip
def test_an_answer_that_does_not_is_an_error_that_names_the_question(
    tmp_path: Path, start: int, end: str
) -> None:
    message, path = error_of(tmp_path, answered(start))
    assert message.startswith(
        f"{path}: article 0, paragraph 0, question 'q1': the answer 'honey' does not stand at "
        f"answer_start {start}, where the context has '"
    )
    assert end in message


def test_a_contradiction_is_one_line(tmp_path: Path) -> None:
    content = answered(3)
    content["data"][0]["paragraphs"][0]["context"] = " ".join(EMOJI).replace("fly", "\n\n")
    content["data"][0]["paragraphs"][0]["sentences"][0] = "Bees 🐝🐝🐝  away."
    question(content)["answers"][0]["text"] = "honey\nand wax and more of that and of that"
    assert "\n" not in error_of(tmp_path, content)[0]


def test_sentences_in_another_order_than_their_breaks_are_refused(tmp_path: Path) -> None:
    content = good()
    content["data"][0]["paragraphs"][0]["sentences"].reverse()
    message, path = error_of(tmp_path, content)
    assert message.startswith(f"{path}: article 0, paragraph 0: sentence 2, 'Bees fly.', is not in")


def test_sentence_breaks_in_utf_16_units_are_named_as_such(tmp_path: Path) -> None:
    content = document([paragraph(EMOJI, ("q1", 0))])
    part = content["data"][0]["paragraphs"][0]
    part["sentence_breaks"] = [[0, 21], [22, 38], [39, 51]]
    message, _ = error_of(tmp_path, content)
    assert "1, 'They make honey.', is not in the context from its break at 22 on" in message
    assert "counted in UTF-16 code units?" in message


@pytest.mark.slow
@pytest.mark.parametrize(("name", "queries"), [("xquad-r", 13_090), ("mlqa-r", 4_199)])
def test_the_published_benchmarks_are_read_whole(name: str, queries: int, data_dir: Path) -> None:
    assert len(load_benchmark(name, data_dir).collection.queries) == queries


def test_the_embedded_data_answer_their_questions() -> None:
    from bias_bench.data.mini import training_topics

    assert len(training_topics().queries) == 792
    assert len(load_benchmark("mini", None).collection.queries) == 660


# --- tables --------------------------------------------------------------------------------------


def test_blank_lines_of_tables_are_passed_over(tmp_path: Path) -> None:
    text(tmp_path / "topics.tsv", "\ufeff7\twhy\r\n\r\n8\twho\r\n\r\n\r\n")
    topics = read_topics(tmp_path / "topics.tsv")
    assert topics == {"7": "why", "8": "who"}
    text(tmp_path / "qrels.tsv", "7\tQ0\ta\t1\n\n8\tQ0\tb\t2\n \n")
    judged = read_judgements(tmp_path / "qrels.tsv", topics, tmp_path / "topics.tsv")
    assert judged.grades == {"7": {"a": 1}, "8": {"b": 2}}
    assert judged.line == {"a": 1, "b": 3}


def test_a_grade_below_0_is_not_relevant(tmp_path: Path) -> None:
    text(tmp_path / "qrels.tsv", "7\tQ0\ta\t1\n7\tQ0\tb\t-1\n7\tQ0\tc\t-2\n")
    judged = read_judgements(tmp_path / "qrels.tsv", {"7": "why"}, tmp_path / "topics.tsv")
    assert judged.relevant("7") == ["a"]
    assert judged.not_relevant("7") == ["b", "c"]


def test_blank_lines_at_the_end_of_parallel_lines_say_nothing(tmp_path: Path) -> None:
    text(tmp_path / "en.txt", "one\ntwo\n")
    text(tmp_path / "de.txt", "eins\nzwei\n\n\n")
    entry = {"form": "lines", "name": "x", "files": {"en": "en.txt", "de": "de.txt"}}
    assert len(load_sources([entry], tmp_path).pairs) == 4
    text(tmp_path / "de.txt", "eins\n\n\n")  # but a lost line is one
    assert len(load_sources([entry], tmp_path).pairs) == 2
    text(tmp_path / "de.txt", "eins\nzwei\ndrei\n\n")
    with pytest.raises(DataError, match=r"2 lines, but .*de.txt has 3"):
        load_sources([entry], tmp_path)


ROWS = [{"query": f"q{number}", "positive": f"p{number}", "language": "en"} for number in range(3)]


def as_parquet(path: Path, groups: list[Any]) -> None:
    columns: dict[str, list[Any]] = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    table = pa.table({**columns, "group": pa.array(groups, from_pandas=False)})
    pq.write_table(table, path.with_suffix(".parquet"))


def as_lines(path: Path, groups: list[Any]) -> None:
    rows = [{**row, "group": group} for row, group in zip(ROWS, groups, strict=True)]
    text(path.with_suffix(".jsonl"), "".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(("write_rows", "ending"), [(as_parquet, "parquet"), (as_lines, "jsonl")])
def test_numbers_that_pandas_made_floats_are_whole_and_nan_is_none(
    tmp_path: Path, write_rows: Callable[[Path, list[Any]], None], ending: str
) -> None:
    entry = {"form": "pairs", "path": f"rows.{ending}"}
    write_rows(tmp_path / "rows", [0.0, float("nan"), 12.0])
    assert topics_of(load_sources([entry], tmp_path).pairs) == ["0", "row-2", "12"]
    for wrong in (0.5, 2.0**60):
        write_rows(tmp_path / "rows", [0.0, float("nan"), wrong])
        with pytest.raises(DataError, match=r"'group' is .*, expected a text or a whole number"):
            load_sources([entry], tmp_path)


def test_nan_is_missing_in_every_column(tmp_path: Path) -> None:
    missing = float("nan")
    rows = [{**ROWS[0], "title": missing, "negatives": missing, "id": missing}]
    put_rows(tmp_path / "rows.jsonl", rows)
    loaded = load_sources([{"form": "pairs", "path": "rows.jsonl"}], tmp_path)
    assert loaded.negatives is None
    assert topics_of(loaded.pairs) == ["row-1"]
    put_rows(tmp_path / "rows.jsonl", [{**ROWS[0], "query": missing}])
    with pytest.raises(DataError, match="'query' is missing, expected a text"):
        load_sources([{"form": "pairs", "path": "rows.jsonl"}], tmp_path)


def test_a_group_of_missing_numbers_alone_is_no_group(tmp_path: Path) -> None:
    as_parquet(tmp_path / "rows", [float("nan")] * 3)
    entry = {"form": "pairs", "path": "rows.parquet", "options": {"cross": True}}
    with pytest.raises(UsageError, match="needs a column 'group'"):
        load_sources([entry], tmp_path)
