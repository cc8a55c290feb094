"""What perturbation costs: average precision, first hits and overlap with the clean ranking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.bias.rank_correlation import rank_biased_overlap
from bias_bench.robustness.effect import Ranking, effect, query_effects, summarise
from bias_bench.robustness.perturbations import Variant
from tests.support.helpers import unhurried


def slow_overlap(first: list[int], second: list[int], p: float) -> float:
    """Webber et al. 2010: the infinite sum, with the agreement at the last depth held below it."""
    k = len(first)
    agreements = [len({*first[:d]} & {*second[:d]}) / d for d in range(1, k + 1)]
    agreements += [agreements[-1]] * 2000
    return (1 - p) * sum(agreement * p**d for d, agreement in enumerate(agreements))


@st.composite
def ranking_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    depth, queries = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    orders = st.permutations(range(15)).map(lambda order: order[:depth])
    first, second = (draw(st.lists(orders, min_size=queries, max_size=queries)) for _ in range(2))
    return np.array(first), np.array(second)


@unhurried
@given(ranking_pairs(), st.sampled_from([0.5, 0.9, 0.98]))
def test_overlap_equals_the_long_sum(
    rankings: tuple[np.ndarray, np.ndarray], persistence: float
) -> None:
    found = rank_biased_overlap(*rankings, persistence)
    expected = [
        slow_overlap(first.tolist(), second.tolist(), persistence)
        for first, second in zip(*rankings, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-9)


@unhurried
@given(ranking_pairs())
def test_overlap_is_symmetric_and_one_for_the_same_ranking(
    rankings: tuple[np.ndarray, np.ndarray],
) -> None:
    first, second = rankings
    found = rank_biased_overlap(first, second)
    np.testing.assert_allclose(found, rank_biased_overlap(second, first), rtol=1e-12)
    assert ((found >= 0) & (found <= 1 + 1e-12)).all()
    np.testing.assert_allclose(rank_biased_overlap(first, first), 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "overlap"),
    [
        ([1, 2, 3], [4, 5, 6], 0.0),
        ([1, 2], [2, 1], 0.9),  # nothing at depth 1, everything from depth 2 on
        ([1, 2], [1, 3], 0.1 * 1 + 0.09 * 0.5 + 0.81 * 0.5),
        ([1, 2, 3, 4, 5], [2, 3, 4, 1, 5], 0.8280),
    ],
)
def test_overlap_of_known_rankings(first: list[int], second: list[int], overlap: float) -> None:
    (found,) = rank_biased_overlap(np.array([first]), np.array([second]))
    assert found == pytest.approx(overlap, abs=5e-4)


@pytest.mark.parametrize("shape", [(1, 3), (2, 2), (1, 0)])
def test_overlap_compares_arrays_of_one_shape(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="do not compare"):
        rank_biased_overlap(np.zeros((1, 2)), np.zeros(shape))


def test_rankings_that_end_early_do_not_agree_where_nothing_is() -> None:
    short = np.array([[7, 8, -1, -1]])
    clean = Ranking(np.array([[1]]), short)
    other = Ranking(np.array([[1]]), np.array([[1, 2, -1, -1]]))
    assert query_effects(clean, clean).overlap == pytest.approx([1])
    assert query_effects(clean, other).overlap == pytest.approx([0])


# four queries, two relevant candidates each but the second with one and the last with none
CLEAN = Ranking(
    np.array([[1, 2], [1, 0], [4, 2], [0, 0]], dtype=np.int32),
    np.array([[7, 8, 9], [1, 2, 3], [5, 6, 4], [1, 2, 3]]),
)
PERTURBED = Ranking(
    np.array([[2, 4], [1, 0], [1, 2], [0, 0]], dtype=np.int32),
    np.array([[9, 7, 1], [1, 2, 3], [6, 5, 4], [7, 8, 9]]),
)


def test_effect_worked_by_hand() -> None:
    found = effect(query_effects(CLEAN, PERTURBED))
    clean = [1.0, 1.0, (1 / 2 + 2 / 4) / 2]
    after = [(1 / 2 + 2 / 4) / 2, 1.0, 1.0]
    assert found["ap_clean"] == pytest.approx(np.mean(clean))
    assert found["ap"] == pytest.approx(np.mean(after))
    assert found["loss"] == pytest.approx(0.0)
    assert found["first_clean"] == pytest.approx(2 / 3)
    assert found["first_lost"] == pytest.approx(1 / 3)  # the first query's; the third's is gained
    first = 0.09 * 0.5 + 0.081 * 2 / 3 + 0.729 * 2 / 3
    assert found["overlap"] == pytest.approx((first + 1 + 0.9) / 3)
    assert found["queries"] == 3


def test_loss_is_positive_when_perturbation_makes_it_worse() -> None:
    first = Ranking(*(part[:1] for part in CLEAN))
    worse = Ranking(*(part[:1] for part in PERTURBED))
    lost, gained = effect(query_effects(first, worse)), effect(query_effects(worse, first))
    assert lost["loss"] == pytest.approx(0.5)
    assert gained["loss"] == pytest.approx(-0.5)
    assert (lost["first_lost"], gained["first_lost"]) == (1.0, 0.0)


def test_nothing_is_lost_without_a_change() -> None:
    found = effect(query_effects(CLEAN, CLEAN))
    assert (found["loss"], found["first_lost"]) == (0.0, 0.0)
    assert found["overlap"] == pytest.approx(1.0)


def test_effects_name_the_rows_of_their_queries() -> None:
    some = [Ranking(*(part[[3, 0, 2]] for part in ranking)) for ranking in (CLEAN, PERTURBED)]
    found = query_effects(*some)
    assert found.rows.tolist() == [1, 2]
    np.testing.assert_allclose(found.ap_clean - found.ap, [0.5, -0.5])


def test_overlap_is_of_the_top_ten() -> None:
    ranks = np.array([[1]], dtype=np.int32)
    first, second = np.arange(20)[None], np.arange(20)[None].copy()
    second[0, 10:] += 100
    found = effect(query_effects(Ranking(ranks, first), Ranking(ranks, second)))
    assert found["overlap"] == pytest.approx(1.0)


def test_queries_without_a_relevant_candidate_have_no_effect() -> None:
    none = Ranking(*(part[3:] for part in CLEAN))
    assert effect(query_effects(none, none)) == {}


def test_summary_has_every_language_and_their_mean() -> None:
    light, strong = Variant("case", "light"), Variant("case", "strong")
    first = [Ranking(*(part[:1] for part in ranking)) for ranking in (CLEAN, PERTURBED)]
    effects = {"de": query_effects(CLEAN, PERTURBED), "en": query_effects(*first)}
    summary = summarise(
        ["ar", "de", "en"],
        {light: effects, strong: {}},
        {light: {"de": 0.5, "en": 1.0}, strong: {}},
    )
    assert list(summary) == ["case"]
    found = summary["case"]["light"]
    german, english = (effect(effects[language]) for language in ("de", "en"))
    assert found["per_language"] == {
        "de": {**german, "changed": 0.5},
        "en": {**english, "changed": 1.0},
    }
    assert found["not_applicable"] == ["ar"]
    assert set(found["macro"]) == {*german, "changed"} - {"queries"}
    assert found["macro"]["loss"] == pytest.approx(0.25)
    assert found["macro"]["changed"] == 0.75
    assert summary["case"]["strong"] == {
        "macro": {},
        "per_language": {},
        "not_applicable": ["ar", "de", "en"],
    }
