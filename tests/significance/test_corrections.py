"""Corrections of p-values against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.errors import BiasBenchError
from bias_bench.significance.corrections import benjamini_hochberg, holm

p_values = st.lists(st.floats(0, 1), max_size=12)


@given(p_values)
def test_holm_equals_its_definition(p: list[float]) -> None:
    """H_i is rejected at a level when all hypotheses with smaller p are, and p_i allows it."""
    adjusted, before = [0.0] * len(p), 0.0
    for place, test in enumerate(sorted(range(len(p)), key=lambda test: p[test])):
        before = adjusted[test] = max(before, min(1.0, (len(p) - place) * p[test]))
    assert holm(np.array(p)).tolist() == adjusted


@given(p_values)
def test_benjamini_hochberg_equals_its_definition(p: list[float]) -> None:
    """H_(i) is rejected at a level when any H_(k), k >= i, has p_(k) <= level k / m."""
    adjusted, later = [0.0] * len(p), 1.0
    for place, test in reversed(list(enumerate(sorted(range(len(p)), key=p.__getitem__), 1))):
        later = adjusted[test] = min(later, p[test] * (len(p) / place))
    assert benjamini_hochberg(np.array(p)).tolist() == adjusted


def test_published_example_of_both_corrections() -> None:
    """Benjamini and Hochberg 1995, section 4: Holm rejects 3 and BH 4 of these 15 at 0.05."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
    p += [0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert (holm(np.array(p)) <= 0.05).sum() == 3
    assert (benjamini_hochberg(np.array(p)) <= 0.05).sum() == 4


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_corrections_keep_floor_ceiling_and_single_tests(correct: object) -> None:
    assert callable(correct)
    assert correct(np.array([])).tolist() == []
    assert correct(np.array([0.03])).tolist() == [0.03]
    assert correct(np.array([1.0, 0.0, 0.9])).tolist()[:2] == [1.0, 0.0]
    for bad in ([0.1, np.nan], [1.1], [-0.1], [[0.1]]):
        with pytest.raises(BiasBenchError, match="p-value"):
            correct(np.array(bad))
