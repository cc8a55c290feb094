"""The loop with hard negatives and further terms: exact resume, no effect at zero, accumulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bias_bench.data.pairs import Pairs
from bias_bench.errors import UsageError
from bias_bench.training import loop
from bias_bench.training.build import make_objective, make_trained, set_learning_rate
from bias_bench.training.hard_negatives import given_negatives, mined_negatives
from bias_bench.training.loop import train
from bias_bench.training.negatives.mining import Mined
from tests.training.test_loop import assert_equal, folders, job, pairs, rows_of, state_of

__all__ = ["pairs"]

EVERYTHING = {
    "language_adversary": {"strength": 0.1, "queue": 32},
    "negative_bank": {"size": 24},
    "distillation": {"weight": 0.5},
}


def negatives(pairs: Pairs) -> Any:
    """Every query's hard negatives: candidates of the next groups."""
    of_query = np.full((len(pairs.query_texts), 3), -1, dtype=np.int32)
    for query, group in zip(pairs.query.tolist(), pairs.group.tolist(), strict=True):
        others = np.unique(pairs.candidate[pairs.group == (group + 1) % (pairs.group.max() + 1)])
        of_query[query, : min(3, len(others))] = others[:3]
    languages = np.full(len(pairs.candidate_texts), -1, dtype=np.int32)
    languages[pairs.candidate] = pairs.candidate_language
    mined = Mined(of_query, languages[of_query], np.zeros(of_query.shape, dtype=np.float32))
    return mined_negatives(pairs, mined)


def trained(pairs: Pairs, path: Path, table: Any = None, **settings: Any) -> Any:
    made = job(**settings)._replace(negatives=table)
    train(made, pairs, folders(path))
    return made


def test_an_adversary_without_strength_changes_no_bit(pairs: Pairs, tmp_path: Path) -> None:
    plain = trained(pairs, tmp_path / "plain")
    without = trained(
        pairs, tmp_path / "adversary", terms={"language_adversary": {"strength": 0.0}}
    )
    assert_equal(plain, without)
    assert rows_of(tmp_path / "adversary")[0]["observed"]["language_adversary"]["strength"] == 0


def test_every_term_changes_the_encoder_and_is_logged(pairs: Pairs, tmp_path: Path) -> None:
    plain = trained(pairs, tmp_path / "plain", held_out=0.0)  # ends with the last step
    for name, options in EVERYTHING.items():
        other = trained(pairs, tmp_path / name, terms={name: options}, held_out=0.0)
        assert any(not torch.equal(v, state_of(other)[k]) for k, v in state_of(plain).items())
        assert name in rows_of(tmp_path / name)[0]["terms"]


def test_resuming_with_all_terms_is_exact(
    pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {
        "terms": {**EVERYTHING, "perturbation": {"method": "fgm", "radius": 0.5}},
        "negatives": {"per_query": 2},
    }
    table = negatives(pairs)
    whole = trained(pairs, tmp_path / "whole", table, **options)
    real = loop._step

    def stopping(run: Any, rows: Any, step: int) -> Any:
        if step == 7:
            raise KeyboardInterrupt
        return real(run, rows, step)

    monkeypatch.setattr(loop, "_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        trained(pairs, tmp_path / "cut", table, **options)
    monkeypatch.setattr(loop, "_step", real)
    resumed = trained(pairs, tmp_path / "cut", table, **options)
    assert_equal(whole, resumed)
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "cut")


def test_hard_negatives_stand_behind_the_positives_of_a_batch(
    pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    real = loop._gradients

    def watching(run: Any, rows: Any, step: int, number: int) -> Any:
        losses = real(run, rows, step, number)
        sizes.append((len(losses.embeddings.queries), len(losses.embeddings.candidates)))
        return losses

    monkeypatch.setattr(loop, "_gradients", watching)
    trained(pairs, tmp_path, negatives(pairs), steps=2, negatives={"per_query": 2})
    assert sizes == [(8, 24), (8, 24)]


def test_negatives_are_drawn_purely_and_for_their_own_queries(pairs: Pairs) -> None:
    table = negatives(pairs)
    rows = np.arange(0, 40, 3)
    first = table.draw(pairs, rows, 2, seed=1, step=2)
    assert np.array_equal(first, table.draw(pairs, rows, 2, seed=1, step=2))
    assert not np.array_equal(first, table.draw(pairs, rows, 2, seed=1, step=3))
    for row, drawn in zip(rows, first.reshape(-1, 2), strict=True):
        assert set(drawn) <= set(table.mined.negatives[pairs.query[row]])
        assert len(set(drawn)) == 2


def test_given_negatives_belong_to_their_pair_and_know_their_group(pairs: Pairs) -> None:
    elsewhere = pairs.candidate_texts[int(pairs.candidate[-1])]
    table = given_negatives(pairs, {5: ("quite new", elsewhere), 2: ("other",)})
    drawn = table.draw(pairs, np.array([2, 3, 5]), 4, seed=0, step=1)
    assert sorted(table.texts[row] for row in drawn) == sorted(["other", "quite new", elsewhere])
    names = dict(zip(table.texts, table.families.tolist(), strict=True))
    assert names[elsewhere] == table.labels.candidates.family[pairs.candidate[-1]]
    assert len(set(names.values())) == 3
    assert not {names["other"], names["quite new"]} & set(table.labels.candidates.family.tolist())
    languages = dict(zip(table.texts, table.languages.tolist(), strict=True))
    assert languages["quite new"] == pairs.candidate_language[5]


def test_the_printed_denominator_needs_hard_negatives(pairs: Pairs, tmp_path: Path) -> None:
    options = {"contrastive": {"denominator": "hard_negatives"}}
    with pytest.raises(UsageError, match=r"set training\.negatives"):
        trained(pairs, tmp_path / "none", **options)
    trained(
        pairs, tmp_path / "some", negatives(pairs), steps=2, negatives={"per_query": 1}, **options
    )
    assert len(rows_of(tmp_path / "some")) == 2


def test_accumulated_batches_are_those_of_as_many_steps(pairs: Pairs, tmp_path: Path) -> None:
    trained(pairs, tmp_path / "plain", steps=4, learning_rate=1e-12, held_out=0.0)
    trained(pairs, tmp_path / "two", steps=2, accumulate=2, learning_rate=1e-12, held_out=0.0)
    plain = [row["loss"] for row in rows_of(tmp_path / "plain")]
    two = [row["loss"] for row in rows_of(tmp_path / "two")]
    # dropout is seeded by place, so the losses agree but for it
    assert two == pytest.approx([np.mean(plain[:2]), np.mean(plain[2:])], rel=0.05)
    languages = rows_of(tmp_path / "two")[0]["query_languages"]
    first, second = rows_of(tmp_path / "plain")[:2]
    assert set(languages) == {*first["query_languages"], *second["query_languages"]}


def test_the_optimizer_holds_every_parameter_once_at_its_own_rate() -> None:
    made = job(terms=EVERYTHING)
    objective = make_objective(made.settings, 32, 5, 0)
    held = make_trained(made.loaded.model, objective, made.settings, "cpu")
    groups = held.optimizer.param_groups
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in held.parameters.values())
    rate = set_learning_rate(held.optimizer, made.settings, 3)
    adversary = id(held.parameters["language_adversary.discriminator.0.weight"])
    bank = id(held.parameters["negative_bank.bank"])
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert rates[adversary] == pytest.approx(10 * rate)
    assert rates[bank] == pytest.approx(100 * rate)
