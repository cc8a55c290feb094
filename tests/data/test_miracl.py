"""MIRACL: the published topics and judgements, its layout, and every fault in the files."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from bias_bench.cli import run_command
from bias_bench.data.collection import Collection
from bias_bench.data.ids import language_of
from bias_bench.data.miracl import GENERATED_NOTE, stream_corpus
from bias_bench.data.miracl_files import (
    ELSEWHERE,
    SUMS,
    annotation_file,
    annotation_name,
    corpus_folder,
    miracl_facts,
    read_judgements,
    read_topics,
)
from bias_bench.data.registry import benchmarks, check_files, data_folder, load_benchmark
from bias_bench.errors import DataError, UsageError
from bias_bench.system.files import sha256_file
from tests.support.generated_miracl import Plan, generate
from tests.support.miracl_data import SHARDS, put, put_shard, stand_in, write_miracl, write_sums

# --- the published files ----------------------------------------------------------------------

QUERIES = {
    "ar": 2896, "bn": 411, "de": 305, "en": 799, "es": 648, "fa": 632, "fi": 1271, "fr": 343,
    "hi": 350, "id": 960, "ja": 860, "ko": 213, "ru": 1252, "sw": 482, "te": 828, "th": 733,
    "yo": 119, "zh": 393,
}  # fmt: skip


@pytest.fixture(scope="module")
def published(data_dir: Path) -> Path:
    folder = data_dir / "miracl"
    if not folder.is_dir():
        pytest.skip("BIASBENCH_DATA has no miracl/ with topics and qrels")
    return folder


@pytest.mark.parametrize("language", QUERIES)
def test_published_topics_and_judgements_are_those_recorded(published: Path, language: str) -> None:
    facts = miracl_facts().languages[language]
    topics, qrels = (annotation_file(published, language, kind) for kind in ("topics", "qrels"))
    assert (sha256_file(topics), sha256_file(qrels)) == (facts.topics, facts.qrels)
    questions = read_topics(topics)
    judged = read_judgements(qrels, questions, topics)
    assert len(questions) == facts.queries == QUERIES[language]
    assert len(judged.line) == facts.judged
    assert all(judged.relevant(topic) for topic in questions)


def test_all_18_languages_have_13495_topics_and_119924_judged_passages() -> None:
    whole, judged = benchmarks()["miracl"].sizes, benchmarks()["miracl-judged"].sizes
    assert {language: size.queries for language, size in whole.items()} == QUERIES
    assert sum(size.queries for size in judged.values()) == 13_495
    assert sum(size.candidates for size in judged.values()) == 119_924


def test_recorded_numbers_of_passages_are_those_of_the_prebuilt_indexes() -> None:
    """An independent count: the documents of pyserini's Lucene indexes of the same corpora."""
    source = Path(pytest.importorskip("pyserini").__file__).parent / "prebuilt_index_info.py"
    text = source.read_text(encoding="utf-8")
    for language, facts in miracl_facts().languages.items():
        _, found, rest = text.partition(f'"miracl-v1.0-{language}": {{')
        assert found
        entry = rest.partition("}")[0]
        assert f'"documents": {facts.passages},' in entry


def test_the_paper_averages_15_languages_and_the_names_say_how_many() -> None:
    averages = benchmarks()["miracl"].averages
    assert set(averages["all-18"]) == set(QUERIES)
    assert set(QUERIES) - set(averages["paper-15"]) == {"de", "en", "yo"}


def test_what_is_not_on_this_disk_is_named_with_the_command_that_fetches_it(
    published: Path,
) -> None:
    with pytest.raises(DataError) as caught:
        load_benchmark("miracl", published.parent, ["yo"])
    shard = published / "miracl-corpus-v1.0-yo/docs-0.jsonl.gz"
    assert str(caught.value) == (
        f"{shard}: missing; run `biasbench data fetch miracl --language yo --data-dir "
        f"{published.parent}`"
    )


def test_published_judgements_with_a_generated_corpus_are_a_whole_benchmark(
    published: Path, tmp_path: Path
) -> None:
    generate(Plan(1_500, ["te", "yo"], judged=published), tmp_path / "miracl")
    collection = load_benchmark("miracl", tmp_path).collection
    assert Counter(language_of(query.id) for query in collection.queries) == {"te": 828, "yo": 119}
    assert Counter(language_of(item.id) for item in collection.candidates) == {
        "te": 1_500,
        "yo": 1_500,
    }
    assert len(collection.relevance) + len(collection.not_relevant) == 1_606 + 1_188
    judged = load_benchmark("miracl-judged", tmp_path).collection
    assert Counter(language_of(item.id) for item in judged.candidates) == {"te": 1_457, "yo": 942}


# --- what is read -----------------------------------------------------------------------------


def test_topics_of_two_languages_stay_apart_and_judgements_are_all_kept(tmp_path: Path) -> None:
    collection = load_benchmark("miracl", write_miracl(tmp_path)).collection
    assert collection.languages == ("sw", "yo")
    assert [topic.id for topic in collection.topics] == ["sw:7", "sw:8", "yo:7", "yo:8"]
    assert [query.id for query in collection.queries] == [
        "sw:sw:7",
        "sw:sw:8",
        "yo:yo:7",
        "yo:yo:8",
    ]
    assert collection.relevance[:3] == (("sw:7", "sw:1#0"), ("sw:7", "sw:2#0"), ("sw:8", "sw:3#4"))
    assert collection.not_relevant[:2] == (("sw:7", "sw:1#1"), ("sw:8", "sw:2#0"))
    assert not collection.parallel
    first = collection.topics[0]
    assert (first.paragraph, first.article, first.title) == ("sw:1#0", "sw:1", "Bees")


def test_passages_are_in_descending_order_of_ids_and_begin_with_their_title(tmp_path: Path) -> None:
    collection = load_benchmark("miracl", write_miracl(tmp_path)).collection
    own = [item for item in collection.candidates if language_of(item.id) == "yo"]
    assert [item.id for item in own] == ["yo:9#9", "yo:3#4", "yo:2#0", "yo:1#1", "yo:1#0"]
    assert own[-1].text == "Bees they dance"
    assert own[1].text == "Keepers"
    assert collection.candidate_texts("yo", with_context=True) == [item.text for item in own]


def test_shards_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    shards = [[(f"{number}#0", "", "text")] for number in range(12)]
    folder = write_miracl(tmp_path, shards, qrels={"7": {"3#0": 1}, "8": {"4#0": 1}}) / "miracl"
    found = [passage.id for passage in stream_corpus(folder, "sw", {})]
    assert found == [f"{number}#0" for number in range(12)]


def test_the_corpus_is_a_stream_that_reads_no_further_than_asked(tmp_path: Path) -> None:
    folder = write_miracl(tmp_path) / "miracl"
    damaged = corpus_folder(folder, "sw") / "docs-1.jsonl.gz"
    damaged.write_bytes(b"no gzip")
    passages = stream_corpus(folder, "sw", {})
    assert [next(passages).id for _ in SHARDS[0]] == ["1#0", "1#1", "9#9"]
    with pytest.raises(DataError, match="damaged"):
        next(passages)


def test_judged_passages_alone_are_the_small_variant_and_say_so(tmp_path: Path) -> None:
    folder = write_miracl(tmp_path)
    whole, judged = (load_benchmark(name, folder) for name in ("miracl", "miracl-judged"))
    assert [item.id for item in judged.collection.candidates if item.id.startswith("sw")] == [
        "sw:1#0", "sw:1#1", "sw:2#0", "sw:3#4",
    ]  # fmt: skip
    assert judged.collection.relevance == whole.collection.relevance
    note = benchmarks()["miracl-judged"].note
    assert note is not None
    assert judged.note == f"{GENERATED_NOTE} {note}"
    assert "must not be set beside" in note
    assert data_folder("miracl-judged", folder) == data_folder("miracl", folder)


def test_generated_data_never_have_the_name_of_the_benchmark(tmp_path: Path) -> None:
    folder = write_miracl(tmp_path)
    assert load_benchmark("miracl", folder).collection.name == "miracl-generated"
    assert load_benchmark("miracl-judged", folder).collection.name == "miracl-judged-generated"


def test_topics_and_judgements_of_all_languages_may_lie_in_one_folder(tmp_path: Path) -> None:
    before = load_benchmark("miracl", write_miracl(tmp_path)).collection
    folder = tmp_path / "miracl"
    for language in ("sw", "yo"):
        for kind in ("topics", "qrels"):
            published = folder / annotation_name(language, kind)  # type: ignore[arg-type]
            (folder / kind).mkdir(exist_ok=True)
            published.rename(folder / kind / published.name)
    assert load_benchmark("miracl", tmp_path).collection.fingerprint == before.fingerprint


def test_some_languages_can_be_asked_for(tmp_path: Path) -> None:
    folder = write_miracl(tmp_path)
    only = load_benchmark("miracl", folder, ["yo"])
    assert only.collection.languages == ("yo",)
    assert all("-yo" in name for name in only.sha256)
    with pytest.raises(UsageError, match="no language 'xx'"):
        load_benchmark("miracl", folder, ["xx"])
    with pytest.raises(DataError, match="holds none of fi"):
        load_benchmark("miracl", folder, ["fi"])


def test_every_file_that_was_read_is_recorded_with_its_checksum(tmp_path: Path) -> None:
    folder = write_miracl(tmp_path, languages=["sw"])
    recorded = load_benchmark("miracl", folder).sha256
    corpus = corpus_folder(folder / "miracl", "sw")
    assert recorded[f"{corpus.name}/docs-1.jsonl.gz"] == sha256_file(corpus / "docs-1.jsonl.gz")
    assert len(recorded) == 2 + len(SHARDS)


# --- faults -----------------------------------------------------------------------------------

Damage = Callable[[Path], None]


def corpus(folder: Path) -> Path:
    return corpus_folder(folder, "yo")


def missing_shard(folder: Path) -> None:
    (corpus(folder) / "docs-1.jsonl.gz").unlink()


def missing_shard_without_sums(folder: Path) -> None:
    missing_shard(folder)
    write_sums(corpus(folder))


def wrong_checksum(folder: Path) -> None:
    put_shard(corpus(folder) / "docs-1.jsonl.gz", [("2#0", "", "other"), ("3#4", "", "other")])


def broken_gzip(folder: Path) -> None:
    path = corpus(folder) / "docs-1.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-9])
    write_sums(corpus(folder))


def duplicate(folder: Path) -> None:
    put_shard(corpus(folder) / "docs-1.jsonl.gz", [("2#0", "", "a"), ("1#1", "", "b")])
    write_sums(corpus(folder))


def unknown_passage(folder: Path) -> None:
    path = folder / annotation_name("yo", "qrels")
    put(path, ["7\tQ0\t1#0\t1", "7\tQ0\t5#5\t1", "7\tQ0\t6#6\t0"])


def judged_twice(folder: Path) -> None:
    put(folder / annotation_name("yo", "qrels"), ["7\tQ0\t1#0\t1", "7\tQ0\t1#0\t0"])


def topic_twice(folder: Path) -> None:
    put(folder / annotation_name("yo", "topics"), ["7\ta", "7\tb"])


def spaces_in_docid(folder: Path) -> None:
    put_shard(corpus(folder) / "docs-1.jsonl.gz", [("2#0", "", "a"), ("3 #4", "", "b")])
    write_sums(corpus(folder))


def strange_sums(folder: Path) -> None:
    put(corpus(folder) / SUMS, ["0" * 64 + "  docs-0.jsonl.gz", "no checksum"])


def other_marker(folder: Path) -> None:
    (folder / "GENERATED.json").write_text(json.dumps({"what": "?", "seed": 0}), encoding="utf-8")


FAULTS: list[tuple[Damage, str]] = [
    (missing_shard, "{corpus}/docs-1.jsonl.gz: missing; {elsewhere}"),
    (missing_shard_without_sums, "{corpus}: 3 passages, expected 5; {elsewhere}"),
    (wrong_checksum, "{corpus}/docs-1.jsonl.gz: damaged: sha256 "),
    (broken_gzip, "{corpus}/docs-1.jsonl.gz: damaged after line "),
    (duplicate, "{corpus}/docs-1.jsonl.gz: line 2: docid '1#1' occurs twice"),
    (unknown_passage, "{qrels}: line 2: passage '5#5' is in no file of {corpus}; "),
    (judged_twice, "{qrels}: line 2: passage '1#0' is judged twice for topic '7'"),
    (topic_twice, "{topics}: line 2: topic '7' occurs twice"),
    (spaces_in_docid, "{corpus}/docs-1.jsonl.gz: line 2: docid '3 #4' is empty or holds white"),
    (strange_sums, "{corpus}/SHA256SUMS: line 2: expected a sha256 and docs-<n>.jsonl.gz"),
    (other_marker, "{folder}/GENERATED.json: passages: "),
]


@pytest.mark.parametrize(("damage", "expected"), FAULTS, ids=[f.__name__ for f, _ in FAULTS])
def test_faults_are_one_line_with_their_place(
    tmp_path: Path, damage: Damage, expected: str
) -> None:
    folder = write_miracl(tmp_path) / "miracl"
    damage(folder)
    with pytest.raises(DataError) as caught:
        load_benchmark("miracl", tmp_path)
    places = {
        "elsewhere": ELSEWHERE,
        "folder": folder,
        "corpus": corpus(folder),
        "topics": folder / annotation_name("yo", "topics"),
        "qrels": folder / annotation_name("yo", "qrels"),
    }
    assert str(caught.value).startswith(expected.format(**places))
    assert "\n" not in str(caught.value)


def test_the_checks_find_what_is_missing_or_damaged(tmp_path: Path) -> None:
    folder = write_miracl(tmp_path) / "miracl"
    assert {check.problem for check in check_files("miracl", tmp_path)} == {None}
    wrong_checksum(folder)
    (folder / annotation_name("sw", "topics")).unlink()
    bad = {check.path: check.problem for check in check_files("miracl", tmp_path) if check.problem}
    assert set(bad) == {
        folder / annotation_name("sw", "topics"),
        corpus(folder) / "docs-1.jsonl.gz",
    }
    assert bad[folder / annotation_name("sw", "topics")] == "missing"
    assert [check.language for check in check_files("miracl", tmp_path, ["sw"])] == ["sw"] * 4


def test_shards_without_a_checksum_are_unpacked_to_check_them(tmp_path: Path) -> None:
    folder = write_miracl(tmp_path, SHARDS[:1], qrels={"7": {"1#0": 1}, "8": {"1#1": 1}}) / "miracl"
    (corpus(folder) / SUMS).unlink()
    shard = corpus(folder) / "docs-0.jsonl.gz"
    assert {check.problem for check in check_files("miracl", tmp_path)} == {None}
    shard.write_bytes(shard.read_bytes()[:-5])
    assert {check.problem for check in check_files("miracl", tmp_path, deep=False)} == {None}
    problems = {c.path: c.problem for c in check_files("miracl", tmp_path) if c.problem}
    assert list(problems) == [shard]
    assert problems[shard].startswith("damaged after line")


# --- generated data ---------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_equal_seeds_generate_equal_bytes_and_others_other_texts(tmp_path: Path) -> None:
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    for folder, seed in ((first, 3), (again, 3), (other, 4)):
        generate(Plan(50, ["sw", "zh"], seed=seed, topics=3), folder)
    assert contents(first) == contents(again)
    shard = "miracl-corpus-v1.0-sw/docs-0.jsonl.gz"
    assert contents(first)[shard] != contents(other)[shard]


def test_a_language_is_generated_alike_whatever_else_is(tmp_path: Path) -> None:
    generate(Plan(50, ["sw"], topics=3), tmp_path / "alone")
    generate(Plan(50, ["sw", "zh"], topics=3), tmp_path / "both")
    alone, both = contents(tmp_path / "alone"), contents(tmp_path / "both")
    assert {name: both[name] for name in alone if "GENERATED" not in name} == {
        name: data for name, data in alone.items() if "GENERATED" not in name
    }


def test_generated_data_have_the_published_layout(tmp_path: Path) -> None:
    folder = stand_in(tmp_path) / "miracl"
    with gzip.open(
        folder / "miracl-corpus-v1.0-sw/docs-2.jsonl.gz", "rt", encoding="utf-8"
    ) as rows:
        passages = [json.loads(row) for row in rows]
    assert len(passages) == 60 - 2 * 25
    assert all(list(passage) == ["docid", "title", "text"] for passage in passages)
    assert (folder / "miracl-v1.0-sw/topics/topics.miracl-v1.0-sw-dev.tsv").is_file()
    assert (folder / "miracl-v1.0-sw/qrels/qrels.miracl-v1.0-sw-dev.tsv").is_file()


def shares(collection: Collection) -> tuple[float, float]:
    """Mean share of a question's words in passages that answer it, and in judged others."""
    texts = {item.id: set(item.text.split()) for item in collection.candidates}
    words = {
        topic: set(query.text.rstrip("?").split())
        for topic, query in zip(
            (topic.id for topic in collection.topics), collection.queries, strict=True
        )
    }
    means = []
    for pairs in (collection.relevance, collection.not_relevant):
        found = [len(words[topic] & texts[name]) / len(words[topic]) for topic, name in pairs]
        means.append(sum(found) / len(found))
    return means[0], means[1]


def test_generated_answers_hold_more_of_the_question_but_not_all(tmp_path: Path) -> None:
    generate(Plan(400, ["sw"], topics=30), tmp_path / "miracl")
    relevant, other = shares(load_benchmark("miracl", tmp_path).collection)
    assert 0.4 < relevant < 0.7
    assert 0.1 < other < relevant - 0.1


# --- commands ---------------------------------------------------------------------------------


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run_command([str(argument) for argument in arguments])
    return (code, *capsys.readouterr())


def test_verify_and_fetch_can_be_asked_for_one_language(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_miracl(tmp_path)
    missing_shard(tmp_path / "miracl")
    only = ("--data-dir", tmp_path, "--language")
    assert command(capsys, "data", "verify", "miracl", *only, "sw")[0] == 0
    code, _, error = command(capsys, "data", "verify", "miracl", *only, "yo")
    assert code == 3
    assert "miracl: 1 of 4 files missing or damaged (docs-1.jsonl.gz)" in error
    code, _, error = command(capsys, "data", "fetch", "miracl", *only, "tr")
    assert code == 2
    assert "miracl: no language 'tr'" in error


def test_citation_and_licence_are_miracls(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("miracl", "miracl-judged"):
        code, out, _ = command(capsys, "data", "cite", name)
        assert code == 0
        assert "MIRACL" in out
        assert "10.1162/tacl_a_00595" in out
        assert benchmarks()[name].licence == "Apache 2.0"
