"""`biasbench data audit`: its report, its JSON, its errors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bias_bench.data.audit import (
    audit,
)
from bias_bench.data.pairs import pairs_from_collection
from bias_bench.data.registry import load_benchmark
from tests.support.audit_texts import (
    CHINESE,
    ENGLISH,
    GERMAN,
)
from tests.support.command_line import Command


def squad_folder(folder: Path, title: str, topics: dict[str, tuple[str, str]]) -> Path:
    """A folder in LAReQA's form with one English article, one paragraph a topic."""
    paragraphs = [
        {
            "context": sentence,
            "sentences": [sentence],
            "sentence_breaks": [[0, len(sentence)]],
            "qas": [{"id": topic, "question": question, "answers": [{"answer_start": 0}]}],
        }
        for topic, (question, sentence) in topics.items()
    ]
    folder.mkdir()
    text = json.dumps({"data": [{"title": title, "paragraphs": paragraphs}]})
    (folder / "en.json").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A training folder and a benchmark folder that share a title and a sentence."""
    ours = {"t1": ("Why?", ENGLISH), "t2": ("How [bold]so[/bold]?", GERMAN)}
    theirs = {"b1": ("How [bold]so[/bold]?", CHINESE)}
    return (
        squad_folder(tmp_path / "ours", "A_[red]_title", ours),
        squad_folder(tmp_path / "theirs", "a [red] title", theirs),
    )


def test_the_report_of_clean_data(biasbench: Command) -> None:
    done = biasbench("data", "audit", "mini-train", "mini")
    assert (done.code, done.err) == (0, "")
    counts, verdict = done.out.splitlines()
    assert counts.startswith("mini-train against mini: 72 of 72 topics, 8,712 of 8,712 pairs have")
    assert verdict == "clean; translations are not looked for"


def test_findings_are_a_table_and_no_failure(biasbench: Command, folders: tuple) -> None:
    done = biasbench("data", "audit", *folders)
    assert (done.code, done.err) == (0, "")
    lines = [re.split(r"\s{2,}", line) for line in done.out.splitlines()]
    assert lines[2:4] == [
        ["title", "ours", "t1", "A_[red]_title", "b1", "1.000"],
        ["identical", "ours", "t2", "How [bold]so[/bold]?", "en:b1", "1.000"],
    ]
    assert done.out.splitlines()[-1] == (
        "2 topics dropped: ours 2 of 2 (title 2, identical 1); translations are not looked for"
    )


def test_a_long_table_says_what_it_leaves_out(biasbench: Command) -> None:
    done = biasbench("data", "audit", "mini", "mini")
    more = re.search(r"^… and ([\d,]+) more; --format json has all$", done.out, flags=re.MULTILINE)
    assert more
    assert sum(line.startswith("id") for line in done.out.splitlines()) == 50
    data = json.loads(biasbench("data", "audit", "mini", "mini", "--format", "json").out)
    assert len(data["findings"]) == 50 + int(more[1].replace(",", ""))


def test_json_is_the_audit_itself(biasbench: Command, folders: tuple) -> None:
    done = biasbench("data", "audit", *folders, "--format", "json")
    assert (done.code, done.err) == (0, "")
    ours, theirs = (load_benchmark(str(folder), None).collection for folder in folders)
    found = audit(pairs_from_collection(ours), theirs).to_json()
    assert json.loads(done.out) == {"schema": 1, **found}


@pytest.mark.slow
def test_the_report_on_published_data(biasbench: Command, data_dir: Path) -> None:
    done = biasbench("data", "audit", "mlqa-r", "xquad-r", "--data-dir", data_dir)
    assert done.code == 0, done.err
    assert done.out.endswith(
        "7 topics dropped: mlqa-r 7 of 1,148 (title 3, near 5); translations are not looked for\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["mini-trian", "mini"],
            2,
            "unknown training data 'mini-trian': did you mean 'mini-train'?",
        ),
        (["xquad", "mini"], 2, "unknown training data 'xquad': did you mean 'xquad-r'?"),
        (["mini-train", "mini-r"], 2, "unknown benchmark 'mini-r': did you mean 'mini'?"),
        (["mini-train"], 2, "Missing argument"),
        (["mlqa-r", "mini", "--data-dir", "none"], 3, "run `biasbench data fetch mlqa-r"),
    ],
    ids=["training", "a benchmark", "benchmark", "one argument", "files missing"],
)
def test_errors_are_one_line(
    biasbench: Command, arguments: list[str], code: int, message: str
) -> None:
    done = biasbench("data", "audit", *arguments)
    assert (done.code, done.out) == (code, "")
    assert re.fullmatch(r"biasbench: error: \S.*\n", done.err)
    assert message in done.err


def test_help_has_an_example(biasbench: Command) -> None:
    shown = biasbench("data", "audit", "--help")
    assert (shown.code, shown.err) == (0, "")
    assert "Examples:" in shown.out
    assert "biasbench data audit" in shown.out.split("Examples:")[1]
