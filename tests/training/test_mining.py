"""Hard-negative mining: what is chosen, what never is, and that blocks change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bias_bench.config.mining import MiningSettings
from bias_bench.data.pairs import Pairs, join_pairs
from bias_bench.errors import BiasBenchError, DataError, UsageError
from bias_bench.training.negatives import mining, workspace
from bias_bench.training.negatives.labels import fold, label_texts
from bias_bench.training.negatives.mining import Mined, mine
from bias_bench.training.negatives.policy import Limits
from tests.support.helpers import unhurried

EVERYTHING: dict[str, Any] = {"last_rank": 10**6, "relative_margin": None}


def make_pairs(rows: list[tuple[int, int, int]], texts: Texts, data_set: int = 0) -> Pairs:
    """`rows` of query, candidate, group; texts as (language, text) by index."""
    queries, candidates = texts
    languages = tuple(sorted({language for language, _ in queries + candidates}))
    query, candidate, group = np.array(rows, dtype=np.int32).T
    codes = [
        np.array([languages.index(language) for language, _ in side], dtype=np.int32)
        for side in texts
    ]
    return Pairs(
        query=query,
        candidate=candidate,
        query_language=codes[0][query],
        candidate_language=codes[1][candidate],
        group=group,
        data_set=np.zeros(len(rows), dtype=np.int32),
        topic=group,
        query_texts=tuple(text for _, text in queries),
        candidate_texts=tuple(text for _, text in candidates),
        languages=languages,
        data_sets=(f"d{data_set}",),
        topic_ids=tuple(f"t{index}" for index in range(group.max() + 1)),
        topic_titles=("",) * (int(group.max()) + 1),
    )


Texts = tuple[list[tuple[str, str]], list[tuple[str, str]]]


def parallel_pairs(
    groups: int, languages: int, keep: float = 1.0, repeats: float = 0.0, seed: int = 0
) -> Pairs:
    """Every query of a group with every candidate of it; a share `keep` of the rows.

    A share `repeats` of the candidates has a text that others have as well.
    """
    random = np.random.default_rng(seed)
    names = [f"l{language}" for language in range(languages)]
    places = [(group, name) for group in range(groups) for name in names]
    queries = [(name, f"question {group} {name}") for group, name in places]
    candidates = [(name, f"sentence {group} {name}") for group, name in places]
    for row in np.flatnonzero(random.random(len(candidates)) < repeats):
        candidates[row] = (candidates[row][0], f"Common   SENTENCE {row % 3}"[: 18 + row % 2])
    rows = [
        (group * languages + query, group * languages + candidate, group)
        for group in range(groups)
        for query in range(languages)
        for candidate in range(languages)
    ]
    kept = [row for row in rows if random.random() < keep] or rows
    return make_pairs(kept, (queries, candidates))


def grid_vectors(number: int, seed: int, dimensions: int = 6) -> np.ndarray:
    """Small whole numbers: sums of products are exact in every order, and many of them tie."""
    random = np.random.default_rng(seed)
    return random.integers(-2, 3, (number, dimensions)).astype(np.float32)


def unit_vectors(number: int, seed: int, dimensions: int = 16) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((number, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


# The reference: plain loops, one query after another.


def reference_families(pairs: Pairs) -> list[set[str]]:
    """Texts that belong together: of one group, or of groups that share a text."""
    families: list[set[str]] = []
    for group in np.unique(pairs.group):
        rows = np.flatnonzero(pairs.group == group)
        texts = {fold(pairs.query_texts[row]) for row in pairs.query[rows]}
        texts |= {fold(pairs.candidate_texts[row]) for row in pairs.candidate[rows]}
        for family in [family for family in families if family & texts]:
            families.remove(family)
            texts |= family
        families.append(texts)
    return families


def reference_limit(
    pairs: Pairs, similarity: np.ndarray, rows: np.ndarray, language: int, chosen: MiningSettings
) -> float:
    """The highest similarity that a candidate in `language` may have; `rows` are the query's."""
    if chosen.relative_margin is None:
        return np.inf
    of_language: dict[int, list[float]] = {}
    for row in rows:
        of_language.setdefault(pairs.candidate_language[row], []).append(
            similarity[pairs.candidate[row]]
        )
    everything = [score for scores in of_language.values() for score in scores]
    own = of_language.get(pairs.query_language[rows[0]], everything)
    positive = {
        "highest": max(everything),
        "lowest": min(everything),
        "parallel": max(of_language.get(language, own)),
    }[chosen.margin_reference]
    return np.float32(positive) - np.float32(chosen.relative_margin) * abs(np.float32(positive))


def reference_lists(
    pairs: Pairs, query: int, similarity: np.ndarray, chosen: MiningSettings
) -> dict[int, list[int]]:
    """The query's negatives to choose from, by language, best first."""
    families = reference_families(pairs)
    rows = np.flatnonzero(pairs.query == query)
    own = next(family for family in families if fold(pairs.query_texts[query]) in family)
    lists: dict[int, list[int]] = {}
    for language in range(len(pairs.languages)):
        members = {
            int(pairs.candidate[row])
            for row in range(len(pairs))
            if pairs.candidate_language[row] == language
            and (chosen.across_data_sets or pairs.data_set[row] == pairs.data_set[rows[0]])
            and fold(pairs.candidate_texts[pairs.candidate[row]]) not in own
        }
        ranked = sorted(members, key=lambda candidate: (-similarity[candidate], candidate))
        window = ranked[chosen.first_rank - 1 : chosen.last_rank]
        limit = reference_limit(pairs, similarity, rows, language, chosen)
        lists[language] = [candidate for candidate in window if similarity[candidate] <= limit]
    return lists


def reference_has_too_few(pairs: Pairs, scores: np.ndarray, chosen: MiningSettings) -> bool:
    """Whether some data set and language has no query with enough candidates, or none is found."""
    all_ranks = chosen.model_copy(update=EVERYTHING | {"first_rank": 1})
    most: dict[tuple[int, int], int] = {}
    found = 0
    for query in np.unique(pairs.query):
        row = np.flatnonzero(pairs.query == query)[0]
        language = int(pairs.query_language[row])
        segment = (0 if chosen.across_data_sets else int(pairs.data_set[row]), language)
        left, within = (
            sum(
                len(some)
                for other, some in reference_lists(pairs, query, scores[query], which).items()
                if chosen.languages in ("any", "balanced")
                or (other == language) == (chosen.languages == "same")
            )
            for which in (all_ranks, chosen)
        )
        most[segment] = max(most.get(segment, 0), left)
        found += within
    return min(most.values()) < chosen.number or found == 0


def require_equal_to_reference(
    mined: Mined, pairs: Pairs, scores: np.ndarray, chosen: MiningSettings
) -> None:
    for query in range(len(pairs.query_texts)):
        row = [int(candidate) for candidate in mined.negatives[query] if candidate >= 0]
        assert np.isfinite(mined.scores[query]).sum() == len(row)
        assert mined.scores[query, : len(row)].tolist() == scores[query, row].tolist()
        rows = np.flatnonzero(pairs.query == query)
        if not len(rows):
            assert row == []
            continue
        lists = reference_lists(pairs, query, scores[query], chosen)
        of_query = int(pairs.query_language[rows[0]])
        if chosen.languages == "balanced":
            allowed = require_dealt_evenly(row, lists, chosen.number)
        elif chosen.languages == "same":
            allowed = lists[of_query]
        else:
            lists.pop(of_query if chosen.languages == "cross" else -1, None)
            allowed = [candidate for some in lists.values() for candidate in some]
        expected = sorted(allowed, key=lambda candidate: (-scores[query, candidate], candidate))
        assert row == expected[: chosen.number]


def require_dealt_evenly(row: list[int], lists: dict[int, list[int]], number: int) -> list[int]:
    """The first of each language's list, as many of each as there are, give or take one."""
    taken = {language: [c for c in some if c in row] for language, some in lists.items()}
    for language, some in taken.items():
        assert some == lists[language][: len(some)]
    left = [
        len(taken[language]) for language in lists if len(lists[language]) > len(taken[language])
    ]
    assert not left or max(map(len, taken.values())) <= min(left) + 1
    assert len(row) == min(number, sum(map(len, lists.values())))
    return row


@settings(unhurried, max_examples=80)
@given(
    shape=st.tuples(st.integers(3, 7), st.integers(1, 4), st.integers(1, 2)),
    repeats=st.sampled_from([0.0, 0.2]),
    window=st.sampled_from([(1, 200), (1, 3), (2, 5), (3, 3)]),
    margin=st.sampled_from([None, 0.0, 0.25]),
    reference=st.sampled_from(["parallel", "highest", "lowest"]),
    languages=st.sampled_from(["same", "cross", "any", "balanced"]),
    number=st.integers(1, 6),
    across=st.booleans(),
    block=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 10**6),
)
def test_mining_equals_a_plain_reference(
    shape: tuple[int, int, int],
    repeats: float,
    window: tuple[int, int],
    margin: float | None,
    reference: Any,
    languages: Any,
    number: int,
    across: bool,
    block: tuple[int, int],
    seed: int,
) -> None:
    groups, of_set, data_sets = shape
    parts = [parallel_pairs(groups, of_set, 0.7, repeats, seed + n) for n in range(data_sets)]
    pairs = join_pairs(parts)
    chosen = MiningSettings(
        number=number,
        first_rank=window[0],
        last_rank=window[1],
        relative_margin=margin,
        margin_reference=reference,
        languages=languages,
        across_data_sets=across,
    )
    queries = grid_vectors(len(pairs.query_texts), seed)
    candidates = grid_vectors(len(pairs.candidate_texts), seed + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mining, "QUERIES", block[0])
        patch.setattr(mining, "CANDIDATES", block[1])
        if reference_has_too_few(pairs, queries @ candidates.T, chosen):
            with pytest.raises(DataError, match=r"^training\.negatives: [^\n]+$"):
                mine(pairs, queries, candidates, chosen, seed)
            return
        mined = mine(pairs, queries, candidates, chosen, seed)
    require_equal_to_reference(mined, pairs, queries @ candidates.T, chosen)


@pytest.mark.parametrize(("number", "first_rank"), [(1, 1), (4, 3), (150, 1)])
def test_many_candidates_are_searched_exactly(number: int, first_rank: int) -> None:
    pairs = parallel_pairs(2500, 1)
    queries, candidates = (grid_vectors(2500, seed) for seed in (0, 1))
    chosen = MiningSettings(number=number, first_rank=first_rank, **EVERYTHING)
    mined = mine(pairs, queries, candidates, chosen, 0)
    scores = queries @ candidates.T
    np.fill_diagonal(scores, -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")[:, first_rank - 1 :][:, :number]
    assert (mined.negatives == order).all()
    assert (mined.scores == np.take_along_axis(scores, order, axis=1)).all()


def test_a_positive_that_ranks_low_leaves_no_negative_in_the_window() -> None:
    pairs = parallel_pairs(2500, 1)
    queries, candidates = (unit_vectors(2500, seed) for seed in (0, 1))
    mined = mine(pairs, queries, candidates, MiningSettings(number=4, relative_margin=0.0), 0)
    scores = queries @ candidates.T
    better = (scores > np.diag(scores)[:, None]).sum(axis=1)
    assert ((mined.negatives >= 0).sum(axis=1) == np.clip(200 - better, 0, 4)).all()


def test_results_depend_neither_on_the_budget_nor_on_the_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pairs = parallel_pairs(2600, 2)
    queries, candidates = (unit_vectors(len(pairs.query_texts), seed) for seed in (0, 1))
    found = []
    for memory, queries_of_block, expected in ((32, 1024, (1024, 1)), (4096, 4096, (4096, 3))):
        monkeypatch.setattr(workspace, "_MOST_QUERIES", queries_of_block)
        monkeypatch.setattr(workspace, "_product_threads", lambda: 3)
        chosen = MiningSettings(memory_mb=memory, number=3, languages="balanced")
        assert workspace.make_workspace(pairs, 16, chosen) == expected
        found.append(mine(pairs, queries, candidates, chosen, 0))
    assert (found[0].negatives == found[1].negatives).all()
    assert found[0].scores.tobytes() == found[1].scores.tobytes()


def test_a_false_negative_in_another_language_is_never_chosen() -> None:
    first = make_pairs(
        [(0, 0, 0), (1, 1, 1), (2, 2, 2)],
        (
            [("en", "Who discovered it?"), ("en", "When?"), ("en", "Where?")],
            [("en", "It was Ada."), ("en", "In May."), ("en", "At home.")],
        ),
    )
    second = make_pairs(  # the same sentence in other letters, answering another question
        [(0, 0, 0), (0, 1, 0), (1, 2, 1), (2, 3, 2)],
        (
            [("de", "Wer war es?"), ("de", "Wann?"), ("de", "Wo?")],
            [("en", "IT  WAS Ａda."), ("de", "Es war Ada."), ("de", "Im Mai."), ("de", "Dort.")],
        ),
        data_set=1,
    )
    pairs = join_pairs([first, second])
    planted = [3, 4]
    queries = unit_vectors(len(pairs.query_texts), 0)
    candidates = unit_vectors(len(pairs.candidate_texts), 1)
    candidates[planted] = queries[0]
    for languages in ("cross", "any", "balanced"):
        chosen = MiningSettings(number=2, languages=languages, across_data_sets=True, **EVERYTHING)
        mined = mine(pairs, queries, candidates, chosen, 0)
        assert not np.isin(mined.negatives[0], planted).any()
        assert (mined.negatives[0] >= 0).any()
        assert np.isin(planted, mined.negatives[[1, 2, 4, 5]]).any()  # for others they may


def test_an_equal_question_brings_its_answers_into_the_family() -> None:
    questions = [("en", "Why?"), ("en", " why? "), ("en", "How?")]
    answers = [("en", "Because."), ("de", "Darum."), ("en", "So.")]
    pairs = make_pairs([(0, 0, 0), (1, 1, 1), (2, 2, 2)], (questions, answers))
    family = label_texts(pairs).candidates.family
    assert family[0] == family[1] != family[2]


def test_a_candidate_that_no_pair_uses_is_no_negative() -> None:
    whole = parallel_pairs(12, 2)
    pairs = whole.take(np.flatnonzero(whole.group < 6))
    vectors = unit_vectors(len(pairs.query_texts), 0)
    mined = mine(
        pairs, vectors, vectors, MiningSettings(number=10, languages="balanced", **EVERYTHING), 0
    )
    assert (mined.negatives[12:] == -1).all()
    assert (np.sort(mined.negatives[0]) == np.arange(2, 12)).all()
    assert (mined.share_found(np.arange(12)), mined.share_found(np.arange(24))) == (1.0, 0.5)


def limits(similarities: list[tuple[str, float]], reference: Any, margin: float) -> list[float]:
    """Limits in the languages a, b and c of a query in a, by its positives' similarities."""
    angle = [np.array([value, np.sqrt(1 - value**2)]) for _, value in similarities]
    rows = [(0, index, 0) for index in range(len(similarities))]
    candidates = [(language, f"s{n}") for n, (language, _) in enumerate(similarities)]
    rows.append((1, len(rows), 1))
    pairs = make_pairs(rows, ([("a", "q"), ("b", "r")], [*candidates, ("c", "other")]))
    chosen = MiningSettings(number=4, margin_reference=reference, relative_margin=margin)
    query = np.array([[1, 0]], dtype=np.float32)
    found = Limits(pairs, chosen).of(
        np.array([0]), query, np.array([0]), np.array([*angle, [0, 1]], dtype=np.float32)
    )
    return found[0].tolist()


def test_each_language_is_measured_by_its_own_positive() -> None:
    several = [("a", 0.8), ("b", 0.4), ("a", 0.6)]
    assert limits(several, "parallel", 0.05) == pytest.approx([0.76, 0.38, 0.76])
    assert limits(several, "highest", 0.05) == pytest.approx([0.76] * 3)
    assert limits(several, "lowest", 0.05) == pytest.approx([0.38] * 3)
    assert limits([("b", 0.4), ("c", 0.5)], "parallel", 0.1) == pytest.approx([0.45, 0.36, 0.45])


def test_the_limit_lies_below_a_negative_similarity_too() -> None:
    assert limits([("a", -0.4)], "parallel", 0.05) == pytest.approx([-0.42] * 3)
    assert limits([("a", 0.4)], "parallel", 0.0) == pytest.approx([0.4] * 3)


def test_balanced_negatives_have_the_languages_of_cross_lingual_positives() -> None:
    pairs = parallel_pairs(60, 5)
    cross = pairs.take(np.flatnonzero(pairs.query_language != pairs.candidate_language))
    random = np.random.default_rng(0)
    topics = random.standard_normal((60, 32))
    flavour = 2 * random.standard_normal((5, 32))  # an encoder that prefers the query's language
    vectors = np.repeat(topics, 5, axis=0) + np.tile(flavour, (60, 1))
    vectors = vectors + 0.3 * random.standard_normal(vectors.shape)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    shares = {}
    for languages in ("any", "balanced"):
        chosen = MiningSettings(number=3, languages=languages, **EVERYTHING)
        mined = mine(cross, vectors, vectors, chosen, 0)
        counts = np.bincount(mined.languages.ravel(), minlength=5)
        shares[languages] = np.abs(counts / counts.sum() - 1 / 5).max()
        own = (mined.languages == np.arange(len(vectors))[:, None] % 5).mean()
        assert (own > 0.9) == (languages == "any")
    positives = np.bincount(cross.candidate_language, minlength=5) / len(cross)
    assert positives == pytest.approx([1 / 5] * 5)
    assert shares["balanced"] <= 5 / mined.negatives.size  # one more or less by query language
    assert (np.sort(mined.languages)[:, 1:] != np.sort(mined.languages)[:, :-1]).all()


def test_languages_that_run_out_are_replaced_by_the_others() -> None:
    thin = parallel_pairs(12, 3)
    pairs = thin.take(np.flatnonzero((thin.candidate_language != 2) | (thin.group == 0)))
    vectors = unit_vectors(len(pairs.query_texts), 0)
    mined = mine(
        pairs, vectors, vectors, MiningSettings(number=9, languages="balanced", **EVERYTHING), 0
    )
    counts = np.bincount(mined.languages[5], minlength=3)  # a query of group 1
    assert (counts.sum(), counts[2], abs(counts[0] - counts[1])) == (9, 1, 0)


def test_vectors_may_be_half_precision_or_mapped(tmp_path: Any) -> None:
    pairs = parallel_pairs(20, 2)
    vectors = grid_vectors(len(pairs.query_texts), 3)
    np.save(tmp_path / "vectors.npy", vectors.astype(np.float16))
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    chosen = MiningSettings(languages="balanced", **EVERYTHING)
    found = mine(pairs, mapped, mapped, chosen, 0)
    assert (found.negatives == mine(pairs, vectors, vectors, chosen, 0)[0]).all()


def test_too_few_candidates_are_one_clear_line() -> None:
    pairs = parallel_pairs(3, 2)
    vectors = unit_vectors(len(pairs.query_texts), 0)
    message = r"queries in 'l0' of 'd0' can have 2 candidates \(languages: same\), fewer than .* 4;"
    with pytest.raises(DataError, match=message):
        mine(pairs, vectors, vectors, MiningSettings(number=4, languages="same"), 0)
    lonely = parallel_pairs(9, 1)
    with pytest.raises(DataError, match=r"'l0' of 'd0' can have 0 candidates \(languages: cross\)"):
        mine(lonely, vectors[:1].repeat(9, 0), vectors[:1].repeat(9, 0),
             MiningSettings(number=4, languages="cross"), 0)  # fmt: skip


def test_finding_nothing_at_all_is_one_clear_line() -> None:
    pairs = parallel_pairs(10, 1)
    vectors = np.ones((10, 4), dtype=np.float32)  # all candidates as similar as the positive
    with pytest.raises(DataError, match="no query has a negative in ranks 1 to 200"):
        mine(pairs, vectors, vectors, MiningSettings(number=4), 0)
    with pytest.raises(DataError, match="no training pairs"):
        mine(pairs.take(np.zeros(0, dtype=np.int64)), vectors, vectors, MiningSettings(number=4), 0)


def test_broken_vectors_contradicting_pairs_and_a_small_budget_are_refused() -> None:
    pairs = parallel_pairs(10, 1)
    vectors = unit_vectors(10, 0)
    broken = vectors.copy()
    broken[4, 2] = np.nan
    with pytest.raises(BiasBenchError, match="candidate vectors hold NaN"):
        mine(pairs, vectors, broken, MiningSettings(number=4), 0)
    with pytest.raises(ValueError, match="query vectors"):
        mine(pairs, vectors[:3], vectors, MiningSettings(number=4), 0)
    with pytest.raises(UsageError, match=r"memory_mb = 1 is too little; .* at least \d+"):
        mine(pairs, vectors, vectors, MiningSettings(number=4, memory_mb=1), 0)
    twice = pairs.take(np.array([0, 0, 1]))
    twice.candidate_language[1] = 1
    with pytest.raises(DataError, match="gives candidate 0 another language"):
        mine(twice, vectors, vectors, MiningSettings(number=4), 0)


def test_a_window_without_ranks_is_refused() -> None:
    with pytest.raises(ValueError, match="last_rank 3 lies before first_rank 5"):
        MiningSettings(first_rank=5, last_rank=3)
