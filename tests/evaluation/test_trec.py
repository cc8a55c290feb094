"""TREC files: what is written reads back, and what cannot be read is named by file and line."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.errors import BiasBenchError, DataError
from bias_bench.evaluation.trec import (
    LARGEST_GRADE,
    QrelsTable,
    RunTable,
    qrels_bytes,
    read_qrels,
    read_run,
    require_plain_id,
    run_bytes,
    write_gzip,
)
from bias_bench.search.order import strictly_decreasing
from tests.support.helpers import unhurried

RUN = "q1 Q0 d1 1 0.75 tag\nq1 Q0 d2 2 0.5 tag\nq2 Q0 d2 1 -0.25 tag\n"
QRELS = "q1 0 d1 1\nq2 0 d1 2\nq2 0 d2 0\n"


def _run_rows(table: RunTable) -> list[tuple[str, str, float]]:
    return list(
        zip(
            table.queries.to_pylist(),
            table.candidates.to_pylist(),
            table.scores.tolist(),
            strict=True,
        )
    )


def _qrels_rows(table: QrelsTable) -> list[tuple[str, str, int]]:
    return list(
        zip(
            table.queries.to_pylist(),
            table.candidates.to_pylist(),
            table.grades.tolist(),
            strict=True,
        )
    )


RUN_ROWS = [("q1", "d1", 0.75), ("q1", "d2", 0.5), ("q2", "d2", -0.25)]
QRELS_ROWS = [("q1", "d1", 1), ("q2", "d1", 2), ("q2", "d2", 0)]


def _store(path: Path, content: bytes) -> Path:
    if path.suffix == ".gz":
        write_gzip(path, content)
    else:
        path.write_bytes(content)
    return path


@pytest.fixture(params=["file", "file.gz"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / request.param


def test_runs_read_back_as_written(path: Path) -> None:
    candidates = ["zh:0-0-0", "en:0-0-1", "de:7-2-0", "en:0-0-0", "zh:3-1-4", "de:0-0-0"]
    scores = np.array([[0.9, 0.1, -0.5], [1e-30, 0.0, -1e30]], dtype=np.float32)
    content = run_bytes(["en:тема", "en:b"], pa.array(candidates), scores, "zero-shot-7")
    assert content.decode().splitlines()[:2] == [
        "en:тема Q0 zh:0-0-0 1 0.9 zero-shot-7",
        "en:тема Q0 en:0-0-1 2 0.1 zero-shot-7",
    ]
    table = read_run(_store(path, content))
    assert table.queries.to_pylist() == ["en:тема"] * 3 + ["en:b"] * 3
    assert table.candidates.to_pylist() == candidates
    assert table.scores.dtype == np.float32
    np.testing.assert_array_equal(table.scores, scores.reshape(-1))


def test_ranks_in_a_written_run_count_from_one_for_each_query() -> None:
    scores = np.array([[3, 2, 1], [3, 2, 1]], dtype=np.float32)
    content = run_bytes(["a", "b"], pa.array(list("uvwxyz")), scores, "t").decode()
    assert [line.split()[3] for line in content.splitlines()] == ["1", "2", "3"] * 2


def test_qrels_read_back_as_written(path: Path) -> None:
    content = qrels_bytes(["en:a", "en:a", "en:b"], ["en:0-0-0", "de:0-0-0", "zh:1-0-0"])
    assert content == b"en:a 0 en:0-0-0 1\nen:a 0 de:0-0-0 1\nen:b 0 zh:1-0-0 1\n"
    table = read_qrels(_store(path, content))
    assert _qrels_rows(table) == [
        ("en:a", "en:0-0-0", 1),
        ("en:a", "de:0-0-0", 1),
        ("en:b", "zh:1-0-0", 1),
    ]


@unhurried
@given(
    st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30
    ).filter(lambda scores: min(scores) > -1e38)
)
def test_scores_read_back_as_the_same_float32(
    tmp_path_factory: pytest.TempPathFactory, scores: list[float]
) -> None:
    row = strictly_decreasing(np.array([sorted(scores, reverse=True)], dtype=np.float32))
    names = pa.array([f"d{number}" for number in range(len(scores))])
    path = tmp_path_factory.getbasetemp() / "scores.run"
    path.write_bytes(run_bytes(["q"], names, row, "t"))
    np.testing.assert_array_equal(read_run(path).scores.view(np.int32), row[0].view(np.int32))


def test_written_scores_stay_strictly_decreasing_after_reading(tmp_path: Path) -> None:
    """Ties lowered by single float32 steps must survive the way through text."""
    tied = np.repeat(np.array([[0.8313725, 1e-42, -0.1]], dtype=np.float32), 40, axis=1)
    scores = strictly_decreasing(tied)
    names = pa.array([f"d{number}" for number in range(scores.shape[1])])
    path = tmp_path / "tied.run"
    path.write_bytes(run_bytes(["q"], names, scores, "t"))
    assert (np.diff(read_run(path).scores.astype(np.float64)) < 0).all()


def test_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    content = run_bytes(
        ["a", "b"], pa.array(["x", "y", "x", "z"]), np.array([[2, 1], [2, 1]], np.float32), "t"
    )
    first, second = tmp_path / "first.run.gz", tmp_path / "other" / "second.run.gz"
    write_gzip(first, content)
    write_gzip(second, content)
    assert first.read_bytes() == second.read_bytes()
    assert gzip.decompress(first.read_bytes()) == content


def test_gzip_header_holds_no_time_and_no_name(tmp_path: Path) -> None:
    path = tmp_path / "named.run.gz"
    write_gzip(path, RUN.encode())
    header = path.read_bytes()[:10]
    assert header[3] == 0  # no flag: neither a name nor a comment follows
    assert header[4:8] == bytes(4)
    assert b"named" not in path.read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace(" ", "\t").replace("\n", "\r\n"),
        lambda text: text.replace(" ", "   "),
        lambda text: text.replace(" ", " \t"),
        lambda text: text.replace("\n", " \n"),
        lambda text: text.replace("\n", " \r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: text + "\n",
        lambda text: "\ufeff" + text,
    ],
    ids=[
        "plain",
        "tabs",
        "CRLF",
        "tabs and CRLF",
        "padded",
        "space and tab",
        "trailing space",
        "trailing space and CRLF",
        "no final newline",
        "final blank line",
        "byte order mark",
    ],
)
def test_files_of_other_tools_are_read(path: Path, change: Callable[[str], str]) -> None:
    assert _run_rows(read_run(_store(path, change(RUN).encode()))) == RUN_ROWS
    assert _qrels_rows(read_qrels(_store(path, change(QRELS).encode()))) == QRELS_ROWS


@pytest.mark.parametrize(
    ("text", "score"),
    [("+1.5", 1.5), (".5", 0.5), ("-2.", -2.0), ("1e-3", 1e-3), ("1E2", 100.0), ("7", 7.0)],
)
def test_numbers_of_other_tools_are_read(tmp_path: Path, text: str, score: float) -> None:
    content = f"q Q0 a 1 {text} t\nq Q0 b 2 0.25 t\n".encode()
    table = read_run(_store(tmp_path / "run", content))
    assert table.scores.tolist() == [np.float32(score), 0.25]


def test_ids_are_taken_literally(tmp_path: Path) -> None:
    """Nothing in an id is a quote, a missing value or a number to a TREC reader."""
    ids = ["NULL", '"quoted', "NA", "nan", "007", "#1", "a,b", "中文"]
    content = "".join(f"{name} Q0 {name} 1 1.0 t\n" for name in ids).encode()
    table = read_run(_store(tmp_path / "run", content))
    assert table.queries.to_pylist() == ids
    assert table.candidates.to_pylist() == ids


@pytest.mark.parametrize("content", [b"", b"\n", b" \n\n"])
def test_an_empty_file_is_an_empty_table(path: Path, content: bytes) -> None:
    run = read_run(_store(path, content))
    qrels = read_qrels(path)
    assert (len(run.queries), len(run.candidates), run.scores.tolist()) == (0, 0, [])
    assert (len(qrels.queries), len(qrels.candidates), qrels.grades.tolist()) == (0, 0, [])
    assert run.scores.dtype == np.float32
    assert np.issubdtype(qrels.grades.dtype, np.integer)


def test_a_run_without_queries_is_an_empty_file() -> None:
    nothing = pa.array([], pa.string())
    assert run_bytes([], nothing, np.zeros((0, 5), dtype=np.float32), "t") == b""
    assert qrels_bytes([], []) == b""


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("q2 Q0 d3 1 0.5", "line 3: 5 fields, expected 6: query Q0 candidate rank score tag"),
        ("q2", "line 3: 1 fields, expected 6: query Q0 candidate rank score tag"),
        (
            "q2 Q0 d3 1 0.5 t extra",
            "line 3: 7 fields, expected 6: query Q0 candidate rank score tag",
        ),
        ("q2 Q0 d3 1 nan t", "line 3: score is NaN or infinite"),
        ("q2 Q0 d3 1 NaN t", "line 3: score is NaN or infinite"),
        ("q2 Q0 d3 1 inf t", "line 3: score is NaN or infinite"),
        ("q2 Q0 d3 1 -inf t", "line 3: score is NaN or infinite"),
        ("q2 Q0 d3 1 high t", "line 3: score 'high' is not a number"),
        ("q2 Q0 d3 1 0,5 t", "line 3: score '0,5' is not a number"),
        ("q1 Q0 d1 9 0.1 t", "line 3: candidate 'd1' occurs twice for query 'q1'"),
    ],
)
def test_bad_run_lines_are_named(path: Path, line: str, problem: str) -> None:
    lines = ["q1 Q0 d1 1 0.75 t", "q1 Q0 d2 2 0.5 t", line, "q3 Q0 d1 1 0.5 t"]
    _store(path, ("\n".join(lines) + "\n").encode())
    with pytest.raises(DataError) as caught:
        read_run(path)
    assert str(caught.value) == f"{path}, {problem}"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("q2 0 d3", "line 3: 3 fields, expected 4: query iteration candidate grade"),
        ("q2 0 d3 1 t", "line 3: 5 fields, expected 4: query iteration candidate grade"),
        ("q2 0 d3 0.5", "line 3: grade is not a whole number"),
        ("q2 0 d3 nan", "line 3: grade is not a whole number"),
        ("q2 0 d3 yes", "line 3: grade 'yes' is not a number"),
        ("q1 0 d2 1", "line 3: candidate 'd2' occurs twice for query 'q1'"),
    ],
)
def test_bad_qrels_lines_are_named(path: Path, line: str, problem: str) -> None:
    lines = ["q1 0 d1 1", "q1 0 d2 0", line, "q3 0 d1 1"]
    _store(path, ("\n".join(lines) + "\n").encode())
    with pytest.raises(DataError) as caught:
        read_qrels(path)
    assert str(caught.value) == f"{path}, {problem}"


@pytest.mark.parametrize(
    "content",
    [
        "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td1\t2\nq2\td2\t0\n",
        "query_id\tcorpus_id\tscore\r\nq1\td1\t1\r\nq2\td1\t2\r\nq2\td2\t0\r\n",
        "q1\td1\t1\nq2\td1\t2\nq2\td2\t0\n",
        "qid 0 docid rel\n" + QRELS,
        "\ufeffq1 0 d1 1\nq2 Q0 d1 2\nq2 Q0 d2 0",
    ],
    ids=["BEIR", "BEIR of Windows", "BEIR without a heading", "heading", "other iterations"],
)
def test_judgements_of_other_tools_are_read(path: Path, content: str) -> None:
    assert _qrels_rows(read_qrels(_store(path, content.encode()))) == QRELS_ROWS


def test_a_heading_counts_as_a_line_and_a_query_may_be_called_query(tmp_path: Path) -> None:
    path = _store(tmp_path / "a.tsv", b"query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\tmany\n")
    with pytest.raises(DataError, match="line 3: grade 'many' is not a number"):
        read_qrels(path)
    table = read_run(_store(tmp_path / "run", b"qid Q0 docno rank sim tag\nqid Q0 d1 1 0.75 t\n"))
    assert _run_rows(table) == [("qid", "d1", 0.75)]
    table = read_run(_store(tmp_path / "run", b"query Q0 d1 1 0.75 t\n"))
    assert _run_rows(table) == [("query", "d1", 0.75)]


def test_columns_of_judgements_do_not_change_within_a_file(tmp_path: Path) -> None:
    path = _store(tmp_path / "a.tsv", b"q1\td1\t1\nq1\t0\td2\t1\n")
    with pytest.raises(DataError, match="line 2: 4 fields, expected 3: query candidate grade"):
        read_qrels(path)


@pytest.mark.parametrize("grade", [3_000_000_000, -3_000_000_000, LARGEST_GRADE + 1])
def test_a_grade_that_trec_eval_cannot_hold_is_refused_by_line(tmp_path: Path, grade: int) -> None:
    with pytest.raises(DataError, match="line 2: grade is past 1,000,000"):
        read_qrels(_store(tmp_path / "qrels", f"q1 0 d1 1\nq1 0 d2 {grade}\n".encode()))
    table = read_qrels(_store(tmp_path / "qrels", b"q1 0 d1 1000000\nq1 0 d2 -2\n"))
    assert table.grades.tolist() == [1_000_000, -2]


@pytest.mark.parametrize("reader", [read_run, read_qrels])
def test_a_nul_byte_is_named_by_line(
    tmp_path: Path, reader: Callable[[Path], RunTable | QrelsTable]
) -> None:
    text = (RUN if reader is read_run else QRELS).splitlines(keepends=True)
    path = _store(tmp_path / "cut", "".join([text[0], "\n", text[1].replace("d", "\0")]).encode())
    with pytest.raises(DataError, match="line 3: holds a NUL byte, so the file is damaged"):
        reader(path)


def test_an_infinite_grade_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 1"):
        read_qrels(_store(tmp_path / "qrels", b"q1 0 d1 inf\n"))


def test_a_score_beyond_float32_is_refused_without_a_warning(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 1: score is NaN or infinite"):
        read_run(_store(tmp_path / "run", b"q Q0 a 1 1e39 t\n"))


@pytest.mark.parametrize("line", ["q1 Q0 d2 2 nan t", "q1 Q0 d2 2 t", "q1 Q0 d1 2 0.5 t"])
def test_line_numbers_count_blank_lines(tmp_path: Path, line: str) -> None:
    _store(tmp_path / "run", f"q1 Q0 d1 1 0.75 t\n\n\n{line}\n".encode())
    with pytest.raises(DataError, match="line 4:"):
        read_run(tmp_path / "run")


def test_the_line_is_right_in_a_file_of_many_blocks(tmp_path: Path) -> None:
    """The reader works through blocks of a megabyte; lines count on across them."""
    good = b"".join(b"en:topic-%06d Q0 en:0-0-0 1 0.125 tag\n" % row for row in range(40_000))
    assert len(good) > 1_500_000
    _store(tmp_path / "short", good + b"en:last Q0 en:0-0-0\n")
    _store(tmp_path / "nan", good + b"en:last Q0 en:0-0-0 1 nan tag\n")
    for name in ("short", "nan"):
        with pytest.raises(DataError, match="line 40001:"):
            read_run(tmp_path / name)


def test_the_same_candidates_may_stand_under_several_queries(tmp_path: Path) -> None:
    pairs = [(query, name) for query in ("q1", "q2", "q3") for name in ("d1", "d2", "d3")]
    content = "".join(f"{query} Q0 {name} 1 1.0 t\n" for query, name in pairs).encode()
    table = read_run(_store(tmp_path / "run", content))
    assert [(query, name) for query, name, _ in _run_rows(table)] == pairs


@pytest.mark.parametrize("reader", [read_run, read_qrels])
def test_a_missing_file_is_named(
    tmp_path: Path, reader: Callable[[Path], RunTable | QrelsTable]
) -> None:
    with pytest.raises(DataError) as caught:
        reader(tmp_path / "absent.run.gz")
    assert str(caught.value) == f"{tmp_path / 'absent.run.gz'}: no such file"


@pytest.mark.parametrize("reader", [read_run, read_qrels])
@pytest.mark.parametrize("keep", [5, 15, -4, -20])
def test_a_truncated_gzip_file_is_named(
    tmp_path: Path, reader: Callable[[Path], RunTable | QrelsTable], keep: int
) -> None:
    path = tmp_path / "file.gz"
    write_gzip(path, (RUN if reader is read_run else QRELS).encode())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError) as caught:
        reader(path)
    assert str(caught.value).startswith(f"{path}: truncated or damaged (")


@pytest.mark.parametrize("name", ["packed.run", "packed.run.GZ", "packed"])
def test_gzip_is_told_by_its_content(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_gzip(path, RUN.encode())
    assert _run_rows(read_run(path)) == RUN_ROWS


def test_plain_text_under_a_gzip_name_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "plain.run.gz"
    path.write_text(RUN, encoding="utf-8")
    assert _run_rows(read_run(path)) == RUN_ROWS


def test_a_damaged_gzip_body_is_named(tmp_path: Path) -> None:
    path = tmp_path / "flipped.run.gz"
    write_gzip(path, RUN.encode())
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF  # the checksum
    path.write_bytes(content)
    with pytest.raises(DataError, match="truncated or damaged"):
        read_run(path)


def test_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = _store(tmp_path / "latin.run", "q Q0 é 1 1.0 t\n".encode("latin-1"))
    with pytest.raises(DataError, match="line 1: not UTF-8 text") as caught:
        read_run(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "a b", "a\tb", "a\n", "a\u3000b", "a\u00a0b"])
def test_names_with_white_space_cannot_stand_in_a_file(text: str) -> None:
    with pytest.raises(BiasBenchError, match="cannot stand in a TREC file"):
        require_plain_id(text)


def test_plain_names_pass_unchanged() -> None:
    assert require_plain_id("zero-shot-0") == "zero-shot-0"
