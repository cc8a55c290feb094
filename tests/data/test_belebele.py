"""Belebele in both of its forms; the real files where there is a copy of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bias_bench.data import belebele
from bias_bench.data.collection import Collection
from bias_bench.data.registry import load_benchmark
from bias_bench.errors import DataError, UsageError

LINKS = ["https://example.org/b", "https://example.org/a"]  # in this order in the files


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """All tests but those of the real files read small ones."""
    if "data_dir" in request.fixturenames:
        return
    facts = belebele.belebele_facts().model_copy(update={"passages": 2, "questions": 3})
    monkeypatch.setattr(belebele, "belebele_facts", lambda: facts)


def published(variant: str) -> list[dict[str, Any]]:
    """Two questions to the first link and one to the second, a row each."""
    return [
        {"link": LINKS[place], "question_number": number, "flores_passage": f"{variant} p{place}",
         "question": f"{variant} q{place}-{number}?", "mc_answer1": "x", "correct_answer_num": "1"}
        for place, number in ((0, 1), (1, 1), (0, 2))
    ]  # fmt: skip


def by_passage(variant: str) -> list[dict[str, Any]]:
    return [
        {"text": f"{variant} p{place}", "metadata": {"extra": {"url": LINKS[place]}},
         "items": [{"question": f"{variant} q{place}-{number}?"} for number in numbers]}
        for place, numbers in ((0, (1, 2)), (1, (1,)))
    ]  # fmt: skip


def write(folder: Path, variant: str, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{variant}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def load(folder: Path, *languages: str) -> Collection:
    return belebele.BELEBELE.load("belebele", folder, languages or None).collection


def test_both_forms_hold_the_same(tmp_path: Path) -> None:
    for variant in ("deu_Latn", "eng_Latn"):
        write(tmp_path / "rows", variant, published(variant))
        write(tmp_path / "passages", variant, by_passage(variant))
    found = load(tmp_path / "rows")
    assert found.fingerprint == load(tmp_path / "passages").fingerprint
    assert found.languages == ("deu_Latn", "eng_Latn")
    assert {query.id: query.text for query in found.queries_in("eng_Latn")} == {
        "eng_Latn:0-1": "eng_Latn q1-1?",
        "eng_Latn:1-1": "eng_Latn q0-1?",
        "eng_Latn:1-2": "eng_Latn q0-2?",
    }
    assert ("1-2", "deu_Latn:1") in found.relevance
    assert len(found.relevance) == 6
    assert found.parallel


def test_languages_are_asked_for_as_people_write_them(tmp_path: Path) -> None:
    for variant in ("deu_Latn", "eng_Latn"):
        write(tmp_path, variant, published(variant))
    assert load(tmp_path, "en").languages == ("eng_Latn",)
    with pytest.raises(UsageError, match="no language 'xx'"):
        load(tmp_path, "xx")
    with pytest.raises(DataError, match=r"fra_Latn.jsonl: missing; run `biasbench data fetch"):
        load(tmp_path, "fr")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], "2 passages and 2 questions, expected 2 and 3 of deu_Latn"),
        (lambda rows: [*rows, rows[0]], "line 4: question 1 of https://example.org/b occurs twice"),
        (lambda rows: [*rows[:2], {**rows[2], "flores_passage": "x"}], "line 3: the passage of"),
        (lambda rows: [*rows[:2], {**rows[2], "question": " "}], "line 3: a link, a passage or"),
        (lambda rows: [*rows[:2], {**rows[2], "question_number": 3}], "other questions to https"),
        (lambda rows: [{**rows[1], "link": "https://example.org/c"}, rows[0], rows[2]],
         "is in only one of this file and"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_one_line(tmp_path: Path, change: Any, message: str) -> None:
    write(tmp_path, "eng_Latn", published("eng_Latn"))
    write(tmp_path, "deu_Latn", change(published("deu_Latn")))
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_real_files_hold_what_the_paper_says(data_dir: Path) -> None:
    if not (data_dir / "belebele").is_dir():
        pytest.skip("BIASBENCH_DATA has no belebele/")
    found = load_benchmark("belebele", data_dir, ["en", "de"]).collection
    assert found.languages == ("deu_Latn", "eng_Latn")
    assert len(found.topics) == 900
    assert len(found.candidates) == 2 * 488
