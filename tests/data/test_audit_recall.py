"""What share of copied texts the audit finds, and how many of others: on a set of crafted pairs.

`audit_pairs.json` holds overlaps of every kind that a copy may have gone through, in the languages
of XQuAD-R, and pairs of different questions and sentences that are worded alike.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

from bias_bench.data.audit import audit, letters
from bias_bench.data.registry import load_benchmark
from tests.support.audit_texts import benchmark, english, training, unlike

PAIRS = json.loads(Path(__file__).with_name("audit_pairs.json").read_text(encoding="utf-8"))
LANGUAGES = {"ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh"}
UNSEEN_BY_READERS = {
    "zero width", "soft hyphens", "bidi controls", "vowel signs", "tatweel", "html entities",
    "letters typed otherwise", "marks left out", "case and punctuation", "spaces", "digits",
    "short",
}  # fmt: skip


def found(pair: dict[str, str]) -> bool:
    """Whether one text trains and the other is in the benchmark, on either side."""
    sides = ((pair["training"], pair["benchmark"]), (pair["benchmark"], pair["training"]))
    verdicts = set()
    for ours, theirs in sides:
        pairs = training(english("t", unlike("question"), ours))
        other = benchmark(english("b", unlike("frage"), theirs))
        verdicts.add(bool(audit(pairs, other).findings))
    assert len(verdicts) == 1
    return verdicts.pop()


def test_the_crafted_pairs_are_many_and_of_all_languages() -> None:
    assert len(PAIRS["overlaps"]) == 67
    assert len(PAIRS["others"]) == 32
    for pairs in PAIRS.values():
        assert {pair["language"] for pair in pairs} == LANGUAGES
        assert all(pair["training"] != pair["benchmark"] for pair in pairs)


def test_recall_and_false_alarms_are_those_that_are_stated() -> None:
    missed = [pair for pair in PAIRS["overlaps"] if not found(pair)]
    assert [(pair["kind"], pair["language"]) for pair in missed] == [("short, edited", "zh")]
    alarms = [pair["training"] for pair in PAIRS["others"] if found(pair)]
    assert len(alarms) == 3  # questions of one form; every one is in English
    assert "When did Latvia join the European Union?" in alarms


@pytest.mark.parametrize("kind", sorted(UNSEEN_BY_READERS))
def test_what_a_reader_does_not_see_makes_no_difference(kind: str) -> None:
    pairs = [pair for pair in PAIRS["overlaps"] if pair["kind"] == kind]
    assert pairs
    for pair in pairs:
        assert letters(pair["training"]) == letters(pair["benchmark"])


def test_vowel_signs_that_are_letters_stay() -> None:
    for one, other in (("กิน", "กัน"), ("कि", "की"), ("bat", "bet")):
        assert letters(one) != letters(other)


def test_entities_are_read_to_the_end() -> None:
    assert letters("A&amp;amp;#233;") == letters("a\u00e9") == "ae"


def test_the_texts_of_a_benchmark_are_told_apart() -> None:
    """Folding makes no two texts of different topics equal."""
    collection = load_benchmark("mini", None).collection
    topics = defaultdict(set)
    for query in collection.queries:
        topics[letters(query.text)].add(query.id.partition(":")[2])
    assert max(map(len, topics.values())) == 1
