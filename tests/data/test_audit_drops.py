"""The zero-shot audit: what is dropped from training, on made-up and on real data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from bias_bench.data import audit as audit_module
from bias_bench.data.audit import (
    KINDS,
    UNSEEN,
    Audit,
    Finding,
    audit,
    drop_topics,
    letters,
)
from bias_bench.data.collection import Collection
from bias_bench.data.mini import training_topics
from bias_bench.data.pairs import Pairs, join_pairs, pairs_from_collection
from bias_bench.data.registry import load_benchmark
from tests.support.audit_texts import (
    ARABIC,
    CHINESE,
    ENGLISH,
    GERMAN,
    THAI,
    Entry,
    benchmark,
    english,
    training,
    unlike,
)


def kinds_of(findings: Sequence[Finding]) -> list[str]:
    return [finding.kind for finding in findings]


def kept_topics(pairs: Pairs) -> set[tuple[str, str]]:
    return {
        (pairs.data_sets[data_set], pairs.topic_ids[topic])
        for data_set, topic in zip(pairs.data_set, pairs.topic, strict=True)
    }


def parallel(identifier: str, sentence: str = "", title: str = "") -> Entry:
    texts = {
        language: (unlike(f"{identifier} q {language}"), unlike(f"{identifier} c {language}"))
        for language in ("de", "en", "th")
    }
    if sentence:
        texts["th"] = (texts["th"][0], sentence)
    return Entry(identifier, title, texts)


def test_a_finding_in_one_language_drops_the_topic_in_all() -> None:
    pairs = training(parallel("t1"), parallel("t2", THAI), parallel("t3"))
    found = audit(pairs, benchmark(english("b", "Why?", THAI)))
    left = drop_topics(pairs, found.dropped)
    assert kept_topics(left) == {("train", "t1"), ("train", "t3")}
    assert (len(pairs), len(left)) == (27, 18)
    assert audit(left, benchmark(english("b", "Why?", THAI))).verdict == f"clean; {UNSEEN}"


def test_a_shared_title_drops_all_its_topics_in_every_data_set() -> None:
    first = training(Entry("t1", "Owls"), Entry("t2", "The Owls"), Entry("t3", "owls"), name="one")
    second = training(Entry("t1", "OWLS"), Entry("t2"), Entry("t4", "Kites"), name="two")
    pairs = join_pairs([first, second])
    found = audit(pairs, benchmark(Entry("b", "Owls")))
    assert [(f.data_set, f.topic) for f in found.findings] == [("one", "t1"), ("two", "t1")]
    assert kept_topics(drop_topics(pairs, found.dropped)) == {
        ("one", "t2"),
        ("two", "t2"),
        ("two", "t4"),
    }
    expected = "3 topics dropped: one 2 of 3 (title 2), two 1 of 3 (title 1)"
    assert found.verdict == f"{expected}; {UNSEEN}"


def test_what_is_dropped_can_be_written_and_read_back() -> None:
    first = training(Entry("t1", "Owls"), Entry("t2", "The Owls"), Entry("t3", "owls"), name="one")
    second = training(Entry("t1", "OWLS"), Entry("t2"), Entry("t3", "Kites"), name="two")
    pairs = join_pairs([first, second])
    found = audit(pairs, benchmark(Entry("b", "Owls")))
    dropped = json.loads(json.dumps(found.to_json()))["dropped"]
    assert dropped == {"one": ["t1", "t3"], "two": ["t1"]}
    assert drop_topics(pairs, dropped).fingerprint == drop_topics(pairs, found.dropped).fingerprint
    assert kept_topics(drop_topics(pairs, dropped)) == {("one", "t2"), ("two", "t2"), ("two", "t3")}
    assert drop_topics(pairs, {}).fingerprint == pairs.fingerprint
    assert audit(drop_topics(pairs, dropped), benchmark(Entry("b", "Owls"))).dropped == {}


def test_an_id_in_one_data_set_leaves_the_same_id_of_another() -> None:
    text = english("t1", "Why so often?", ENGLISH)
    pairs = join_pairs([training(text, name="one"), training(Entry("t1"), name="two")])
    found = audit(pairs, benchmark(text._replace(id="b")))
    assert kept_topics(drop_topics(pairs, found.dropped)) == {("two", "t1")}
    assert found.data_sets["one"].topics_kept == 0
    assert found.data_sets["two"].topics_kept == 1


def test_counts_say_what_there_was_and_what_is_left() -> None:
    pairs = training(parallel("t1", THAI, "Bees"), parallel("t2", "", "Bees"), parallel("t3"))
    found = audit(pairs, benchmark(english("t3", "Why?", THAI), Entry("b", "Bees")))
    count = found.data_sets["train"]
    assert count.by_kind == {"id": 1, "title": 2, "identical": 1, "near": 0, "contained": 0}
    assert (count.topics, count.pairs, count.topics_kept, count.pairs_kept) == (3, 27, 0, 0)
    expected = "3 topics dropped: train 3 of 3 (id 1, title 2, identical 1)"
    assert found.verdict == f"{expected}; {UNSEEN}"
    assert len(drop_topics(pairs, found.dropped)) == 0
    assert audit(drop_topics(pairs, found.dropped), benchmark()).data_sets["train"].topics == 0


def test_the_audit_is_plain_data() -> None:
    pairs = training(parallel("t1", THAI), parallel("t2"))
    found = audit(pairs, benchmark(english("b", "Why?", THAI)))
    data = json.loads(json.dumps(found.to_json()))
    assert data == found.to_json()
    assert data["benchmark"] == "bench"
    assert data["verdict"] == found.verdict
    shortest = {"near": 6, "contained": 20}
    assert data["rules"] == {"ngram": 3, "near": 0.5, "contained": 0.95, "shortest": shortest}
    assert data["data_sets"]["train"]["by_kind"] == {
        kind: int(kind == "identical") for kind in KINDS
    }
    assert data["findings"] == [
        {
            "kind": "identical",
            "data_set": "train",
            "topic": "t1",
            "matched": THAI,
            "item": "en:1-0-0",
            "similarity": 1.0,
        }
    ]


def everything() -> tuple[Pairs, Collection]:
    """Two data sets and a benchmark with findings of every kind."""
    first = training(
        parallel("t1", THAI, "Bees"),
        parallel("t2", CHINESE),
        parallel("t3", ENGLISH),
        parallel("x"),
    )
    second = training(
        parallel("t1", GERMAN, "bees"), parallel("t9", f"{ARABIC} {ENGLISH}"), name="two"
    )
    entries = [
        english("b1", CHINESE.replace("灰", "白"), THAI, "BEES"),
        english("x", GERMAN.replace("alte", "neue"), ENGLISH),
    ]
    return join_pairs([first, second]), benchmark(*entries)


def test_every_kind_is_found_and_twice_the_same() -> None:
    pairs, bench = everything()
    found = audit(pairs, bench)
    assert set(kinds_of(found.findings)) == set(KINDS)
    assert list(found.findings) == sorted(
        found.findings, key=lambda f: (f.data_set, KINDS.index(f.kind), -f.similarity, f)
    )
    assert audit(pairs, bench) == found


@pytest.mark.parametrize("seed", range(3))
def test_order_changes_nothing(seed: int) -> None:
    pairs, bench = everything()
    found = audit(pairs, bench)
    chance = np.random.default_rng(seed)
    shuffled = pairs.take(chance.permutation(len(pairs)))
    turned = replace(
        bench,
        topics=tuple(bench.topics[row] for row in chance.permutation(len(bench.topics))),
        queries=tuple(bench.queries[row] for row in chance.permutation(len(bench.queries))),
        candidates=tuple(
            bench.candidates[row] for row in chance.permutation(len(bench.candidates))
        ),
    )
    assert audit(shuffled, turned) == found
    assert kept_topics(drop_topics(shuffled, found.dropped)) == kept_topics(
        drop_topics(pairs, found.dropped)
    )


def test_parts_of_the_benchmark_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs, bench = everything()
    found = audit(pairs, bench)
    assert {finding.kind for finding in found.findings} == set(KINDS)
    for size in (1, 3):
        monkeypatch.setattr(audit_module, "_ITEMS_AT_ONCE", size)
        assert audit(pairs, bench) == found


def test_order_of_the_data_sets_changes_nothing() -> None:
    first, second = training(parallel("t1", THAI)), training(parallel("t1", THAI), name="two")
    bench = benchmark(english("b", "Why?", THAI))
    assert audit(join_pairs([first, second]), bench) == audit(join_pairs([second, first]), bench)


def test_mini_trains_on_nothing_of_mini() -> None:
    pairs = pairs_from_collection(training_topics())
    found = audit(pairs, load_benchmark("mini", None).collection)
    assert (found.findings, found.verdict) == ((), f"clean; {UNSEEN}")
    assert found.data_sets["mini-train"].topics == 72


class Real(NamedTuple):
    """Both published benchmarks and the audits of each against the other."""

    mlqa: Collection
    xquad: Collection
    on_mlqa: Audit
    on_xquad: Audit


@pytest.fixture(scope="module")
def real(data_dir: Path) -> Real:
    mlqa = load_benchmark("mlqa-r", data_dir).collection
    xquad = load_benchmark("xquad-r", data_dir).collection
    return Real(
        mlqa,
        xquad,
        audit(pairs_from_collection(mlqa), xquad),
        audit(pairs_from_collection(xquad), mlqa),
    )


@pytest.mark.slow
def test_mlqa_r_and_xquad_r_share_two_titles_and_no_text(real: Real) -> None:
    for found in (real.on_mlqa, real.on_xquad):
        titles = [letters(f.matched) for f in found.findings if f.kind == "title"]
        assert sorted(titles) == ["harvarduniversity", "primenumber"]
        assert set(kinds_of(found.findings)) == {"title", "near"}
    contexts = [
        {letters(item.context) for item in benchmark.candidates}
        for benchmark in (real.mlqa, real.xquad)
    ]
    assert not contexts[0] & contexts[1]


@pytest.mark.slow
def test_the_most_similar_sentence_stands_under_a_shared_title(real: Real) -> None:
    for found, other in ((real.on_mlqa, real.xquad), (real.on_xquad, real.mlqa)):
        near = next(finding for finding in found.findings if finding.kind == "near")
        assert near.matched.startswith("A natural number greater than 1 that is not")
        (item,) = [item.text for item in other.candidates if item.id == near.item]
        assert item.startswith("A natural number greater than 1 that is not")


@pytest.mark.slow
def test_cleaned_training_data_is_clean(real: Real) -> None:
    for found, dropped in (
        (real.on_mlqa, "7 topics dropped: mlqa-r 7 of 1,148 (title 3, near 5)"),
        (real.on_xquad, "49 topics dropped: xquad-r 49 of 1,190 (title 43, near 11)"),
    ):
        assert found.verdict == f"{dropped}; {UNSEEN}"
    left = drop_topics(pairs_from_collection(real.mlqa), real.on_mlqa.dropped)
    assert len(left) == real.on_mlqa.data_sets["mlqa-r"].pairs_kept
    assert audit(left, real.xquad).verdict == f"clean; {UNSEEN}"
