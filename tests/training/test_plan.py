"""The batch plan: shares, exactness, no collisions, purity, invariance."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bias_bench.data.mini import training_topics
from bias_bench.data.pairs import Pairs, join_pairs, linked_groups, pairs_from_collection
from bias_bench.errors import DataError
from bias_bench.training.plan import BatchPlan, Source, dealt, turns

MIXTURES = [
    {"mono": 1.0},
    {"mixed": 1.0},
    {"cross": 1.0},
    {"mono": 0.5, "cross": 0.5},
    {"mono": 0.3, "cross": 0.7},
    {"mono": 1.0, "mixed": 1.0, "cross": 1.0},
]


def parallel_pairs(groups: int, languages: int, data_sets: int = 1, keep: float = 1.0) -> Pairs:
    """Every query of a group with every candidate of it; a share `keep` of the rows, seeded."""
    rows = np.array(
        [
            (group, query, candidate, group % data_sets)
            for group in range(groups)
            for query in range(languages)
            for candidate in range(languages)
        ],
        dtype=np.int32,
    )
    kept = rows[np.random.default_rng(0).random(len(rows)) < keep]
    group, query, candidate, data_set = kept.T
    return Pairs(
        query=group * languages + query,
        candidate=group * languages + candidate,
        query_language=query,
        candidate_language=candidate,
        group=group,
        data_set=data_set,
        topic=group,
        query_texts=(),
        candidate_texts=(),
        languages=tuple(f"l{index}" for index in range(languages)),
        data_sets=tuple(f"d{index}" for index in range(data_sets)),
        topic_ids=tuple(f"t{index}" for index in range(groups)),
        topic_titles=("",) * groups,
    )


def sources(plan: BatchPlan, batches: int) -> list[Source]:
    """Where the first batches of a plan come from."""
    return [plan.shares[place].source for place in islice(plan._turns(), batches)]


cases = given(
    groups=st.integers(24, 60),
    languages=st.integers(2, 5),
    data_sets=st.integers(1, 2),
    keep=st.sampled_from([1.0, 0.8]),
    mixture=st.sampled_from(MIXTURES),
    seed=st.integers(0, 1000),
    order=st.sampled_from(["language_first", "dataset_first"]),
)


@settings(deadline=None, max_examples=60)
@cases
def test_epoch_has_its_length_and_no_group_twice_in_a_batch(
    groups: int, languages: int, data_sets: int, keep: float, mixture: dict, seed: int, order: str
) -> None:
    pairs = parallel_pairs(groups, languages, data_sets, keep)
    plan = BatchPlan(pairs, mixture, 4, seed, order=order)  # type: ignore[arg-type]
    batches = plan.epoch(0)
    assert batches.shape == (len(plan), 4) == (max(1, len(pairs) // 4), 4)
    members = np.sort(pairs.group[batches], axis=1)
    assert (members[:, 1:] != members[:, :-1]).all()
    assert (pairs.data_set[batches] == pairs.data_set[batches][:, :1]).all()


@settings(deadline=None, max_examples=60)
@cases
def test_kinds_come_in_exact_shares(
    groups: int, languages: int, data_sets: int, keep: float, mixture: dict, seed: int, order: str
) -> None:
    pairs = parallel_pairs(groups, languages, data_sets, keep)
    plan = BatchPlan(pairs, mixture, 4, seed, order=order)  # type: ignore[arg-type]
    same = pairs.query_language == pairs.candidate_language
    batches = plan.epoch(3)
    cross = (~same[batches]).all(axis=1)
    assert (cross | same[batches].all(axis=1)).all()
    expected = mixture.get("cross", 0) / sum(mixture.values()) * len(plan)
    assert abs(cross.sum() - expected) < len(plan.shares)
    if set(mixture) == {"mono"}:
        languages_of = pairs.query_language[batches]
        assert (languages_of == languages_of[:, :1]).all()


@settings(deadline=None, max_examples=30)
@cases
def test_epoch_is_pure_and_differs_from_the_next(
    groups: int, languages: int, data_sets: int, keep: float, mixture: dict, seed: int, order: str
) -> None:
    pairs = parallel_pairs(groups, languages, data_sets, keep)
    plan, twin = (BatchPlan(pairs, mixture, 4, seed, order=order) for _ in range(2))  # type: ignore[arg-type]
    later = plan.epoch(7)
    assert (plan.epoch(0) == twin.epoch(0)).all()
    assert (later == twin.epoch(7)).all()
    assert (plan.epoch(0) != later).any()
    other = BatchPlan(pairs, mixture, 4, seed + 1, order=order)  # type: ignore[arg-type]
    assert (other.epoch(0) != plan.epoch(0)).any()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), mixture=st.sampled_from(MIXTURES))
def test_order_of_rows_changes_nothing(seed: int, mixture: dict) -> None:
    pairs = parallel_pairs(20, 3)
    shuffle = np.random.default_rng(seed).permutation(len(pairs))
    shuffled = pairs.take(shuffle)
    straight = BatchPlan(pairs, mixture, 5, seed).epoch(0)
    assert (straight == shuffle[BatchPlan(shuffled, mixture, 5, seed).epoch(0)]).all()


def test_hybrid_halves_are_exact() -> None:
    plan = BatchPlan(parallel_pairs(40, 4), {"mono": 0.5, "cross": 0.5}, 10, 0)
    kinds = [source.kind for source in sources(plan, len(plan))]
    assert (len(plan), kinds.count("mono"), kinds.count("cross")) == (64, 32, 32)


def test_mono_batches_take_every_language_equally_whatever_its_size() -> None:
    pairs = parallel_pairs(60, 3)
    thin = pairs.take(np.flatnonzero((pairs.query_language != 2) | (pairs.group < 10)))
    plan = BatchPlan(thin, {"mono": 1.0}, 5, 0)
    languages = [source.language for source in sources(plan, len(plan))]
    counts = [languages.count(language) for language in range(3)]
    assert max(counts) - min(counts) <= 1


def test_cross_batches_balance_directions_of_a_partly_parallel_set() -> None:
    pairs = parallel_pairs(200, 4)
    partly = pairs.take(np.flatnonzero((pairs.group < 60) | (pairs.query_language < 2)))
    rows = BatchPlan(partly, {"cross": 1.0}, 20, 0).epoch(0).ravel()
    plain = BatchPlan(partly, {"cross": 1.0}, 20, 0, order="dataset_first").epoch(0).ravel()

    def spread(chosen: np.ndarray) -> float:
        codes = partly.query_language[chosen] * 4 + partly.candidate_language[chosen]
        _, counts = np.unique(codes, return_counts=True)
        return counts.max() / counts.min()

    assert spread(rows) < spread(plain)


def test_data_sets_are_drawn_by_size_to_the_exponent() -> None:
    small, large = parallel_pairs(20, 2), parallel_pairs(80, 2)
    pairs = join_pairs([small, large])
    for exponent, expected in ((1.0, 0.8), (0.5, 2 / 3), (0.0, 0.5)):
        plan = BatchPlan(pairs, {"cross": 1.0}, 10, 0, dataset_exponent=exponent)
        (weight,) = [share.weight for share in plan.shares if share.source.data_set == 1]
        assert weight == pytest.approx(expected)


def test_orders_of_drawing_differ_where_data_sets_lack_languages() -> None:
    full, one_language = parallel_pairs(20, 2), parallel_pairs(80, 1)
    pairs = join_pairs([full, one_language])

    def weights(order: str) -> dict[tuple[int, int], float]:
        plan = BatchPlan(pairs, {"mono": 1.0}, 10, 0, order=order)  # type: ignore[arg-type]
        return {(s.source.data_set, s.source.language): s.weight for s in plan.shares}

    assert weights("language_first") == pytest.approx({(0, 0): 0.1, (0, 1): 0.5, (1, 0): 0.4})
    assert weights("dataset_first") == pytest.approx({(0, 0): 0.1, (0, 1): 0.1, (1, 0): 0.8})


def test_a_set_in_one_language_stays_out_of_cross_batches() -> None:
    pairs = join_pairs([parallel_pairs(20, 2), parallel_pairs(90, 1)])
    rows = BatchPlan(pairs, {"cross": 1.0}, 10, 0).epoch(0)
    assert (pairs.data_set[rows] == 0).all()


def test_too_few_groups_for_a_batch_is_one_clear_line() -> None:
    with pytest.raises(DataError, match=r"no data set has 30 groups .* lower training\.batch_size"):
        BatchPlan(parallel_pairs(20, 2), {"mono": 1.0}, 30, 0)
    with pytest.raises(DataError, match=r"training\.mixture\.cross"):
        BatchPlan(parallel_pairs(20, 1), {"cross": 1.0}, 5, 0)


def prefix_distance(branches: list[Any], weights: dict[Any, float]) -> float:
    """The largest distance of any branch from its share, in batches, after any batch."""
    due = np.arange(1, len(branches) + 1)
    codes = {branch: number for number, branch in enumerate(weights)}
    drawn = np.array([codes[branch] for branch in branches])
    return max(
        np.abs(np.cumsum(drawn == codes[branch]) - due * weight).max()
        for branch, weight in weights.items()
    )


def levels(source: Source, order: str) -> list[tuple[Any, ...]]:
    """The branches that a source stands on, from its kind on."""
    inner = (source.language, source.data_set)
    path = (source.kind, *(inner if order == "language_first" else inner[::-1]))
    return [path[: level + 1] for level in range(3)]


@settings(deadline=None, max_examples=40)
@given(
    groups=st.integers(20, 40),
    languages=st.integers(1, 7),
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    mixture=st.sampled_from(MIXTURES),
    batch_size=st.integers(2, 10),
    seed=st.integers(0, 1000),
    exponent=st.sampled_from([0.0, 0.5, 1.0]),
    order=st.sampled_from(["language_first", "dataset_first"]),
)
def test_over_epochs_every_kind_language_and_data_set_keeps_its_share_to_less_than_a_batch(
    groups: int, languages: int, sizes: list[int], mixture: dict, batch_size: int, seed: int,
    exponent: float, order: str,
) -> None:  # fmt: skip
    pairs = join_pairs([parallel_pairs(groups * size, max(2, languages)) for size in sizes])
    plan = BatchPlan(pairs, mixture, batch_size, seed, exponent, order)  # type: ignore[arg-type]
    drawn_sources = sources(plan, 2 * len(plan) + 300)
    for level in range(3):
        weights: Counter[Any] = Counter()
        for share in plan.shares:
            weights[levels(share.source, order)[level]] += share.weight  # type: ignore[assignment]
        drawn = [levels(source, order)[level] for source in drawn_sources]
        assert prefix_distance(drawn, dict(weights)) < 1


def counted(plan: BatchPlan, epochs: int) -> Counter[tuple[str, int]]:
    drawn = sources(plan, epochs * len(plan))
    return Counter((source.kind, source.language) for source in drawn)


def test_hybrid_on_mini_has_as_many_batches_of_every_language_over_fifty_epochs() -> None:
    plan = BatchPlan(pairs_from_collection(training_topics()), {"mono": 0.5, "cross": 0.5}, 64, 0)
    found = counted(plan, 50)
    assert found.pop(("cross", -1)) == 50 * len(plan) / 2
    assert set(found.values()) == {309, 310}  # 3,400 among eleven


def test_a_language_below_a_batch_an_epoch_is_served_in_due_time() -> None:
    plan = BatchPlan(parallel_pairs(12, 11), {"mono": 0.3, "cross": 0.7}, 12, 0)
    diagonal = plan.pairs.query_language == plan.pairs.candidate_language
    few = diagonal | (plan.pairs.query_language == 0) & (plan.pairs.candidate_language == 1)
    plan = BatchPlan(plan.pairs.take(np.flatnonzero(few)), plan.mixture, 12, 0)
    assert len(plan) * 0.3 / 11 < 1
    found = counted(plan, 1000)
    assert found.pop(("cross", -1)) == pytest.approx(0.7 * 1000 * len(plan), abs=1)
    assert len(found) == 11
    assert max(found.values()) - min(found.values()) <= 1


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(1e-3, 1), min_size=1, max_size=12), st.integers(0, 1000))
def test_turns_at_one_level_keep_any_shares_to_less_than_one(
    weights: list[float], seed: int
) -> None:
    order = turns([(n,) for n in range(len(weights))], weights, np.random.default_rng(seed))
    drawn = list(islice(order, 400))
    shares = {number: weight / sum(weights) for number, weight in enumerate(weights)}
    assert prefix_distance(drawn, shares) < 1


def test_equal_languages_take_turns_in_an_order_that_chance_decides() -> None:
    order = turns([(n,) for n in range(11)], [1.0] * 11, np.random.default_rng(0))
    rounds = [tuple(islice(order, 11)) for _ in range(20)]
    assert all(sorted(found) == list(range(11)) for found in rounds)
    assert len(set(rounds)) == 20


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=24, max_size=60),
    batch_size=st.integers(2, 8),
    seed=st.integers(0, 1000),
)
def test_rows_that_fill_no_batch_come_first_in_the_next_pass(
    sizes: list[int], batch_size: int, seed: int
) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    stream = dealt(groups, np.ones(len(groups)), batch_size, np.random.default_rng(seed))
    uses = np.zeros(len(groups), dtype=int)
    for _ in range(5):
        for batch in islice(stream, len(groups) // batch_size):
            assert len(np.unique(groups[batch])) == batch_size
            uses[batch] += 1
        assert uses.max() - uses.min() <= 1


def test_groups_too_large_for_the_batches_stand_once_in_each() -> None:
    groups = np.repeat(np.arange(10), [30, *[1] * 9])
    stream = dealt(groups, np.ones(39), 8, np.random.default_rng(0))
    drawn = np.array(list(islice(stream, 90)))
    assert (np.sort(groups[drawn], axis=1)[:, 0] == 0).all()
    uses = np.bincount(drawn.ravel(), minlength=39)
    assert uses[:30].tolist() == [3] * 30
    assert uses[30:].tolist() == [70] * 9


def test_language_pairs_of_a_partly_parallel_set_are_equally_frequent_over_epochs() -> None:
    pairs = parallel_pairs(200, 4)
    partly = pairs.take(np.flatnonzero((pairs.group < 60) | (pairs.query_language < 2)))
    plan = BatchPlan(partly, {"cross": 1.0}, 20, 0)
    rows = np.concatenate([plan.epoch(number) for number in range(10)]).ravel()
    codes = partly.query_language[rows] * 4 + partly.candidate_language[rows]
    _, counts = np.unique(codes, return_counts=True)
    assert len(counts) == 12
    assert counts.max() - counts.min() <= plan.batch_size * 3
    assert counts.max() - counts.min() < 0.03 * counts.mean()


def test_an_epoch_is_the_same_whichever_was_asked_for_before() -> None:
    pairs = parallel_pairs(20, 3)
    plan = BatchPlan(pairs, {"mono": 0.3, "cross": 0.7}, 6, 4)
    forward = [plan.epoch(number) for number in range(4)]
    for number in (2, 2, 0, 3, 1):
        assert (plan.epoch(number) == forward[number]).all()
        assert (BatchPlan(pairs, plan.mixture, 6, 4).epoch(number) == forward[number]).all()


def test_a_language_with_too_few_groups_for_a_batch_is_refused_not_lost() -> None:
    pairs = parallel_pairs(30, 3)
    thin = pairs.take(np.flatnonzero((pairs.query_language != 2) | (pairs.group < 5)))
    message = r"training\.mixture\.mono: d0 has 5 groups of such pairs in l2, too few for a batch"
    with pytest.raises(DataError, match=message):
        BatchPlan(thin, {"mono": 1.0}, 6, 0)
    small = join_pairs([parallel_pairs(30, 2), parallel_pairs(5, 2)])
    with pytest.raises(DataError, match=r"mixture\.cross: d0 has 5 groups"):
        BatchPlan(small, {"cross": 1.0}, 6, 0)
    kept = BatchPlan(thin, {"mono": 1.0}, 6, 0, leave_out_small=True)
    assert {share.source.language for share in kept.shares} == {0, 1}


def test_topics_that_share_a_sentence_are_one_group() -> None:
    topics = np.array([0, 0, 1, 1, 2, 3])
    candidates = np.array([5, 6, 6, 7, 8, 7])
    assert linked_groups(topics, candidates).tolist() == [0, 0, 0, 0, 1, 0]


def test_parallel_collection_gives_every_direction_once() -> None:
    topics = training_topics()
    pairs = pairs_from_collection(topics)
    assert len(pairs) == 72 * 11 * 11
    assert len(
        {(int(q), int(c)) for q, c in zip(pairs.query, pairs.candidate, strict=True)}
    ) == len(pairs)
    row = int(np.flatnonzero((pairs.query_language == 3) & (pairs.candidate_language == 0))[5])
    query = topics.queries[pairs.query[row]]
    candidate = topics.candidates[pairs.candidate[row]]
    assert (query.id[:3], candidate.id[:3]) == ("en:", "ar:")
    assert (query.id.split(":")[1], candidate.id) in topics.relevance


def test_joined_sources_keep_their_texts_languages_and_groups_apart() -> None:
    first = pairs_from_collection(training_topics())
    joined = join_pairs([parallel_pairs(4, 2), first])
    rows = slice(len(joined) - len(first), None)
    assert joined.languages == tuple(sorted({"l0", "l1", *first.languages}))
    names = np.array(joined.languages)
    assert (
        names[joined.query_language[rows]] == np.array(first.languages)[first.query_language]
    ).all()
    assert joined.group[rows].min() == 4
    assert joined.data_sets == ("d0", "mini-train")
    texts = [joined.query_texts[row] for row in joined.query[rows][:50]]
    assert texts == [first.query_texts[row] for row in first.query[:50]]
