"""Training sources: SQuAD files and aligned lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bias_bench.data.sources import (
    load_sources,
)
from bias_bench.errors import DataError, UsageError
from tests.support.source_files import (
    lines_entry,
    make_bees,
    message,
    paragraph,
    put,
    shown,
    squad_file,
    topics_of,
)


@pytest.fixture
def bees(tmp_path: Path) -> Path:
    return make_bees(tmp_path)


def squad_entry(folder: str) -> dict[str, Any]:
    files = {language: f"{folder}/{language}.json" for language in ("en", "de")}
    return {"name": "bees", "form": "squad", "files": files}


def test_squad_with_breaks_pairs_questions_with_sentences_in_all_directions(bees: Path) -> None:
    loaded = load_sources([squad_entry("breaks")], bees)
    english, german = "Bees eat.", "Bienen und Eulen."
    assert loaded.negatives is None
    assert sorted(shown(loaded.pairs)) == sorted(
        [
            ("en", "Who eats?", "en", english),
            ("en", "Who eats?", "de", german),
            ("de", "Wer isst?", "en", english),
            ("de", "Wer isst?", "de", german),
            ("en", "Who sings?", "en", "Owls sing."),
            ("en", "Who sings?", "de", german),
            ("de", "Wer singt?", "en", "Owls sing."),
            ("de", "Wer singt?", "de", german),
            ("en", "Why?", "en", "Owls sing."),
        ]
    )
    assert loaded.pairs.topic_ids == ("q1", "q2", "q3")
    assert loaded.pairs.topic_titles == ("Animals",) * 3  # as in English
    assert loaded.pairs.data_sets == ("bees",)
    assert loaded.pairs.group.max() == 0  # linked through shared sentences


def test_squad_without_breaks_pairs_questions_with_paragraphs(bees: Path) -> None:
    pairs = load_sources([squad_entry("plain")], bees).pairs
    assert len(pairs) == 2 * 4 + 1
    assert set(pairs.candidate_texts) == {"Bees eat. Owls sing.", "Nichts. Bienen und Eulen."}
    mono = load_sources(
        [{"form": "squad", "files": {"de": "plain/de.json"}, "name": "x"}], bees
    ).pairs
    assert mono.languages == ("de",)
    assert topics_of(mono) == ["q2", "q1"]


def test_squad_languages_are_kept_or_missed_clearly(bees: Path) -> None:
    entry = squad_entry("breaks")
    kept = load_sources([{**entry, "options": {"languages": ["eng"]}}], bees).pairs
    assert (kept.languages, len(kept)) == (("en",), 3)
    missed = message({**entry, "options": {"languages": ["en", "fi"]}}, bees, UsageError)
    assert missed == (
        "training source 'bees': has no language 'fi' (options.languages); it has de, en"
    )


def test_squad_with_breaks_in_some_paragraphs_names_the_place(tmp_path: Path) -> None:
    put_in = {"q1": ("Who?", "Bees")}, {"q2": ("Who?", "Owls")}
    squad_file(
        tmp_path / "en.json", "", paragraph("Bees.", put_in[0], 1), paragraph("Owls.", put_in[1])
    )
    text = message({"form": "squad", "files": {"en": "en.json"}}, tmp_path, DataError)
    assert "en.json: article 0, paragraph 1: no 'sentence_breaks'" in text


def test_squad_repeated_id_and_empty_context_name_the_place(tmp_path: Path) -> None:
    twice = paragraph("Bees.", {"q": ("Who?", "Bees")})
    squad_file(tmp_path / "twice.json", "", twice, twice)
    entry: dict[str, Any] = {"form": "squad", "files": {"en": "twice.json"}}
    assert "paragraph 1: question id 'q' occurs twice" in message(entry, tmp_path, DataError)
    squad_file(tmp_path / "empty.json", "", {**twice, "context": " "})
    entry = {"form": "squad", "files": {"en": "empty.json"}}
    assert "paragraph 0: empty context" in message(entry, tmp_path, DataError)


def test_lines_pair_translations_and_never_a_line_with_itself(tmp_path: Path) -> None:
    put(tmp_path / "a.en", ["one", "two", "three"])
    (tmp_path / "a.de").write_bytes("\ufeffeins\r\nzwei\u2028zwei\r\ndrei".encode())
    put(tmp_path / "a.es", ["uno", "dos", "tres"])
    put(tmp_path / "ids.tsv", ["doc1\tx", "doc1\tx", "doc2\tx"])
    entry = {**lines_entry(eng="a.en", deu_Latn="a.de", es="a.es"), "documents": "ids.tsv"}
    pairs = load_sources([entry], tmp_path).pairs
    assert pairs.languages == ("de", "en", "es")
    assert len(pairs) == 3 * 3 * 2
    assert (pairs.query_language != pairs.candidate_language).all()
    assert ("de", "zwei\u2028zwei", "en", "two") in shown(pairs)
    assert set(shown(pairs)[:6]) == {
        ("de", "eins", "en", "one"),
        ("de", "eins", "es", "uno"),
        ("en", "one", "de", "eins"),
        ("en", "one", "es", "uno"),
        ("es", "uno", "de", "eins"),
        ("es", "uno", "en", "one"),
    }
    assert pairs.topic_titles == ("doc1", "doc1", "doc2")
    assert pairs.group.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    two = load_sources([{**entry, "options": {"languages": ["de", "en"]}}], tmp_path).pairs
    assert (two.languages, len(two)) == (("de", "en"), 3 * 2)


def test_lines_equal_in_one_language_are_one_group(tmp_path: Path) -> None:
    put(tmp_path / "a.en", ["so bad", "very bad", "good"])
    put(tmp_path / "a.de", ["schlimm", "schlimm", "gut"])
    pairs = load_sources([lines_entry(en="a.en", de="a.de")], tmp_path).pairs
    assert pairs.group.tolist() == [0, 0, 0, 0, 1, 1]
    assert len(pairs.candidate_texts) == 5


def test_lines_blank_in_one_language_are_left_out_of_all_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "a.en", ["one", " ", "three"])
    put(tmp_path / "a.de", ["eins", "zwei", "drei"])
    pairs = load_sources([lines_entry(en="a.en", de="a.de")], tmp_path).pairs
    assert pairs.topic_ids == ("line-1", "line-3")
    assert "zwei" not in pairs.candidate_texts
    assert capsys.readouterr().err == (
        "news: 1 of 3 lines left out, blank in at least one language\n"
    )


@pytest.mark.parametrize("odd", ["a.de", "ids.tsv"])
def test_lines_that_do_not_match_name_both_files_and_counts(tmp_path: Path, odd: str) -> None:
    for name in ("a.en", "a.de", "ids.tsv"):
        put(tmp_path / name, ["x"] * (1200 if name == odd else 1201))
    entry = {**lines_entry(de="a.de", en="a.en"), "documents": "ids.tsv"}
    text = message(entry, tmp_path, DataError)
    assert all(part in text for part in ("a.de", odd, "1,200", "1,201"))


def test_lines_in_one_language_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "a.en", ["x"])
    assert "need two or more" in message(lines_entry(en="a.en"), tmp_path, UsageError)
