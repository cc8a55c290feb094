"""`biasbench data check`: what a folder would be taken as, and every fault in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from bias_bench.data.folders import BEIR, BEIR_FOLDERS, LAREQA, FolderCheck, check_folder
from bias_bench.data.registry import data_folder, load_benchmark
from bias_bench.errors import DataError, UsageError
from tests.data.test_beir import (
    CORPUS,
    PARALLEL_CORPUS,
    PARALLEL_QRELS,
    PARALLEL_QUERIES,
    QUERIES,
    lines,
    table,
    write,
)
from tests.support.command_line import Command
from tests.support.fuzzing import fuzzed, hostile
from tests.support.lareqa_files import document, good, paragraph
from tests.support.lareqa_files import write as write_lareqa


def has_note(checked: FolderCheck, text: str) -> bool:
    return any(text in note for note in checked.notes)


def test_sound_folders_have_the_numbers_of_what_is_loaded(tmp_path: Path) -> None:
    parallel = table(PARALLEL_QRELS)
    folders = [
        (data_folder("mini", None), LAREQA, None),
        (write(tmp_path / "own"), BEIR, "test"),
        (write(tmp_path / "own2", PARALLEL_CORPUS, PARALLEL_QUERIES, parallel, "dev"), BEIR, "dev"),
        (write(tmp_path / "by" / "de").parent, BEIR_FOLDERS, "test"),
    ]
    for folder, form, split in folders:
        checked = check_folder(folder)
        found = load_benchmark(str(folder), None).collection
        assert (checked.form, checked.split, checked.problems) == (form, split, [])
        assert [part.language for part in checked.languages] == list(found.languages)
        assert sum(part.queries for part in checked.languages) == len(found.queries)
        assert sum(part.candidates for part in checked.languages) == len(found.candidates)
        assert checked.topics == len(found.topics)
        judged = len(found.relevance) + len(found.not_relevant)
        assert sum(checked.grades.values()) == judged
        assert checked.parallel == found.parallel


def test_grades_unit_and_relevant_candidates_are_counted(tmp_path: Path) -> None:
    qrels = table([("q1", "d1", "10"), ("q1", "d2", "0"), ("q2", "3", "2")])
    checked = check_folder(write(tmp_path / "own", qrels=qrels))
    assert list(checked.grades.items()) == [("0", 1), ("2", 1), ("10", 1)]
    [und] = checked.languages
    assert (und.queries, und.candidates, und.relevant, und.unanswered) == (2, 3, 2, 0)
    assert checked.unit == "topic"
    mini = check_folder(data_folder("mini", None))
    assert (mini.unit, mini.parallel, mini.topics) == ("paragraph", True, 60)


def test_notes_say_what_is_missing_doubtful_or_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    write_lareqa(folder, "en", good())
    write_lareqa(folder, "de-DE", document([paragraph(["Bienen.", "Eulen."], ("q1", 1))]))
    write_lareqa(folder, "xx", document([paragraph(["Eins.", "Eins."], ("q9", 0))]))
    (folder / "notes.txt").write_text("-", encoding="utf-8")
    (folder / ".hidden").write_text("-", encoding="utf-8")
    checked = check_folder(folder)
    assert not checked.problems
    assert has_note(checked, "unknown language xx")
    assert has_note(checked, "5 of 5 topics are not asked in every language")
    assert has_note(checked, "no query in xx has a relevant candidate in de_DE, en: those settings")
    assert has_note(checked, "2 candidates have a text that another one of their language has")
    assert "not read: notes.txt" in checked.notes
    alone = check_folder(write(tmp_path / "alone"))
    assert has_note(alone, "one language: it is searched alone")
    apart = tmp_path / "apart"
    for language in ("de", "en"):
        write(apart / language, qrels=table([("q1", "d1", "0"), ("q2", "3", "1")]))
    assert has_note(check_folder(apart), "no topic is shared by languages")
    assert has_note(check_folder(apart), "2 of 4 queries have no relevant candidate")


def test_what_makes_no_collection_is_a_problem_of_its_own(tmp_path: Path) -> None:
    corpus = [*PARALLEL_CORPUS, {"_id": "fr1", "text": "fr", "language": "fr"}]
    own = write(tmp_path / "own", corpus, PARALLEL_QUERIES, table(PARALLEL_QRELS))
    checked = check_folder(own)
    assert (checked.form, checked.split, checked.languages, checked.notes) == (BEIR, "test", [], [])
    [problem] = checked.problems
    assert problem.startswith("own: fr has documents and no judged query")


def test_each_language_may_have_its_own_only_split(tmp_path: Path) -> None:
    own = tmp_path / "own"
    write(own / "de", split="dev")
    write(own / "en", split="test")
    checked = check_folder(own)
    assert (checked.split, checked.problems) == ("dev, test", [])
    assert len(load_benchmark(str(own), None).collection.queries) == 4


def test_every_problem_is_a_line_with_file_and_line(tmp_path: Path) -> None:
    own = tmp_path / "own"
    corpus = [*CORPUS, CORPUS[0], {"_id": "d 9", "text": "x"}, {"_id": "d8"}]
    queries = [*QUERIES, {"_id": "q5", "text": " "}]
    qrels = table([("q1", "d1", "2"), ("q9", "d1", "1"), ("q1", "nowhere", "1"), ("q2", "3", "x")])
    write(own / "en", corpus, queries, qrels + "q1\td2\n" + "q2\td2\t1\n")
    write(own / "fr")
    (own / "fr" / "corpus.jsonl").write_text('{"_id": "d1", "text": "a"}\nno\n', encoding="utf-8")
    checked = check_folder(own)
    expected = [
        "en/corpus.jsonl: line 4: document 'd1' occurs twice",
        "en/corpus.jsonl: line 5: id 'd 9' holds white space",
        "en/corpus.jsonl: line 6: 'text' is missing",
        "en/queries.jsonl: line 4: query 'q5' has no text",
        "en/qrels/test.tsv: line 3: query 'q9' is not in queries.jsonl",
        "en/qrels/test.tsv: line 4: document 'nowhere' is not in corpus.jsonl",
        "en/qrels/test.tsv: line 5: grade 'x' is not a whole number",
        "en/qrels/test.tsv: line 6: 2 fields",
        "fr/corpus.jsonl: line 2: not JSON",
        "fr/qrels/test.tsv: line 3: document 'd2' is not in",
        "fr/qrels/test.tsv: line 4: document '3' is not in",
    ]
    assert len(checked.problems) == len(expected)
    for problem, begin in zip(checked.problems, expected, strict=True):
        assert problem.startswith(f"{own}/{begin}")
    numbers = [(part.language, part.queries, part.candidates) for part in checked.languages]
    assert numbers == [("en", 2, 3), ("fr", 1, 1)]
    with pytest.raises(DataError) as caught:
        load_benchmark(str(own), None)
    assert str(caught.value) == checked.problems[0]


def test_problems_of_all_paragraphs_and_files_are_named(tmp_path: Path) -> None:
    content = good()
    first, second = (article["paragraphs"][0] for article in content["data"])
    first["qas"][0]["answers"][0]["answer_start"] = 999
    second["sentences"][0] = " "
    write_lareqa(tmp_path, "en", content)
    (tmp_path / "de.json").write_text("{", encoding="utf-8")
    broken = document([paragraph(["Une."], ("q1", 0))])
    broken["data"][0]["paragraphs"][0]["sentences"] = None
    write_lareqa(tmp_path, "fr", broken)
    checked = check_folder(tmp_path)
    assert [(part.language, part.queries) for part in checked.languages] == [("en", 2)]
    problems = checked.problems
    assert len(problems) == 5
    assert problems[3].startswith(f"{tmp_path}/fr.json: article 0, paragraph 0: no 'sentence_bre")
    assert problems[4].startswith(f"{tmp_path}/fr.json: no question in this file")
    assert problems[0].startswith(f"{tmp_path}/de.json: truncated or not JSON")
    assert problems[1].startswith(f"{tmp_path}/en.json: article 0, paragraph 0, question 'q1'")
    assert problems[2].startswith(f"{tmp_path}/en.json: article 1, paragraph 0: empty sentence")


def test_a_folder_in_no_form_and_what_is_no_folder(biasbench: Command, tmp_path: Path) -> None:
    (tmp_path / "corpus.csv").write_text("id,text\n", encoding="utf-8")
    checked = check_folder(tmp_path)
    assert (checked.form, checked.languages) == ("", [])
    assert checked.notes == ["not read: corpus.csv"]
    assert (
        "holds no <language>.json in LAReQA's form and no corpus in BEIR's" in checked.problems[0]
    )
    with pytest.raises(UsageError, match=r"corpus\.csv: not a folder"):
        check_folder(tmp_path / "corpus.csv")
    assert biasbench("data", "check", tmp_path / "nowhere").code == 2
    with pytest.raises(UsageError, match="no split 'dev'"):
        check_folder(write(tmp_path / "own"), "dev")


def test_the_command_shows_the_same_as_text_and_json(biasbench: Command, tmp_path: Path) -> None:
    own = write(tmp_path / "own")
    shown = biasbench("data", "check", own)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines()[:4] == [
        f"{own}: BEIR: corpus, queries and judgements, split test",
        "  und (und): 2 queries, 3 candidates, 2 of them relevant to some query",
        "  2 topics, each in one language; judgements: 1 of grade 0, 1 of grade 1, 1 of grade 2",
        "  significance tests resample by topic",
    ]
    (own / "corpus.jsonl").write_text(lines([*CORPUS, CORPUS[0]]), encoding="utf-8")
    problem = f"{own}/corpus.jsonl: line 4: document 'd1' occurs twice"
    shown = biasbench("data", "check", own)
    assert shown.code == 3
    assert f"problem: {problem}" in shown.out.splitlines()
    assert f"{own}: 1 problem; correct what is named above" in shown.err
    shown = biasbench("data", "check", own, "--format", "json")
    assert shown.code == 3
    content: dict[str, Any] = json.loads(shown.out)
    assert content["problems"] == [problem]
    assert content["schema"] == 1
    assert content["languages"][0]["candidates"] == 3


FILES: dict[str, bytes] = {
    "corpus.jsonl": lines(CORPUS).encode(),
    "queries.jsonl": lines(QUERIES).encode(),
    "qrels/test.tsv": table([("q1", "d1", "2"), ("q2", "3", "1")]).encode(),
}


@pytest.mark.parametrize("name", FILES)
def test_whatever_a_file_holds_is_counted_or_a_problem(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "own")

    @fuzzed
    @given(data=hostile([FILES[name]]))
    def checked(data: bytes) -> None:
        (folder / name).write_bytes(data)
        problems = check_folder(folder).problems
        assert all("\n" not in problem for problem in problems)
        if not problems:
            load_benchmark(str(folder), None)
            return
        with pytest.raises(DataError) as caught:
            load_benchmark(str(folder), None)
        assert str(caught.value) == problems[0]

    checked()
