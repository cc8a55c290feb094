"""Judged rankings: the policies for ties, missing queries and queries without relevance."""

from __future__ import annotations

from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.evaluation.ranking import JudgedRankings, judge
from bias_bench.evaluation.trec import QrelsTable, RunTable
from tests.support.helpers import Qrels, Run, canonical_order, unhurried


def _run(run: Run) -> RunTable:
    rows = [(query, name, score) for query, found in run.items() for name, score in found.items()]
    return RunTable(
        pa.array([query for query, _, _ in rows], pa.string()),
        pa.array([name for _, name, _ in rows], pa.string()),
        np.array([score for _, _, score in rows], dtype=np.float32),
    )


def _qrels(qrels: Qrels) -> QrelsTable:
    rows = [(query, name, grade) for query, some in qrels.items() for name, grade in some.items()]
    return QrelsTable(
        pa.array([query for query, _, _ in rows], pa.string()),
        pa.array([name for _, name, _ in rows], pa.string()),
        np.array([grade for _, _, grade in rows], dtype=np.int64),
    )


def _judge(run: Run, qrels: Qrels) -> JudgedRankings:
    return judge(_run(run), _qrels(qrels))


def test_ties_rank_by_id_descending() -> None:
    run = {"q": {"b": 0.5, "a": 0.5, "ä": 0.5, "en:9": 0.5, "en:10": 0.5, "top": 0.9}}
    grades = {"top": 6, "ä": 5, "en:9": 4, "en:10": 3, "b": 2, "a": 1}
    assert _judge(run, {"q": grades}).grades.tolist() == [[6, 5, 4, 3, 2, 1]]


def test_scores_are_compared_as_float32() -> None:
    close = {"a": 0.5 + 1e-12, "b": 0.5, "c": -0.0, "d": 0.0}
    grades = {"a": 1, "b": 2, "c": 3, "d": 4}
    assert _judge({"q": close}, {"q": grades}).grades.tolist() == [[2, 1, 4, 3]]


@unhurried
@given(
    st.dictionaries(
        st.sampled_from(["q1", "q2", "q3"]),
        st.dictionaries(
            st.text("abé中:19", min_size=1, max_size=3),
            st.sampled_from([-1.5, -0.0, 0.0, 0.25, 0.5]),
            min_size=1,
            max_size=12,
        ),
        min_size=1,
    ),
    st.randoms(use_true_random=False),
)
def test_order_is_canonical_whatever_the_order_of_lines(
    run: dict[str, dict[str, float]], random: Random
) -> None:
    """Every candidate has a grade of its own, so grades show the order."""
    qrels = {
        query: {name: number + 1 for number, name in enumerate(results)}
        for query, results in run.items()
    }
    table = _run(run)
    rows = list(range(len(table.scores)))
    random.shuffle(rows)
    shuffled = RunTable(
        table.queries.take(pa.array(rows)),
        table.candidates.take(pa.array(rows)),
        table.scores[rows],
    )
    rankings = judge(shuffled, _qrels(qrels))
    assert rankings.queries == sorted(run)
    for query, grades in zip(rankings.queries, rankings.grades.tolist(), strict=True):
        expected = [qrels[query][name] for name in canonical_order(run[query])]
        assert grades == expected + [0] * (len(grades) - len(expected))


def test_a_missing_query_has_an_empty_ranking() -> None:
    rankings = _judge(
        {"q2": {"a": 2.0, "b": 1.0}}, {"q1": {"a": 1}, "q2": {"b": 1}, "q3": {"c": 1}}
    )
    assert rankings.queries == ["q1", "q2", "q3"]
    assert (rankings.ranked >= 0).tolist() == [[False] * 2, [True] * 2, [False] * 2]
    assert rankings.grades.tolist() == [[0, 0], [0, 1], [0, 0]]
    assert rankings.judged_grades.tolist() == [[1], [1], [1]]
    assert rankings.unjudged == []


def test_shorter_rankings_end_in_padding() -> None:
    rankings = _judge(
        {"q1": {"a": 1.0}, "q2": {"a": 1.0, "b": 2.0}}, {"q1": {"a": 1}, "q2": {"a": 1}}
    )
    assert (rankings.ranked >= 0).tolist() == [[True, False], [True, True]]
    assert rankings.grades.tolist() == [[1, 0], [0, 1]]


def test_extra_queries_are_reported_and_left_out() -> None:
    judged = {"q1": {"a": 1.0, "b": 0.5}}
    extra = {"q9": {"a": 9.0}, "q0": {"z": 1.0}}
    rankings = _judge({**extra, **judged}, {"q1": {"b": 1}})
    assert rankings.unjudged == ["q0", "q9"]
    assert rankings.queries == ["q1"]
    assert rankings.grades.tolist() == [[0, 1]]
    assert rankings.without_relevant == []


@pytest.mark.parametrize("grade", [0, -1])
def test_queries_without_a_relevant_candidate_are_listed_and_left_out(grade: int) -> None:
    run = {"q1": {"a": 1.0}, "q2": {"a": 1.0}}
    rankings = _judge(run, {"q2": {"a": grade, "b": grade}, "q1": {"a": 1}, "q0": {"a": grade}})
    assert rankings.queries == ["q1"]
    assert rankings.without_relevant == ["q0", "q2"]
    assert rankings.unjudged == []


def test_graded_judgements_are_kept_for_ranked_and_judged_candidates() -> None:
    rankings = _judge(
        {"q": {"a": 3.0, "x": 2.0, "b": 1.0}}, {"q": {"b": 3, "c": 2, "a": 0, "d": -1}}
    )
    assert rankings.grades.tolist() == [[0, 0, 3]]
    assert rankings.judged_grades.tolist() == [[3, 2, 0, -1]]
    ranked, judged = rankings.ranked[0].tolist(), rankings.judged[0].tolist()
    assert ranked.index(judged[0]) == 2
    assert ranked.index(judged[2]) == 0
    assert not {judged[1], judged[3]} & set(ranked)


def test_candidates_are_judged_by_their_own_query_only() -> None:
    run = {"q1": {"a": 2.0, "b": 1.0}, "q2": {"a": 2.0, "b": 1.0}}
    rankings = _judge(run, {"q1": {"a": 1}, "q2": {"b": 1}})
    assert rankings.grades.tolist() == [[1, 0], [0, 1]]


def test_interleaved_queries_are_put_together() -> None:
    table = RunTable(
        pa.array(["q2", "q1", "q2", "q1"]),
        pa.array(["a", "a", "b", "b"]),
        np.array([1, 1, 2, 0], dtype=np.float32),
    )
    rankings = judge(table, _qrels({"q1": {"a": 1}, "q2": {"a": 1}}))
    assert rankings.grades.tolist() == [[1, 0], [0, 1]]


def test_an_empty_run_ranks_nothing() -> None:
    rankings = _judge({}, {"q1": {"a": 1}, "q2": {"b": 2, "a": 1}})
    assert rankings.queries == ["q1", "q2"]
    assert rankings.ranked.shape == rankings.grades.shape == (2, 0)
    assert rankings.judged_grades.tolist() == [[1, 0], [2, 1]]


def test_without_judgements_every_query_is_unjudged() -> None:
    rankings = _judge({"q2": {"a": 1.0}, "q1": {"a": 1.0}}, {})
    assert rankings.queries == []
    assert rankings.unjudged == ["q1", "q2"]
