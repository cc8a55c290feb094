"""The contrastive term and the training step, against hand-computed cases and other libraries."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from bias_bench.encoders.backbone import resolve_backbone
from bias_bench.encoders.encoder import pad, pool
from bias_bench.training.objective import Embeddings, Objective
from bias_bench.training.step import Batch, StepOptions, backward
from tests.support.helpers import contrastive, set_dropout


def embeddings(
    queries: torch.Tensor, candidates: torch.Tensor, groups: list[int] | None = None
) -> Embeddings:
    """A batch whose hard negatives, if any, have groups of their own."""
    size, number = len(queries), len(candidates)
    own = torch.tensor(groups if groups is not None else list(range(size)))
    negatives = torch.arange(1000, 1000 + number - size)
    zeros = torch.zeros(size, dtype=torch.int64), torch.zeros(number, dtype=torch.int64)
    return Embeddings(queries, candidates, own, torch.cat([own, negatives]), *zeros)


def random_batch(size: int = 6, negatives: int = 0, seed: int = 0, **more: Any) -> Embeddings:
    generator = torch.Generator().manual_seed(seed)
    queries = normalize(torch.randn(size, 8, generator=generator), dim=1).requires_grad_()
    candidates = normalize(torch.randn(size + negatives, 8, generator=generator), dim=1)
    return embeddings(queries, candidates.requires_grad_(), **more)


def test_two_by_two_batch_worked_by_hand() -> None:
    queries = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    candidates = torch.tensor([[0.8, 0.6], [0.0, 1.0]])
    # cosines: [[0.8, 0.0], [0.96, 0.8]]; T = 0.5
    forward = (math.log(1 + math.exp(-1.6)) + math.log(1 + math.exp(0.32))) / 2
    back = (math.log(1 + math.exp(0.32)) + math.log(1 + math.exp(-1.6))) / 2
    batch = embeddings(queries, candidates)
    assert contrastive(0.5)(batch).item() == pytest.approx(forward, rel=1e-6)
    term = contrastive(0.5, direction="candidate_to_query")
    assert term(batch).item() == pytest.approx(back, rel=1e-6)
    both = contrastive(0.5, direction="both")
    assert both(batch).item() == pytest.approx((forward + back) / 2, rel=1e-6)


def test_literal_temperature_of_one_is_nearly_flat() -> None:
    loss = contrastive(1.0)(random_batch(64)).item()
    assert math.log(64) - 2 < loss < math.log(64) + 2


def test_printed_denominator_sums_over_positive_and_hard_negatives_alone() -> None:
    batch = random_batch(3, negatives=2)
    loss = contrastive(0.2, denominator="hard_negatives")(batch).item()
    scores = (batch.queries @ batch.candidates.T / 0.2).detach().numpy()
    expected = [
        -math.log(math.exp(row[i]) / (math.exp(row[i]) + np.exp(row[3:]).sum()))
        for i, row in enumerate(scores)
    ]
    assert loss == pytest.approx(np.mean(expected), rel=1e-5)


def test_printed_denominator_without_hard_negatives_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs hard negatives"):
        contrastive(0.1, denominator="hard_negatives")(random_batch())


@pytest.mark.parametrize("direction", ["query_to_candidate", "candidate_to_query", "both"])
def test_parallel_candidate_gets_no_gradient_as_a_negative(direction: Any) -> None:
    batch = random_batch(4, groups=[0, 1, 0, 3])
    term = contrastive(0.1, direction=direction)
    other = random_batch(4, groups=[0, 1, 0, 3])
    with torch.no_grad():
        other.candidates[2] = -other.candidates[2]

    def first_query_gradient(case: Embeddings) -> torch.Tensor:
        logits = contrastive(0.1)
        (gradient,) = torch.autograd.grad(logits(case), case.queries)
        return gradient[0]

    assert torch.equal(first_query_gradient(batch), first_query_gradient(other))
    assert term(batch) < term(random_batch(4))


def test_hard_negative_of_the_querys_own_group_is_left_out() -> None:
    plain = random_batch(4)
    with_parallel = random_batch(4, negatives=1)
    masked = with_parallel._replace(
        queries=plain.queries,
        candidates=torch.cat([plain.candidates, with_parallel.candidates[4:]]),
        candidate_groups=torch.tensor([0, 1, 2, 3, 2]),
    )
    scores = plain.queries @ masked.candidates.T / 0.1
    scores[2, 4] = -torch.inf
    expected = torch.nn.functional.cross_entropy(scores, torch.arange(4))
    assert contrastive(0.1)(masked).item() == pytest.approx(expected.item(), rel=1e-6)


def test_learned_temperature_starts_where_it_is_set_and_gets_a_gradient() -> None:
    term = contrastive(0.05, learned_temperature=True)
    assert term.temperature == pytest.approx(0.05)
    term(random_batch()).backward()
    assert term.log_scale.grad is not None
    assert term.log_scale.grad.abs() > 0
    fixed = contrastive(0.05)
    assert list(fixed.parameters()) == []
    with torch.no_grad():
        term.log_scale.fill_(100.0)
    assert term.temperature == pytest.approx(0.01)


def test_low_precision_embeddings_are_compared_in_float32() -> None:
    batch = random_batch(5)
    low = batch._replace(queries=batch.queries.bfloat16(), candidates=batch.candidates.bfloat16())
    assert contrastive(0.03)(low).dtype == torch.float32


def test_loss_equals_sentence_transformers_multiple_negatives_ranking_loss() -> None:
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import losses

    loss = losses.MultipleNegativesRankingLoss(torch.nn.Module(), scale=20.0)
    for negatives in (0, 6):
        batch = random_batch(6, negatives=negatives)
        columns = [batch.queries, batch.candidates[:6]]
        columns += [batch.candidates[6:]] if negatives else []
        theirs = loss.compute_loss_from_embeddings(columns, None)
        assert contrastive(1 / 20)(batch).item() == pytest.approx(theirs.item(), rel=1e-5)


def test_objective_is_the_weighted_sum_of_its_terms() -> None:
    batch = random_batch()
    objective = Objective({"near": (2.0, contrastive(0.1)), "far": (0.5, contrastive(1.0))})
    losses = objective(batch)
    expected = 2 * losses.terms["near"] + 0.5 * losses.terms["far"]
    assert losses.total.item() == pytest.approx(expected.item())
    with pytest.raises(ValueError, match="at least one term"):
        Objective({})


# --- the step ---------------------------------------------------------------------------------


class Case:
    """A small encoder with dropout, a batch of ragged texts and the way to embed them."""

    def __init__(self, dropout: float) -> None:
        self.model = resolve_backbone("scratch:tiny").load().model.train()
        set_dropout(self.model, dropout)
        generator = np.random.default_rng(0)
        texts = [
            generator.integers(4, 900, size=length).tolist()
            for length in generator.integers(3, 40, size=20)
        ]
        groups, languages = np.arange(8), np.zeros(8)
        self.batch = Batch(texts[:8], texts[8:], groups, np.arange(12), languages, np.zeros(12))
        self.objective = Objective(
            {"contrastive": (1.0, contrastive(0.1, learned_temperature=True))}
        )

    def embed(self, rows: np.ndarray) -> torch.Tensor:
        ids, mask = pad([self.batch.texts[row] for row in rows], 1)
        mask_tensor = torch.from_numpy(mask)
        output = self.model(input_ids=torch.from_numpy(ids), attention_mask=mask_tensor)
        return normalize(pool(output, mask_tensor, "mean"), dim=1)

    def gradients(self, **options: Any) -> tuple[float, dict[str, torch.Tensor]]:
        term: Any = self.objective.terms["contrastive"][1]
        for parameter in (*self.model.parameters(), *term.parameters()):
            parameter.grad = None
        scale = options.pop("scale", 1.0)
        step = StepOptions(options["chunk_tokens"], options.get("cached", False), torch.manual_seed)
        losses = backward(self.embed, self.batch, self.objective, step, scale)
        named = dict(self.model.named_parameters())
        found = {name: p.grad.clone() for name, p in named.items() if p.grad is not None}
        return losses.total.item(), {**found, "scale": term.log_scale.grad.clone()}


def assert_close(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, gradient in first.items():
        torch.testing.assert_close(gradient, second[name], atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_cached_gradients_equal_plain_ones_with_dropout_replayed(dropout: float) -> None:
    case = Case(dropout)
    plain_loss, plain = case.gradients(chunk_tokens=64)
    cached_loss, cached = case.gradients(chunk_tokens=64, cached=True)
    assert cached_loss == pytest.approx(plain_loss, rel=1e-6)
    assert_close(plain, cached)


def test_chunks_do_not_change_gradients() -> None:
    case = Case(0.0)
    loss, whole = case.gradients(chunk_tokens=10**6)
    small_loss, small = case.gradients(chunk_tokens=48)
    assert small_loss == pytest.approx(loss, rel=1e-5)
    assert_close(whole, small)


def test_scale_multiplies_gradients_and_not_the_reported_loss() -> None:
    case = Case(0.0)
    for cached in (False, True):
        loss, once = case.gradients(chunk_tokens=64, cached=cached)
        scaled_loss, half = case.gradients(chunk_tokens=64, cached=cached, scale=0.5)
        assert scaled_loss == pytest.approx(loss)
        assert_close({name: gradient / 2 for name, gradient in once.items()}, half)


def test_temperature_has_its_effect_in_both_ways_of_stepping() -> None:
    case = Case(0.0)
    case.objective = Objective({"contrastive": (1.0, contrastive(0.5, learned_temperature=True))})
    other = Case(0.0)
    for cached in (False, True):
        warm, _ = case.gradients(chunk_tokens=64, cached=cached)
        cold, _ = other.gradients(chunk_tokens=64, cached=cached)
        assert abs(warm - cold) > 1e-3
