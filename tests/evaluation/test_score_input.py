"""`biasbench score`: bad input is one line that names the file, the line and the fix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bias_bench.cli import run_command
from bias_bench.errors import DataError, UsageError
from bias_bench.evaluation.entries import read_entries
from bias_bench.evaluation.external import notes, rank_external
from bias_bench.evaluation.given_files import GivenFile, given_files
from bias_bench.evaluation.labels import read_labels, read_languages, read_topics
from tests.support.external_rankings import QRELS, RUN, Files
from tests.support.helpers import Qrels, Run, qrels_text, run_text

RUN_TEXT, QRELS_TEXT = run_text(RUN), qrels_text(QRELS)


@pytest.mark.parametrize(
    ("run", "qrels", "message"),
    [
        (RUN_TEXT + "en:t1 Q0 en:1 1 0.2 other\n", QRELS_TEXT,
         "a.run, line 17: candidate 'en:1' occurs twice for query 'en:t1'"),
        (RUN_TEXT + "en:t1 Q0 en:5 1 nan other\n", QRELS_TEXT,
         "a.run, line 17: score is NaN or infinite"),
        (RUN_TEXT + "en:t1 Q0 en:5 1 high other\n", QRELS_TEXT,
         "a.run, line 17: score 'high' is not a number"),
        (RUN_TEXT + "en:t1 en:5 1 0.5 other\n", QRELS_TEXT,
         "a.run, line 17: 5 fields, expected 6"),
        (RUN_TEXT + "en:t1 Q0 5 1 0.5 other\n", QRELS_TEXT,
         "a.run, line 17: candidate '5' has no language: the pattern"),
        (RUN_TEXT, QRELS_TEXT + "en:t1 0 5 1\n", "a.qrels, line 17: candidate '5' has no language"),
        (RUN_TEXT, QRELS_TEXT + "t1 0 en:1 1\n", "a.qrels, line 17: query 't1' has no language"),
        (RUN_TEXT, QRELS_TEXT + "en:t1 0 en:1 1\n", "a.qrels, line 17: candidate 'en:1' occurs"),
        (RUN_TEXT, QRELS_TEXT + "en:t1 0 en:1\n", "a.qrels, line 17: 3 fields, expected 4"),
        (RUN_TEXT, QRELS_TEXT + "en:t1 0 en:8 much\n", "a.qrels, line 17: grade 'much' is not a"),
        (RUN_TEXT, "en:t9 0 en:1 1\n",
         "have no query in common: the run has 'en:t1', the qrels 'en:t9'"),
        (RUN_TEXT, "en:t1 0 en:1 0\n", "a.qrels: no query has a relevant candidate"),
        ("de:t1 Q0 de:1 1 1 x\n", "en:t1 0 en:1 1\nde:t1 0 de:1 0\n",
         "a.run: has results for no query that has a relevant candidate"),
        ("", QRELS_TEXT, "a.run: holds no entries"),
        (RUN_TEXT, "\n", "a.qrels: holds no entries"),
        (RUN_TEXT, QRELS_TEXT + "zh/CN:t1 0 en:1 1\n",
         "a.qrels, line 17: query 'zh/CN:t1' has language 'zh/CN', which cannot stand"),
    ],
)  # fmt: skip
def test_bad_files_are_one_line_with_file_and_line(
    run: str, qrels: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = Files(tmp_path)
    files.write_example(run, qrels)
    assert files.score() in (2, 3)
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""
    assert not files.out.exists()


def test_text_that_is_not_utf_8_is_named_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = Files(tmp_path)
    files.write_example()
    (tmp_path / "a.run").write_bytes(RUN_TEXT.encode() + b"en:t1 Q0 en:\xff 1 0.1 other\n")
    assert files.score() == 3
    assert "a.run, line 17: not UTF-8 text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--language-pattern", "^..:"], "'^..:' has no group named language"),
        (["--language-pattern", "("], "'(' is not a regular expression"),
        (["--languages", "none.tsv"], "none.tsv: no such file"),
        (["--depth", "0"], "--depth 0: must be 1 or more"),
        (["--system", "two words"], "'two words' cannot stand in a TREC file"),
        (["--name", "../x"], "'../x' cannot name a folder"),
        (["--run", "fr-all=more.run"], "more.run: no such file"),
        (
            ["--topic-pattern", "^..:(?P<topic>t)"],
            "queries 'de:t1' and 'de:t2' have one topic, 't'",
        ),
        (["--topic-pattern", "^..:(?P<topic>9)"], "a.qrels, line 1: query 'en:t1' has no topic"),
    ],
)
def test_bad_options_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = Files(tmp_path)
    files.write_example()
    assert files.score(*arguments) != 0
    assert message in capsys.readouterr().err
    assert not files.out.exists()


def test_files_of_a_setting_must_belong_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = Files(tmp_path)
    files.write_example()
    run, qrels = tmp_path / "a.run", tmp_path / "a.qrels"
    assert run_command(["score", "--run", f"en-de={run}", "--qrels", str(qrels)]) == 3
    expected = (
        "a.run, line 1: query 'en:t1' (en) with candidate 'en:1' (en) does not belong to the "
        "setting en-de"
    )
    assert expected in capsys.readouterr().err
    assert run_command(["score", "--run", str(run), "--qrels", f"en={qrels}"]) == 3
    assert (
        "a.qrels, line 1: query 'en:t1' (en) with candidate 'de:1' (de)" in capsys.readouterr().err
    )


def test_a_run_without_judgements_of_its_setting_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = Files(tmp_path)
    run = files.write("a.run", "en:t1 Q0 en:1 1 1 x\n")
    qrels = files.write("a.qrels", "de:t1 0 de:1 1\n")
    assert run_command(["score", "--run", f"en={run}", "--qrels", f"de={qrels}"]) == 2
    assert "no qrels for the setting en; give --qrels en=FILE" in capsys.readouterr().err
    assert run_command(["score", "--run", str(run), "--qrels", f"de={qrels}"]) == 2
    assert "no qrels judge that; name its setting" in capsys.readouterr().err


def test_one_query_in_two_run_files_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = Files(tmp_path)
    files.write_example()
    again = files.write("b.run", "fr:t1 Q0 de:9 1 1 x\n")
    assert files.score("--run", str(again)) == 3
    assert "b.run: query 'fr:t1' is in" in capsys.readouterr().err
    assert files.score("--run", f"en-all={tmp_path / 'a.run'}") == 3
    assert files.score("--run", str(tmp_path / "a.run")) == 2
    assert "a.run: given twice with --run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_languages, "a\ten\nb\n", "line 2: 1 field, expected 2 separated by tabs"),
        (read_languages, "a\ten\n\na\tde\n", "line 3: id 'a' occurs twice"),
        (read_languages, "a\tzh/CN\n", "line 1: language 'zh/CN', which cannot stand in the name"),
        (read_languages, "a\tall\n", "line 1: language 'all', which cannot stand in the name"),
        (read_languages, "a\t\n", "line 1: field 2 is empty"),
        (read_topics, "a\t1\tp\n", "line 1: 3 fields, expected 2 or 4 separated by tabs"),
        (read_topics, "a\t1\na\t1\n", "line 2: query 'a' occurs twice"),
        (read_topics, "a\t1\tp\tx\nb\t1\tq\tx\n", "line 2: topic '1' has another paragraph"),
    ],
)
def test_bad_tables_are_named_by_line(
    read: Callable[[Path], object], text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "table.tsv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}, {message}")


def test_tables_may_have_a_heading_blank_lines_and_windows_ends(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_bytes(b"\xef\xbb\xbfid\tlanguage\r\n\r\na\ten\r\n")
    assert read_languages(path) == {"a": "en"}


def test_a_pattern_is_asked_for_what_the_table_lacks(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text("7\tth\n", encoding="utf-8")
    both = read_labels(languages=path, language_pattern="^(?P<language>[a-z]+)-")
    assert (both.language("7"), both.language("de-7"), both.language("8")) == ("th", "de", "")
    assert read_labels(languages=path).language("de:7") == ""
    assert read_labels().language("de:7") == "de"
    assert (read_labels().of_query("de:7").topic, read_labels().of_query("7").topic) == ("7", "7")


def test_a_folder_is_read_by_the_names_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "trec" / "monolingual").mkdir(parents=True)
    for name in ("en.run", "de-all.run.gz", "notes.txt"):
        (tmp_path / "trec" / "monolingual" / name).touch()
    found = given_files([str(tmp_path)], "run")
    assert [(str(file.setting), file.name) for file in found] == [
        ("de-all", "monolingual/de-all.run.gz"),
        ("en", "monolingual/en.run"),
    ]
    assert given_files([str(tmp_path / "trec")], "run")[0].path == found[0].path
    with pytest.raises(UsageError, match="setting en is given twice"):
        given_files([str(tmp_path), "en=x.run"], "run")
    with pytest.raises(DataError, match=r"holds no file <setting>\.qrels"):
        given_files([str(tmp_path)], "qrels")
    (tmp_path / "trec" / "all-en.run").touch()
    with pytest.raises(DataError, match="its name says no setting: 'all-en' is not a setting"):
        given_files([str(tmp_path)], "run")


def _noted(files: Files, depth: int | None = None) -> list[str]:
    runs, qrels = ([GivenFile(files.folder / f"a.{role}", None, role)] for role in ("run", "qrels"))
    labels = read_labels()
    return notes(rank_external(read_entries(runs, qrels, labels), labels, depth))


def test_a_sound_pair_of_files_gives_nothing_to_note(tmp_path: Path) -> None:
    files = Files(tmp_path)
    run = dict.fromkeys(("de:t2", "en:t2"), RUN["en:t2"])
    files.write_example(run_text(run), qrels_text({query: {"de:2": 1, "en:2": 1} for query in run}))
    assert _noted(files) == []


@pytest.mark.parametrize(
    ("run", "qrels", "expected"),
    [
        ({"en:a": {"en:1": 1}}, {"en:a": {"en:1": 3}},
         "1 judgement above 1: grades are the gains of nDCG"),
        ({"en:a": {"en:1": 1}}, {"en:a": {"en:1": 1}, "de:b": {"de:1": 0}},
         "no query has a relevant candidate in de-all; left out"),
        ({"en:a": {"en:1": 1}}, {"en:a": {"en:2": 1}}, "no relevant candidate is in any ranking"),
        ({"en:a": {"en:1": 2, "en:2": 1}, "de:a": {"en:1": 1}},
         {"en:a": {"en:1": 1}, "de:a": {"en:2": 1}}, "the rankings of de-all all end before 2"),
        ({"en:a": {"en:1": 1}, "de:b": {"en:1": 1}}, {"en:a": {"en:1": 1}, "de:b": {"en:1": 1}},
         "no two queries of different languages have a common topic"),
    ],
)  # fmt: skip
def test_what_a_reader_must_know_is_noted(
    run: Run, qrels: Qrels, expected: str, tmp_path: Path
) -> None:
    files = Files(tmp_path)
    files.write_example(run_text(run), qrels_text(qrels))
    (note,) = _noted(files)
    assert note.startswith(expected)


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["score", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--languages" in shown
    assert "SETTING=FILE" in shown
