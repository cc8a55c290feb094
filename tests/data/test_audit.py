"""The zero-shot audit: what it finds, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.data import audit as audit_module
from bias_bench.data.audit import (
    CONTAINED,
    NEAR,
    NGRAM,
    SHORTEST,
    UNSEEN,
    Finding,
    audit,
    drop_topics,
    letters,
)
from bias_bench.data.pairs import pairs_from_collection
from tests.support.audit_texts import (
    ARABIC,
    CHINESE,
    ENGLISH,
    GERMAN,
    THAI,
    Entry,
    benchmark,
    collection,
    english,
    shown,
    training,
    unlike,
)
from tests.support.helpers import unhurried


def against(text: str, other: str) -> tuple[Finding, ...]:
    """The findings when one candidate trains and another is in the benchmark."""
    ours = training(english("t", unlike("question"), text))
    return audit(ours, benchmark(english("b", unlike("frage"), other))).findings


def test_nothing_in_common_is_clean() -> None:
    pairs = training(Entry("t1", "Owls"), Entry("t2", "Kites"))
    found = audit(pairs, benchmark(Entry("b1", "Bees")))
    assert found.findings == ()
    assert found.verdict == f"clean; {UNSEEN}"
    assert len(drop_topics(pairs, found.dropped)) == len(pairs)


def test_a_shared_topic_id_is_found() -> None:
    found = audit(training(Entry("t1"), Entry("x7")), benchmark(Entry("x7")))
    assert found.findings == (Finding("id", "train", "x7", "x7", "x7", 1.0),)
    assert found.verdict == f"1 topic dropped: train 1 of 2 (id 1); {UNSEEN}"


@pytest.mark.parametrize(
    "theirs", ["Harvard_University", "HARVARD  university", "Harvard University"]
)
def test_a_shared_title_is_found_whatever_its_case_and_spaces(theirs: str) -> None:
    ours = training(Entry("t2", "Harvard University"), Entry("t1", "Harvard_University"))
    found = audit(ours, benchmark(Entry("b2", theirs), Entry("b1", theirs)))
    assert found.findings == (Finding("title", "train", "t1", "Harvard_University", "b1", 1.0),)


@pytest.mark.parametrize("empty", ["", " ", "_", "\t_ "])
def test_empty_titles_never_match(empty: str) -> None:
    found = audit(training(Entry("t1", empty), Entry("t2")), benchmark(Entry("b1", empty)))
    assert found.verdict == f"clean; {UNSEEN}"


@pytest.mark.parametrize(
    "variant",
    [
        ENGLISH,
        ENGLISH.upper(),
        f"  {ENGLISH.replace(' ', chr(10), 3)}\t",
        ENGLISH.replace("1871", "１８７１").replace("cliff", "cliﬀ"),
        ENGLISH.replace(" ", "\u00a0"),
    ],
    ids=["same", "case", "white space", "compatibility", "no-break spaces"],
)
def test_identical_texts_are_found_in_every_spelling(variant: str) -> None:
    assert against(variant, ENGLISH) == (
        Finding("identical", "train", "t", " ".join(variant.split()), "en:1-0-0", 1.0),
    )


def test_a_training_question_may_equal_a_candidate_and_the_reverse() -> None:
    pairs = training(english("t", ENGLISH, "Short answer."))
    found = audit(pairs, benchmark(english("b", "short ANSWER.", ENGLISH)))
    assert found.findings == (
        Finding("identical", "train", "t", "Short answer.", "en:b", 1.0),
        Finding("identical", "train", "t", ENGLISH, "en:1-0-0", 1.0),
    )


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        (ENGLISH, ENGLISH.replace("grey", "white")),
        (ENGLISH, ENGLISH.replace("1871.", "1872 [1]")),
        (THAI, THAI.replace("สีเทา", "สีขาว")),
        (CHINESE, CHINESE.replace("灰", "白")),
        (ARABIC, ARABIC.replace("القديمة", "الجديدة")),
    ],
    ids=["one word", "a reference", "Thai", "Chinese", "Arabic"],
)
def test_a_text_with_a_small_edit_is_near(text: str, edited: str) -> None:
    for ours, theirs in ((text, edited), (edited, text)):
        (finding,) = against(ours, theirs)
        assert finding._replace(similarity=0.0) == Finding(
            "near", "train", "t", shown(ours), "en:1-0-0", 0
        )
        assert NEAR <= finding.similarity < 1


@pytest.mark.parametrize("quoted", [ENGLISH, THAI, CHINESE], ids=["English", "Thai", "Chinese"])
def test_a_sentence_quoted_in_a_passage_is_contained_on_either_side(quoted: str) -> None:
    passage = f"{unlike('before', 300)}{quoted}{unlike('after', 300)}"
    for ours, theirs in ((quoted, passage), (passage, quoted)):
        (finding,) = against(ours, theirs)
        assert (finding.kind, finding.similarity) == ("contained", 1.0)
        assert len(finding.matched) <= 80


@pytest.mark.parametrize(
    ("text", "other"),
    [
        (ENGLISH, GERMAN),
        (ENGLISH, CHINESE),
        (CHINESE, THAI),
        (ENGLISH, "A stone lighthouse has stood on the cliff in the north since 1871."),
        ("Who wrote it?", "Who sang it?"),
        ("灯塔是哪一年建成的？", "公司是哪一年上市的？"),
    ],
)
def test_translations_paraphrases_forms_and_short_texts_are_not_near(text: str, other: str) -> None:
    assert against(text, other) == ()
    assert against(other, text) == ()


def test_the_most_similar_item_is_named_and_the_least_id_of_equals() -> None:
    pairs = training(english("t", unlike("question"), ENGLISH))
    two_edits = ENGLISH.replace("grey", "gray").replace("1871", "1872")
    close = english("b", unlike("far"), ENGLISH.replace("grey", "gray"))
    found = audit(
        pairs, benchmark(english("a", unlike("x"), two_edits), close, close._replace(id="c"))
    )
    assert [finding.item for finding in found.findings] == ["en:2-0-0"]


def test_every_topic_of_a_shared_sentence_is_named() -> None:
    shared = collection("train", [Entry("t1"), Entry("t2"), Entry("t3")])
    sentence = shared.candidates[0]
    linked = replace(
        shared, relevance=(("t1", sentence.id), ("t2", sentence.id), *shared.relevance[2:])
    )
    found = audit(pairs_from_collection(linked), benchmark(english("b", "Why?", sentence.text)))
    assert [(f.kind, f.topic) for f in found.findings] == [("identical", "t1"), ("identical", "t2")]


def test_what_no_row_uses_is_no_finding() -> None:
    shared = collection("train", [Entry("t1", "Owls"), english("t2", "Why so?", ENGLISH, "Bees")])
    pairs = pairs_from_collection(replace(shared, relevance=shared.relevance[:1]))
    other = benchmark(english("b", "Why so?", ENGLISH, "Bees"), Entry("t2"))
    assert audit(pairs, other).verdict == f"clean; {UNSEEN}"
    assert audit(pairs_from_collection(shared), other).verdict != f"clean; {UNSEEN}"


def test_an_excerpt_has_80_characters_at_most_and_no_line_breaks() -> None:
    long = f"{ENGLISH}\n{GERMAN}"
    (finding,) = against(long, long)
    assert len(finding.matched) == 80
    assert finding.matched.startswith(f"{ENGLISH} Der")
    assert finding.matched.endswith("…")


def plain_matches(training: Sequence[str], benchmark: Sequence[str]) -> dict[tuple, float]:
    """Every pair above a threshold, by comparing all with all."""

    def ngrams(text: str) -> set[str]:
        return {text[start : start + NGRAM] for start in range(len(text) - NGRAM + 1)}

    found = {}
    for row, ours in enumerate(map(ngrams, training)):
        for column, theirs in enumerate(map(ngrams, benchmark)):
            shorter = min(len(ours), len(theirs))
            if shorter < SHORTEST["near"]:
                continue
            shared = len(ours & theirs)
            jaccard = shared / len(ours | theirs)
            contained = shared / shorter
            if jaccard >= NEAR:
                found["near", row, column] = jaccard
            elif contained >= CONTAINED and shorter >= SHORTEST["contained"]:
                found["contained", row, column] = contained
    return found


def edited(text: str, chance: np.random.Generator) -> str:
    typed = list(text)
    for _ in range(chance.integers(4)):
        typed[chance.integers(len(typed))] = chance.choice(list("abc 灯塔ประ"))
    return letters("".join(typed[: chance.integers(8, 200)]))


@pytest.mark.parametrize("seed", range(4))
def test_the_search_misses_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "_PAIRS_AT_ONCE", 2_000)
    chance = np.random.default_rng(seed)
    sources = [ENGLISH, GERMAN, THAI, CHINESE, ARABIC, f"{ENGLISH} {GERMAN}", f"{CHINESE}{THAI}"]
    ours = [edited(chance.choice(sources), chance) for _ in range(120)]
    theirs = [edited(chance.choice(sources), chance) for _ in range(150)]
    expected = plain_matches(ours, theirs)
    found = {(m.kind, m.ours, m.theirs): m.similarity for m in audit_module._similar(ours, theirs)}
    assert {kind for kind, _, _ in expected} == {"near", "contained"}
    assert found == pytest.approx(expected)


def test_nothing_is_found_where_there_is_nothing() -> None:
    assert list(audit_module._similar([], [ENGLISH])) == []
    assert list(audit_module._similar([ENGLISH], [])) == []
    assert list(audit_module._similar(["", "a"], ["", "a"])) == []


@unhurried
@given(st.text())
def test_letters_of_letters_are_the_same(text: str) -> None:
    assert letters(letters(text)) == letters(text)
