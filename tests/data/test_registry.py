"""Known benchmarks: names, checksums, the exact content of the published files, own folders."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from bias_bench.data import registry
from bias_bench.data.collection import Collection
from bias_bench.data.ids import language_of
from bias_bench.data.registry import (
    BenchmarkSpec,
    benchmarks,
    check_files,
    data_folder,
    load_benchmark,
)
from bias_bench.errors import DataError, UsageError
from bias_bench.system.files import sha256_file

FAKE = "fake-r"


def language_file(word: str) -> bytes:
    """One question, answered by the second of two sentences."""
    context = f"{word} one. {word} two."
    half = len(word) + 5
    paragraph = {
        "context": context,
        "sentences": [context[:half], context[half + 1 :]],
        "sentence_breaks": [[0, half], [half + 1, len(context)]],
        "qas": [{"id": "q", "question": word, "answers": [{"answer_start": half + 1}]}],
    }
    return json.dumps({"data": [{"paragraphs": [paragraph]}]}).encode()


FILES = {"en": language_file("bees"), "de": language_file("bienen")}


def spec(base_url: str | None) -> BenchmarkSpec:
    return BenchmarkSpec(
        title="fake",
        licence="none",
        licence_url="http://127.0.0.1/",
        terms="none",
        base_url=base_url,
        citation="",
        files={
            language: {
                "bytes": len(data),
                "queries": 1,
                "candidates": 2,
                "sha256": hashlib.sha256(data).hexdigest(),
            }
            for language, data in FILES.items()
        },
    )


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with the intact files of a made-up benchmark that the registry knows."""
    known = {FAKE: spec("http://127.0.0.1/"), "embedded": spec(None)}
    monkeypatch.setattr(registry, "benchmarks", lambda: known)
    folder = tmp_path / "data"
    write_files(folder / FAKE)
    return folder


def write_files(folder: Path) -> None:
    folder.mkdir(parents=True)
    for language, data in FILES.items():
        (folder / f"{language}.json").write_bytes(data)


def missing(path: Path) -> None:
    path.unlink()


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def flipped(path: Path) -> None:
    """One bit of one letter: the size stays, and the JSON still parses."""
    data = path.read_bytes()
    path.write_bytes(data.replace(b"bienen", b"cienen", 1))


DAMAGE = [
    (missing, "missing"),
    (folder_instead, "missing"),
    (truncated, "damaged: {less} bytes, expected {size}"),
    (empty, "damaged: 0 bytes, expected {size}"),
    (longer, "damaged: {more} bytes, expected {size}"),
    (flipped, "damaged: sha256"),
]
damaged = pytest.mark.parametrize(
    ("damage", "problem"), DAMAGE, ids=[damage.__name__ for damage, _ in DAMAGE]
)


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("xquad", "did you mean 'xquad-r'?"),
        pytest.param(
            "XQuAD-R",
            "did you mean 'xquad-r'?",
        ),
        ("mlqar", "did you mean 'mlqa-r'?"),
        ("minni", "did you mean 'mini'?"),
        ("something else", "known: belebele, mini, miracl, miracl-judged, mlqa-r, xquad-r"),
        ("no/such/folder", "known: belebele, mini, miracl, miracl-judged, mlqa-r, xquad-r"),
    ],
)
def test_unknown_benchmark_is_a_usage_error_with_the_nearest_name(wrong: str, hint: str) -> None:
    for use in (load_benchmark, data_folder, check_files):
        with pytest.raises(UsageError) as caught:
            use(wrong, None)
        assert str(caught.value).startswith(f"unknown benchmark '{wrong}': {hint}")
        assert ("<language>.json" in str(caught.value)) == (use is load_benchmark)


def test_a_spec_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValueError, match="base_uri"):
        BenchmarkSpec(**{**spec(None).model_dump(), "base_uri": "http://127.0.0.1/"})


@pytest.mark.parametrize("name", benchmarks())
def test_registered_benchmark_is_complete(name: str) -> None:
    registered = benchmarks()[name]
    assert registered.licence
    assert registered.licence_url.startswith("https://")
    assert registered.citation.lstrip().startswith("@")
    assert registered.base_url is None or registered.base_url.endswith("/")
    assert all(len(bytes.fromhex(file.sha256)) == 32 for file in registered.files.values())
    assert registered.demonstration == (name == "mini")


# --- where the files lie ----------------------------------------------------------------------


def test_files_are_looked_up_below_the_data_folder_else_in_the_users_cache(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BIASBENCH_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    assert data_folder(FAKE, fake) == fake / FAKE
    assert data_folder(FAKE, None) == tmp_path / "cache" / "biasbench" / "data" / FAKE
    monkeypatch.setenv("BIASBENCH_CACHE", str(tmp_path / "chosen"))
    assert data_folder(FAKE, None) == tmp_path / "chosen" / "data" / FAKE
    assert data_folder("embedded", fake) == data_folder("embedded", None)


def test_embedded_benchmark_needs_no_data_folder(tmp_path: Path) -> None:
    loaded = load_benchmark("mini", tmp_path / "nowhere")
    assert loaded.collection.name == "mini"
    assert loaded.spec is benchmarks()["mini"]


# --- checksums --------------------------------------------------------------------------------


def test_intact_files_pass_and_load_with_their_checksums(fake: Path) -> None:
    assert [(check.language, check.problem) for check in check_files(FAKE, fake)] == [
        ("en", None),
        ("de", None),
    ]
    loaded = load_benchmark(FAKE, fake)
    assert loaded.collection.languages == ("en", "de")
    assert loaded.collection.relevance == (("q", "en:0-0-1"), ("q", "de:0-0-1"))
    assert loaded.sha256 == {
        name: sha256_file(fake / FAKE / name) for name in ("en.json", "de.json")
    }


@damaged
def test_damage_is_found_and_named(fake: Path, damage: Any, problem: str) -> None:
    damage(fake / FAKE / "de.json")
    english, german = check_files(FAKE, fake)
    size = len(FILES["de"])
    assert english.problem is None
    assert german.path == fake / FAKE / "de.json"
    assert german.problem is not None
    assert german.problem.startswith(problem.format(size=size, less=size - 1, more=size + 1))


@damaged
def test_damaged_files_do_not_load(fake: Path, damage: Any, problem: str) -> None:
    damage(fake / FAKE / "de.json")
    with pytest.raises(DataError) as caught:
        load_benchmark(FAKE, fake)
    message = str(caught.value)
    assert message.startswith(f"{fake / FAKE / 'de.json'}: {problem.split(' ', maxsplit=1)[0]}")
    assert message.endswith(f"; run `biasbench data fetch {FAKE} --data-dir {fake}`")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "fix"),
    [(FAKE, f"run `biasbench data fetch {FAKE}`"), ("embedded", "reinstall biasbench")],
)
def test_the_mend_fits_where_the_files_should_be(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fix: str
) -> None:
    assert fake.is_dir()
    monkeypatch.delenv("BIASBENCH_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    with pytest.raises(DataError) as caught:
        load_benchmark(name, None)
    assert str(caught.value).endswith(f"en.json: missing; {fix}")


# --- a folder of the user's own ---------------------------------------------------------------


def test_a_folder_of_language_files_is_a_benchmark(tmp_path: Path) -> None:
    folder = tmp_path / "my-own"
    write_files(folder)
    (folder / "LICENSE").write_text("free", encoding="utf-8")
    loaded = load_benchmark(str(folder), None)
    assert loaded.spec is None
    assert loaded.collection.name == "my-own"
    assert loaded.collection.languages == ("de", "en")
    assert [query.id for query in loaded.collection.queries] == ["de:q", "en:q"]
    assert loaded.collection.topics[0].paragraph == "en:0-0"
    assert loaded.sha256 == {name: sha256_file(folder / name) for name in ("de.json", "en.json")}


def test_a_folder_given_by_a_relative_path_takes_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "my-own")
    monkeypatch.chdir(tmp_path / "my-own")
    assert load_benchmark(".", None).collection.name == "my-own"


def test_a_known_name_is_not_shadowed_by_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "mini")
    monkeypatch.chdir(tmp_path)
    assert len(load_benchmark("mini", None).collection.languages) == 11


def test_a_folder_without_language_files_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no data", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_benchmark(str(tmp_path), None)
    assert str(caught.value).startswith(f"{tmp_path}: holds no <language>.json in LAReQA")


def test_a_file_name_that_is_no_language_code_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path / "own")
    (tmp_path / "own" / "en.json").rename(tmp_path / "own" / "en+GB.json")
    with pytest.raises(DataError, match=r"'en\+GB' cannot be a language code"):
        load_benchmark(str(tmp_path / "own"), None)


# --- the published files ----------------------------------------------------------------------

XQUAD_CANDIDATES = {
    "ar": 1222,
    "de": 1276,
    "el": 1234,
    "en": 1180,
    "es": 1215,
    "hi": 1244,
    "ru": 1219,
    "th": 852,
    "tr": 1167,
    "vi": 1209,
    "zh": 1196,
}
MLQA_CANDIDATES = {
    "ar": 2545,
    "de": 2362,
    "en": 6264,
    "es": 1787,
    "hi": 2426,
    "vi": 2828,
    "zh": 2322,
}
MLQA_QUERIES = {
    "ar": 517,
    "de": 512,
    "en": 1148,
    "es": 500,
    "hi": 507,
    "vi": 511,
    "zh": 504,
}
PUBLISHED = {
    "xquad-r": (dict.fromkeys(XQUAD_CANDIDATES, 1190), XQUAD_CANDIDATES),
    "mlqa-r": (MLQA_QUERIES, MLQA_CANDIDATES),
}


@pytest.fixture(scope="module", params=PUBLISHED)
def published(request: pytest.FixtureRequest, data_dir: Path) -> Collection:
    return load_benchmark(request.param, data_dir).collection


@pytest.fixture(scope="module")
def answered_in(published: Collection) -> dict[str, set[str]]:
    """The languages in which each topic has a relevant candidate."""
    languages: dict[str, set[str]] = defaultdict(set)
    for topic, candidate in published.relevance:
        languages[topic].add(language_of(candidate))
    return languages


def setting_sizes(collection: Collection, answered_in: dict[str, set[str]]) -> dict[str, int]:
    """Queries of every setting `a-b`: asked in `a`, with a relevant candidate in `b`."""
    return {
        f"{asked}-{pool}": sum(
            pool in answered_in[query.id.split(":", 1)[1]] for query in collection.queries_in(asked)
        )
        for asked, pool in product(collection.languages, repeat=2)
    }


def test_published_benchmark_has_exactly_its_queries_and_candidates(published: Collection) -> None:
    queries, candidates = PUBLISHED[published.name]
    assert Counter(language_of(query.id) for query in published.queries) == queries
    assert Counter(language_of(item.id) for item in published.candidates) == candidates
    assert {lang: stop - start for lang, (start, stop) in published.pools.items()} == candidates


def test_registered_counts_are_those_of_the_published_files(published: Collection) -> None:
    registered = benchmarks()[published.name].files
    queries, candidates = PUBLISHED[published.name]
    assert {language: file.queries for language, file in registered.items()} == queries
    assert {language: file.candidates for language, file in registered.items()} == candidates


def test_published_ids_are_unique_and_fit_for_trec_files(published: Collection) -> None:
    for ids in (
        [topic.id for topic in published.topics],
        [query.id for query in published.queries],
        [item.id for item in published.candidates],
    ):
        assert len(ids) == len(set(ids))
        assert not [identifier for identifier in ids if len(identifier.split()) != 1]


def test_every_published_query_has_one_relevant_candidate_in_its_own_language(
    published: Collection,
) -> None:
    asked = {tuple(query.id.split(":", 1)) for query in published.queries}
    pairs = [(language_of(candidate), topic) for topic, candidate in published.relevance]
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == asked


def test_published_topics_are_as_parallel_as_published(
    published: Collection, answered_in: dict[str, set[str]]
) -> None:
    expected = {"xquad-r": {11: 1190}, "mlqa-r": {4: 820, 3: 263, 2: 65}}[published.name]
    assert Counter(map(len, answered_in.values())) == expected
    assert len(published.topics) == sum(expected.values())
    assert published.relevant_rows.shape == (len(published.topics), max(expected))


def test_published_settings_have_the_published_sizes(
    published: Collection, answered_in: dict[str, set[str]]
) -> None:
    sizes = setting_sizes(published, answered_in)
    smallest, largest = {"xquad-r": (1190, 1190), "mlqa-r": (161, 1148)}[published.name]
    assert len(sizes) == len(PUBLISHED[published.name][0]) ** 2
    assert (min(sizes.values()), max(sizes.values())) == (smallest, largest)
    assert all(
        sizes[f"{a}-{b}"] == sizes[f"{b}-{a}"] for a, b in product(published.languages, repeat=2)
    )


def test_published_clusters_are_english_articles_and_paragraphs(published: Collection) -> None:
    articles = {topic.article for topic in published.topics}
    paragraphs = {topic.paragraph for topic in published.topics}
    assert all(cluster.startswith("en:") for cluster in articles | paragraphs)
    assert all(topic.paragraph.startswith(f"{topic.article}-") for topic in published.topics)
    if published.name == "xquad-r":
        assert (len(articles), len(paragraphs)) == (48, 240)
