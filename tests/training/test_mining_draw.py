"""Drawing negatives for a step: repeatable, without repeats, in the wanted language first."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.training.negatives.mining import Mined
from bias_bench.training.negatives.sampling import draw
from tests.support.helpers import unhurried

QUERIES, KEPT, LANGUAGES = 400, 8, 4


def make_mined(share: float = 1.0) -> Mined:
    """Query q has negatives 10 q to 10 q + 7, two of each language, some missing at the end."""
    found = np.random.default_rng(0).binomial(KEPT, share, QUERIES)
    slots = np.arange(KEPT, dtype=np.int32)
    missing = slots >= found[:, None]
    negatives = 10 * np.arange(QUERIES, dtype=np.int32)[:, None] + slots
    languages = np.broadcast_to(slots % LANGUAGES, negatives.shape)
    return Mined(
        np.where(missing, -1, negatives),
        np.where(missing, -1, languages),
        np.where(missing, np.nan, np.float32(0.5)),
    )


@unhurried
@given(
    seed=st.integers(0, 2**31),
    step=st.integers(0, 10**6),
    number=st.integers(1, KEPT + 2),
    share=st.sampled_from([1.0, 0.4]),
    wanted=st.booleans(),
)
def test_draws_are_distinct_negatives_of_the_query_and_repeatable(
    seed: int, step: int, number: int, share: float, wanted: bool
) -> None:
    mined = make_mined(share)
    rows = np.random.default_rng(seed).permutation(QUERIES)[:50]
    languages = rows % LANGUAGES if wanted else None
    drawn = draw(mined, rows, number, seed, step, languages)
    assert (drawn.dtype, drawn.shape) == (np.int32, (50, number))
    found = (mined.negatives[rows] >= 0).sum(axis=1)
    assert ((drawn >= 0).sum(axis=1) == np.minimum(found, number)).all()
    assert ((drawn[:, 1:] < 0) | (drawn[:, :-1] >= 0)).all()  # those missing stand at the end
    for row, negatives in zip(rows, drawn.tolist(), strict=True):
        some = [negative for negative in negatives if negative >= 0]
        assert len(set(some)) == len(some)
        assert set(some) <= set(mined.negatives[row].tolist())
    part = slice(7, 20)  # another batch, or a part of it
    again = draw(
        mined, rows[part], number, seed, step, None if languages is None else languages[part]
    )
    assert (again == drawn[part]).all()


def test_steps_and_seeds_differ_and_every_negative_gets_its_turn() -> None:
    mined, rows = make_mined(), np.arange(QUERIES)
    draws = [draw(mined, rows, 1, 5, step)[:, 0] % 10 for step in range(50)]
    assert (draws[0] != draw(mined, rows, 1, 6, 0)[:, 0] % 10).any()
    counts = np.bincount(np.concatenate(draws), minlength=KEPT)
    assert np.abs(counts / counts.sum() - 1 / KEPT).max() < 0.01
    assert (np.mean([draws[0] == later for later in draws[1:]], axis=0) < 0.5).all()


def test_the_positives_language_comes_first() -> None:
    mined, rows = make_mined(), np.arange(QUERIES)
    wanted = np.random.default_rng(1).integers(0, LANGUAGES, QUERIES)
    drawn = draw(mined, rows, 3, 0, 0, wanted) % 10 % LANGUAGES
    assert (drawn[:, :2] == wanted[:, None]).all()  # there are two of each
    assert (drawn[:, 2] != wanted).all()
