"""The zero-shot audit: what training pairs share with a benchmark, and what is dropped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.cli import run_command
from bias_bench.datasets import audit as audit_module
from bias_bench.datasets.audit import (
    CONTAINED,
    KINDS,
    NEAR,
    NGRAM,
    SHORTEST,
    Audit,
    Finding,
    audit,
    clean,
    fold,
    fold_title,
)
from bias_bench.datasets.collection import Candidate, Collection, Query, Topic
from bias_bench.datasets.mini import training_topics
from bias_bench.datasets.pairs import Pairs, join_pairs, pairs_from_collection
from bias_bench.datasets.registry import load_benchmark
from tests.helpers import unhurried

ENGLISH = "The old lighthouse on the northern cliff was built of grey granite in 1871."
THAI = "ประภาคารเก่าบนหน้าผาทางเหนือสร้างขึ้นจากหินแกรนิตสีเทาเมื่อหลายปีก่อน"
CHINESE = "北方悬崖上的那座旧灯塔是用灰色花岗岩在一八七一年建造的，至今仍然为来往的渔船指引着方向。"
GERMAN = "Der alte Leuchtturm auf der nördlichen Klippe wurde 1871 aus grauem Granit gebaut."
ARABIC = "بنيت المنارة القديمة على الجرف الشمالي من الجرانيت الرمادي عام ألف وثمانمئة وواحد وسبعين."


class Entry(NamedTuple):
    """One topic: its id, title, and per language its question and answer sentence."""

    id: str
    title: str = ""
    texts: dict[str, tuple[str, str]] | None = None


def unlike(seed: str, length: int = 60) -> str:
    """A text that shares nothing with others."""
    letters = np.random.default_rng(list(seed.encode())).integers(0x4E00, 0x9F00, length)
    return f"{seed} {''.join(map(chr, letters))}"


def collection(name: str, entries: Sequence[Entry]) -> Collection:
    """A collection of the entries, in the languages they have; texts default to unlike ones."""
    filled = {
        entry.id: entry.texts
        or {"en": (unlike(f"{name} q {entry.id}"), unlike(f"{name} c {entry.id}"))}
        for entry in entries
    }
    languages = tuple(sorted({language for texts in filled.values() for language in texts}))
    places = [
        (language, row, identifier)
        for language in languages
        for row, (identifier, texts) in enumerate(filled.items())
        if language in texts
    ]
    return Collection(
        name=name,
        languages=languages,
        topics=tuple(Topic(entry.id, entry.id, entry.id, entry.title) for entry in entries),
        queries=tuple(
            Query(f"{language}:{topic}", filled[topic][language][0])
            for language, _, topic in places
        ),
        candidates=tuple(
            Candidate(f"{language}:{row}-0-0", filled[topic][language][1], "")
            for language, row, topic in places
        ),
        relevance=tuple((topic, f"{language}:{row}-0-0") for language, row, topic in places),
    )


def training(*entries: Entry, name: str = "train") -> Pairs:
    return pairs_from_collection(collection(name, entries))


def benchmark(*entries: Entry) -> Collection:
    return collection("bench", [Entry("other"), *entries])


def english(identifier: str, question: str, sentence: str, title: str = "") -> Entry:
    return Entry(identifier, title, {"en": (question, sentence)})


def against(text: str, other: str) -> tuple[Finding, ...]:
    """The findings when one candidate trains and another is in the benchmark."""
    ours = training(english("t", unlike("question"), text))
    return audit(ours, benchmark(english("b", unlike("frage"), other))).findings


def shown(text: str) -> str:
    """A text as findings show it."""
    return text if len(text) <= 80 else text[:79] + "…"


def kinds_of(findings: Sequence[Finding]) -> list[str]:
    return [finding.kind for finding in findings]


# --- kinds ------------------------------------------------------------------------------------


def test_nothing_in_common_is_clean() -> None:
    pairs = training(Entry("t1", "Owls"), Entry("t2", "Kites"))
    found = audit(pairs, benchmark(Entry("b1", "Bees")))
    assert found.findings == ()
    assert found.verdict == "clean"
    assert len(clean(pairs, found)) == len(pairs)


def test_a_shared_topic_id_is_found() -> None:
    found = audit(training(Entry("t1"), Entry("x7")), benchmark(Entry("x7")))
    assert found.findings == (Finding("id", "train", "x7", "x7", "x7", 1.0),)
    assert found.verdict == "1 topic dropped: train 1 of 2 (id 1)"


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
    assert found.verdict == "clean"


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
        (ARABIC, ARABIC.replace("القديمة", "القديمه")),
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
        ("When did Latvia join the European Union?", "When did Denmark join the European Union?"),
        (
            "The average household size was 3.07.",
            "The average household size was 2.99 and the average family size was 3.45.",
        ),
        ("Who wrote it?", "Who wrote it"),
        ("灯塔是哪一年建成的？", "灯塔是哪一年建成的"),
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
    assert audit(pairs, other).verdict == "clean"
    assert audit(pairs_from_collection(shared), other).verdict != "clean"


def test_an_excerpt_has_80_characters_at_most_and_no_line_breaks() -> None:
    long = f"{ENGLISH}\n{GERMAN}"
    (finding,) = against(long, long)
    assert len(finding.matched) == 80
    assert finding.matched.startswith(f"{ENGLISH} Der")
    assert finding.matched.endswith("…")


# --- the search -------------------------------------------------------------------------------


def plain_matches(training: Sequence[str], benchmark: Sequence[str]) -> dict[tuple, float]:
    """Every pair above a threshold, by comparing all with all."""

    def ngrams(text: str) -> set[str]:
        return {text[start : start + NGRAM] for start in range(len(text) - NGRAM + 1)}

    found = {}
    for row, ours in enumerate(map(ngrams, training)):
        for column, theirs in enumerate(map(ngrams, benchmark)):
            if min(len(ours), len(theirs)) < SHORTEST:
                continue
            shared = len(ours & theirs)
            jaccard = shared / len(ours | theirs)
            contained = shared / min(len(ours), len(theirs))
            if jaccard >= NEAR:
                found["near", row, column] = jaccard
            elif contained >= CONTAINED:
                found["contained", row, column] = contained
    return found


def edited(text: str, chance: np.random.Generator) -> str:
    letters = list(text)
    for _ in range(chance.integers(4)):
        letters[chance.integers(len(letters))] = chance.choice(list("abc 灯塔ประ"))
    return fold("".join(letters[: chance.integers(20, 200)]))


@pytest.mark.parametrize("seed", range(4))
def test_the_search_misses_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "_TEXTS_AT_ONCE", 37)
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
def test_folding_twice_changes_nothing_more(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert fold_title(fold_title(text)) == fold_title(text)


# --- what is dropped --------------------------------------------------------------------------


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
    left = clean(pairs, found)
    assert kept_topics(left) == {("train", "t1"), ("train", "t3")}
    assert (len(pairs), len(left)) == (27, 18)
    assert audit(left, benchmark(english("b", "Why?", THAI))).verdict == "clean"


def test_a_shared_title_drops_all_its_topics_in_every_data_set() -> None:
    first = training(Entry("t1", "Owls"), Entry("t2", "The Owls"), Entry("t3", "owls"), name="one")
    second = training(Entry("t1", "OWLS"), Entry("t2"), Entry("t4", "Kites"), name="two")
    pairs = join_pairs([first, second])
    found = audit(pairs, benchmark(Entry("b", "Owls")))
    assert [(f.data_set, f.topic) for f in found.findings] == [("one", "t1"), ("two", "t1")]
    assert kept_topics(clean(pairs, found)) == {("one", "t2"), ("two", "t2"), ("two", "t4")}
    assert found.verdict == "3 topics dropped: one 2 of 3 (title 2), two 1 of 3 (title 1)"


def test_an_id_in_one_data_set_leaves_the_same_id_of_another() -> None:
    text = english("t1", "Why so often?", ENGLISH)
    pairs = join_pairs([training(text, name="one"), training(Entry("t1"), name="two")])
    found = audit(pairs, benchmark(text._replace(id="b")))
    assert kept_topics(clean(pairs, found)) == {("two", "t1")}
    assert found.data_sets["one"].topics_kept == 0
    assert found.data_sets["two"].topics_kept == 1


def test_counts_say_what_there_was_and_what_is_left() -> None:
    pairs = training(parallel("t1", THAI, "Bees"), parallel("t2", "", "Bees"), parallel("t3"))
    found = audit(pairs, benchmark(english("t3", "Why?", THAI), Entry("b", "Bees")))
    count = found.data_sets["train"]
    assert count.by_kind == {"id": 1, "title": 2, "identical": 1, "near": 0, "contained": 0}
    assert (count.topics, count.pairs, count.topics_kept, count.pairs_kept) == (3, 27, 0, 0)
    assert found.verdict == "3 topics dropped: train 3 of 3 (id 1, title 2, identical 1)"
    assert len(clean(pairs, found)) == 0
    assert audit(clean(pairs, found), benchmark()).data_sets["train"].topics == 0


def test_the_audit_is_plain_data() -> None:
    pairs = training(parallel("t1", THAI), parallel("t2"))
    found = audit(pairs, benchmark(english("b", "Why?", THAI)))
    data = json.loads(json.dumps(found.to_json()))
    assert data == found.to_json()
    assert data["benchmark"] == "bench"
    assert data["verdict"] == found.verdict
    assert data["rules"] == {"ngram": 5, "near": 0.7, "contained": 0.95, "shortest": 20}
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
    assert kept_topics(clean(shuffled, found)) == kept_topics(clean(pairs, found))


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


# --- real data --------------------------------------------------------------------------------


def test_mini_trains_on_nothing_of_mini() -> None:
    pairs = pairs_from_collection(training_topics())
    found = audit(pairs, load_benchmark("mini", None).collection)
    assert (found.findings, found.verdict) == ((), "clean")
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
        titles = [fold_title(f.matched) for f in found.findings if f.kind == "title"]
        assert sorted(titles) == ["harvard university", "prime number"]
        assert set(kinds_of(found.findings)) == {"title", "near"}
    contexts = [
        {fold(item.context) for item in benchmark.candidates}
        for benchmark in (real.mlqa, real.xquad)
    ]
    assert not contexts[0] & contexts[1]


@pytest.mark.slow
def test_the_one_similar_sentence_stands_under_a_shared_title(real: Real) -> None:
    for found, other in ((real.on_mlqa, real.xquad), (real.on_xquad, real.mlqa)):
        (near,) = [finding for finding in found.findings if finding.kind == "near"]
        assert near.matched.startswith("A natural number greater than 1 that is not")
        (item,) = [item.text for item in other.candidates if item.id == near.item]
        assert item.startswith("A natural number greater than 1 that is not")


@pytest.mark.slow
def test_cleaned_training_data_is_clean(real: Real) -> None:
    assert real.on_mlqa.verdict == "3 topics dropped: mlqa-r 3 of 1,148 (title 3, near 1)"
    assert real.on_xquad.verdict == "43 topics dropped: xquad-r 43 of 1,190 (title 43, near 1)"
    left = clean(pairs_from_collection(real.mlqa), real.on_mlqa)
    assert len(left) == real.on_mlqa.data_sets["mlqa-r"].pairs_kept
    assert audit(left, real.xquad).verdict == "clean"


# --- the command ------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What one command line did."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def biasbench(capsys: pytest.CaptureFixture[str]) -> Command:
    """A callable that runs one command line; named like the program."""

    def run(*arguments: object) -> Outcome:
        code = run_command([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return run


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
    assert verdict == "clean"


def test_findings_are_a_table_and_no_failure(biasbench: Command, folders: tuple) -> None:
    done = biasbench("data", "audit", *folders)
    assert (done.code, done.err) == (0, "")
    lines = [re.split(r"\s*│\s*", line)[1:-1] for line in done.out.splitlines() if line[0] == "│"]
    assert lines == [
        ["title", "ours", "t1", "A_[red]_title", "b1", "1.000"],
        ["identical", "ours", "t2", "How [bold]so[/bold]?", "en:b1", "1.000"],
    ]
    assert done.out.splitlines()[-1] == "2 topics dropped: ours 2 of 2 (title 2, identical 1)"


def test_a_long_table_says_what_it_leaves_out(biasbench: Command) -> None:
    done = biasbench("data", "audit", "mini", "mini")
    more = re.search(r"^… and ([\d,]+) more; --format json has all$", done.out, flags=re.MULTILINE)
    assert more
    assert sum(line.startswith("│ id") for line in done.out.splitlines()) == 50
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
    assert done.out.endswith("3 topics dropped: mlqa-r 3 of 1,148 (title 3, near 1)\n")


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
