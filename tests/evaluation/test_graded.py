"""Graded relevance: from a collection's judgements to nDCG, against pytrec_eval and ranx."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytrec_eval

from bias_bench.data.collection import Candidate, Collection, Query, Topic
from bias_bench.errors import DataError
from bias_bench.evaluation.entries import judgements_digest, read_entries, topic_clusters
from bias_bench.evaluation.external import rank_external, write_external
from bias_bench.evaluation.given_files import given_files
from bias_bench.evaluation.labels import read_labels
from bias_bench.evaluation.metrics import Metric, compute, parse_metric
from bias_bench.evaluation.ranking import judge
from bias_bench.evaluation.ranks import RankTable, setting_rows, write_ranks
from bias_bench.evaluation.scorers import ranx
from bias_bench.evaluation.settings import parse_setting
from bias_bench.evaluation.trec import read_qrels, read_run
from tests.support.helpers import qrels_text, run_text

NAMES = {
    "nDCG@10": "ndcg_cut_10", "nDCG": "ndcg", "AP": "map", "R@100": "recall_100",
    "R@10": "recall_10", "AP@100": "map_cut_100", "RR": "recip_rank",
}  # fmt: skip
LANGUAGES = ("fa", "zh")
TOPICS, SIZE = 12, 40


def graded_collection(grades: tuple[int, ...] = (1, 2, 3)) -> Collection:
    """Parallel topics with several graded answers in each language, some in one language only."""
    random = np.random.default_rng(7)
    candidates = [Candidate(f"{lang}:{n}", "text", "") for lang in LANGUAGES for n in range(SIZE)]
    relevance, found, other = [], [], []
    for topic in range(TOPICS):
        for language in LANGUAGES:
            drawn = random.permutation(SIZE)[:14]
            number = int(random.integers(1, 12)) if topic or language == "fa" else 0
            for place, candidate in enumerate(drawn.tolist()):
                pair = (f"t{topic}", f"{language}:{candidate}")
                if place < number:
                    relevance.append(pair)
                    found.append(int(random.choice(grades)))
                else:
                    other.append(pair)
    return Collection(
        name="graded",
        languages=LANGUAGES,
        topics=tuple(Topic(f"t{n}", f"t{n}", f"t{n}") for n in range(TOPICS)),
        queries=tuple(Query(f"{lang}:t{n}", "?") for lang in LANGUAGES for n in range(TOPICS)),
        candidates=tuple(candidates),
        relevance=tuple(relevance),
        grades=tuple(found),
        not_relevant=tuple(other),
    )


def scores_of(collection: Collection) -> np.ndarray:
    """Float32 [queries, candidates] without ties."""
    random = np.random.default_rng(8)
    shape = len(collection.queries), len(collection.candidates)
    return random.permuted(np.arange(shape[0] * shape[1])).reshape(shape).astype(np.float32)


def exact_ranks(collection: Collection, language: str, scores: np.ndarray) -> np.ndarray:
    """Ranks as `retrieval.exact` gives them, found by sorting."""
    topics = collection.query_topics(language)
    relevant = collection.relevant_rows[topics]
    ranks = np.zeros((*relevant.shape, 2), dtype=np.int32)
    for row, column in zip(*np.nonzero(relevant >= 0), strict=True):
        candidate = relevant[row, column]
        start, stop = next(pool for pool in collection.pools.values() if candidate < pool.stop)
        above = scores[row] > scores[row, candidate]
        ranks[row, column] = 1 + above[start:stop].sum(), 1 + above.sum()
    return ranks


def by_pytrec_eval(collection: Collection, rows: dict[str, np.ndarray]) -> dict[str, dict]:
    """All metrics of the pool of all candidates, for queries by id with their scores."""
    names = [candidate.id for candidate in collection.candidates]
    run = {q: dict(zip(names, map(float, scores), strict=True)) for q, scores in rows.items()}
    qrels: dict[str, dict[str, int]] = {}
    for query in rows:
        topic = query.split(":")[1]
        own = zip(collection.relevance, collection.grades, strict=True)
        qrels[query] = {candidate: grade for (name, candidate), grade in own if name == topic}
        qrels[query] |= dict.fromkeys(collection.not_relevant_of.get(topic, []), 0)
    measures = {"ndcg_cut", "ndcg", "map", "recall", "map_cut", "recip_rank"}
    return pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)


@pytest.mark.parametrize("metric", NAMES)
def test_exact_ranks_with_grades_score_as_pytrec_eval_does(metric: str, tmp_path: Path) -> None:
    collection = graded_collection()
    scores = scores_of(collection)[:TOPICS]
    setting = parse_setting("fa-all")
    table = setting_rows(
        collection, setting, collection.query_topics("fa"), exact_ranks(collection, "fa", scores)
    )
    write_ranks(tmp_path / "ranks.parquet", [table], {})
    found = RankTable(tmp_path / "ranks.parquet").of("fa-all")
    values = compute(parse_metric(metric), found.ranks, found.grades)
    rows = {query.id: scores[n] for n, query in enumerate(collection.queries_in("fa"))}
    theirs = by_pytrec_eval(collection, rows)
    expected = [theirs[query][NAMES[metric]] for query in found.queries]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9)


def test_grades_change_ndcg_alone() -> None:
    ranks, grades = np.array([[1, 5, 12]], dtype=np.int32), np.array([[1, 3, 2]])
    for metric in map(parse_metric, NAMES):
        same = compute(metric, ranks, grades) == compute(metric, ranks)
        assert same.all() == (metric.measure != "nDCG")


def test_grades_of_1_are_no_grades(tmp_path: Path) -> None:
    binary = graded_collection(grades=(1,))
    assert binary.relevant_grades is None
    topics = binary.query_topics("zh")
    ranks = exact_ranks(binary, "zh", scores_of(binary)[:TOPICS])
    table = setting_rows(binary, parse_setting("zh-all"), topics, ranks)
    assert "grade" not in table.column_names
    write_ranks(tmp_path / "ranks.parquet", [table], {})
    assert RankTable(tmp_path / "ranks.parquet").of("zh-all").grades is None


def test_padding_and_cutoffs_beyond_the_judgements_do_not_count() -> None:
    ranks = np.array([[2, 0, 0], [3, 1, 2]], dtype=np.int32)
    grades = np.array([[2, 0, 0], [1, 3, 2]])
    found = compute(Metric("nDCG", 10), ranks, grades)
    assert found[0] == pytest.approx(1 / np.log2(3))
    assert found[1] == pytest.approx(1.0)


def test_rankings_of_another_tool_are_scored_with_grades(tmp_path: Path) -> None:
    collection = graded_collection()
    scores = scores_of(collection)
    names = [candidate.id for candidate in collection.candidates]
    run = {
        query.id: {names[c]: float(scores[row, c]) for c in np.argsort(-scores[row])[:30]}
        for row, query in enumerate(collection.queries)
    }
    qrels: dict[str, dict[str, int]] = {query.id: {} for query in collection.queries}
    for (topic, candidate), grade in zip(collection.relevance, collection.grades, strict=True):
        for language in LANGUAGES:
            qrels[f"{language}:{topic}"][candidate] = grade
    run_path, qrels_path = tmp_path / "other.run", tmp_path / "graded.qrels"
    run_path.write_text(run_text(run), encoding="utf-8")
    qrels_path.write_text(qrels_text(qrels), encoding="utf-8")
    labels = read_labels()
    loaded = read_entries(
        given_files([str(run_path)], "run"), given_files([str(qrels_path)], "qrels"), labels
    )
    external = rank_external(loaded, labels, depth=20)
    write_external(tmp_path / "folder", external, "tag", {})
    table = RankTable(tmp_path / "folder/ranks.parquet")
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(run)
    metric = Metric("nDCG", 10)
    for language in LANGUAGES:
        found = table.of(f"{language}-all")
        expected = [theirs[query]["ndcg_cut_10"] for query in found.queries]
        np.testing.assert_allclose(
            compute(metric, found.ranks, found.grades), expected, rtol=0, atol=1e-9
        )
        base = tmp_path / "folder"
        written = judge(
            read_run(base / f"trec/multilingual/{language}-all.run.gz"),
            read_qrels(base / f"qrels/multilingual/{language}-all.qrels.gz"),
        )
        by_ranx = ranx.score(written, (metric,))[metric]
        np.testing.assert_allclose(by_ranx, expected, rtol=0, atol=1e-6)


def _digest(folder: Path, qrels: dict[str, dict[str, int]]) -> str:
    folder.mkdir()
    (folder / "a.run").write_text("en:t Q0 en:1 1 1 x\n", encoding="utf-8")
    (folder / "a.qrels").write_text(qrels_text(qrels), encoding="utf-8")
    labels = read_labels()
    loaded = read_entries(
        given_files([str(folder / "a.run")], "run"),
        given_files([str(folder / "a.qrels")], "qrels"),
        labels,
    )
    return judgements_digest(loaded, topic_clusters(loaded, labels))


def test_other_grades_are_other_judgements(tmp_path: Path) -> None:
    one, two = ({"en:t": {"en:1": 1, "en:2": grade}} for grade in (1, 2))
    assert _digest(tmp_path / "one", one) != _digest(tmp_path / "two", two)


def fields_of(collection: Collection) -> dict[str, Any]:
    return {field.name: getattr(collection, field.name) for field in fields(collection)}


# --- the collection ---------------------------------------------------------------------------


def test_a_benchmark_with_other_grades_has_another_fingerprint() -> None:
    graded = graded_collection()
    assert graded.fingerprint != graded_collection(grades=(1,)).fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grades": (1,)}, "1 grades for"),
        ({"grades": (0,) * len(graded_collection().relevance)}, "grade 0 is not relevant"),
        ({"not_relevant": (("t0", "fa:99"),)}, "'t0' -> 'fa:99' points to nothing"),
        ({"parallel": False}, "topics are not parallel"),
    ],
)
def test_judgements_that_contradict_themselves_are_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Collection(**{**fields_of(graded_collection()), **changes})


def test_a_candidate_cannot_be_relevant_and_not() -> None:
    whole = fields_of(graded_collection())
    with pytest.raises(DataError, match="occurs 2 times"):
        Collection(**{**whole, "not_relevant": whole["relevance"][:1]})


def test_some_languages_keep_their_judgements() -> None:
    whole = graded_collection()
    part = whole.keep(["zh"])
    pairs = dict(zip(whole.relevance, whole.grades, strict=True))
    assert dict(zip(part.relevance, part.grades, strict=True)) == {
        pair: grade for pair, grade in pairs.items() if pair[1].startswith("zh:")
    }
    assert {candidate.split(":")[0] for _, candidate in part.not_relevant} == {"zh"}
    assert whole.keep(["zh", "fa"]) is whole
