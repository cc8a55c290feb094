"""The objective's further terms: language adversary, negative bank, score distillation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from bias_bench.config.training import AdversarySettings, BankSettings, DistillationSettings
from bias_bench.errors import UsageError
from bias_bench.training.objective import Embeddings
from bias_bench.training.terms.distillation import Distillation
from bias_bench.training.terms.language_adversary import LanguageAdversary, schedule
from bias_bench.training.terms.negative_bank import NegativeBank
from tests.support.helpers import contrastive

SIZE, DIMENSIONS = 6, 8


def batch(progress: float = 1.0, negatives: int = 0, seed: int = 0) -> Embeddings:
    generator = torch.Generator().manual_seed(seed)
    vectors = normalize(
        torch.randn(2 * SIZE + negatives, DIMENSIONS, generator=generator), dim=1
    ).requires_grad_()
    languages = torch.arange(2 * SIZE + negatives) % 3
    groups = torch.cat([torch.arange(SIZE), torch.arange(SIZE), 100 + torch.arange(negatives)])
    return Embeddings(
        vectors[:SIZE], vectors[SIZE:], groups[:SIZE], groups[SIZE:],
        languages[:SIZE], languages[SIZE:], progress=progress,
    )  # fmt: skip


def gradients(term: Any, given: Embeddings) -> tuple[torch.Tensor, torch.Tensor]:
    queries, candidates = torch.autograd.grad(
        term(given), [given.queries, given.candidates], allow_unused=True
    )
    return queries, candidates


# --- language adversary -----------------------------------------------------------------------


def adversary(languages: int = 3, seed: int = 0, **settings: Any) -> LanguageAdversary:
    return LanguageAdversary(DIMENSIONS, languages, AdversarySettings(**settings), seed)


def test_the_encoder_gets_minus_lambda_times_the_plain_gradient_under_reversal() -> None:
    given = batch(progress=0.3)
    term = adversary(strength=0.2, queue=0)
    vectors = torch.cat([given.queries, given.candidates])
    languages = torch.cat([given.query_languages, given.candidate_languages])
    plain = cross_entropy(term.discriminator(vectors * DIMENSIONS**0.5), languages)
    expected = torch.autograd.grad(plain, [given.queries, given.candidates])
    for found, one in zip(gradients(term, given), expected, strict=True):
        torch.testing.assert_close(found, -0.2 * schedule(0.3) * one)


def test_the_discriminator_gets_the_plain_gradient_and_the_value_is_its_loss() -> None:
    given = batch()
    term = adversary(strength=0.5, queue=0)
    vectors = torch.cat([given.queries, given.candidates]).detach()
    languages = torch.cat([given.query_languages, given.candidate_languages])
    plain = cross_entropy(term.discriminator(vectors * DIMENSIONS**0.5), languages)
    value = term(given)
    assert value.item() == pytest.approx(plain.item())
    parameters = list(term.discriminator.parameters())
    for found, one in zip(
        torch.autograd.grad(value, parameters), torch.autograd.grad(plain, parameters), strict=True
    ):
        torch.testing.assert_close(found, one)


def test_strength_rises_from_nothing_over_training() -> None:
    assert schedule(0) == 0
    assert schedule(0.5) == pytest.approx(2 / (1 + np.exp(-5)) - 1)
    assert 0.9999 < schedule(1) < 1
    term = adversary(strength=0.5)
    assert gradients(term, batch(progress=0.0)) == (None, None)


def test_confusion_vanishes_where_the_discriminator_is_undecided() -> None:
    term = adversary(strength=1.0, method="confusion")
    for parameter in term.discriminator[2].parameters():
        torch.nn.init.zeros_(parameter)
    for found in gradients(term, batch()):
        assert found.abs().max() < 1e-7
    sharp = adversary(strength=1.0, method="confusion", queue=0)
    given = batch()
    before = sharp.discriminator(given.queries.detach()).softmax(dim=1).max()
    moved = given.queries.detach() - 0.1 * gradients(sharp, given)[0]
    assert sharp.discriminator(moved).softmax(dim=1).max() < before


def test_the_queue_shows_other_languages_beside_a_monolingual_batch() -> None:
    term = adversary(queue=8)
    term(batch(seed=1))
    assert set(term.queue_languages.tolist()) == {0, 1, 2, -1}
    one = batch(seed=2)._replace(
        query_languages=torch.zeros(SIZE, dtype=torch.int64),
        candidate_languages=torch.zeros(SIZE, dtype=torch.int64),
    )
    with_queue = term(one)
    assert with_queue != adversary(queue=0)(one)
    filled = term.queue_languages.clone()
    term.eval()
    term(batch(seed=3))
    assert torch.equal(term.queue_languages, filled), "evaluation must leave the queue alone"


def test_a_full_queue_forgets_the_oldest() -> None:
    term = adversary(queue=SIZE)
    for seed in range(3):
        term(batch(seed=seed))
    newest = batch(seed=2)
    expected = torch.cat([newest.queries, newest.candidates]).detach()[::2]
    assert torch.equal(term.queue, expected)


def test_alternation_trains_one_side_at_a_time() -> None:
    term = adversary(strength=1.0, alternate=True)
    parameters = list(term.discriminator.parameters())
    for turn in range(4):
        given = batch(seed=turn)
        found = torch.autograd.grad(term(given), [given.queries, *parameters], allow_unused=True)
        encoder, discriminator = found[0] is not None, found[1] is not None
        assert (encoder, discriminator) == (turn % 2 == 1, turn % 2 == 0)


def test_an_adversary_of_one_language_is_refused() -> None:
    with pytest.raises(UsageError, match="one language only"):
        adversary(languages=1)


def test_the_discriminator_starts_from_its_seed_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = (adversary(seed=7) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.discriminator[0].weight, second.discriminator[0].weight)


# --- negatives --------------------------------------------------------------------------------


def test_a_translation_of_the_positive_gets_no_gradient_as_a_hard_negative() -> None:
    given = batch(negatives=2)
    row, translation, other = 3, SIZE, SIZE + 1
    groups = given.candidate_groups.clone()
    groups[translation] = given.query_groups[row]
    kept = [row, translation, other]
    alone = given._replace(
        queries=given.queries[[row]], query_groups=given.query_groups[[row]],
        candidates=given.candidates[kept], candidate_groups=groups[kept],
    )  # fmt: skip
    gradient = torch.autograd.grad(contrastive(0.1)(alone), given.candidates)[0]
    assert not gradient[translation].any()
    assert gradient[other].any()


def bank(**options: Any) -> NegativeBank:
    settings = {"size": 9, "guard": 1.0, "temperature": 0.5, "per_language": False, **options}
    term = NegativeBank(DIMENSIONS, BankSettings(**settings))
    vectors = normalize(torch.randn(9, DIMENSIONS, generator=torch.Generator().manual_seed(4)))
    term.initialise(vectors, torch.arange(9) % 3)
    return term


def all_allowed(given: Embeddings) -> Embeddings:
    """Positives next to their queries, so that no guard acts."""
    return given._replace(candidates=given.queries)


def test_the_banks_loss_rises_when_the_bank_learns_and_falls_when_the_encoder_does() -> None:
    given, term = all_allowed(batch()), bank()
    before = term(given)
    before.backward()
    with torch.no_grad():
        term.bank -= 0.05 * term.bank.grad
    assert term(given) > before
    term = bank()
    given = all_allowed(batch())
    queries = torch.autograd.grad(term(given), given.queries)[0]
    moved = normalize(given.queries - 0.05 * queries, dim=1).detach()
    assert term(given._replace(queries=moved)) < before


def test_the_bank_starts_where_it_was_put() -> None:
    term = bank()
    norms = term.bank.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(9))


def test_the_guard_leaves_out_what_is_nearly_the_positive() -> None:
    given = batch()
    term = bank(guard=0.95)
    copy = given.candidates.detach()[:1].repeat(9, 1)
    term.initialise(copy, torch.zeros(9, dtype=torch.int64))
    one = given._replace(queries=given.queries[:1])
    assert term(one).item() == 0, "all of the bank is the positive itself"
    assert term.observed["left_out"] == 1


def test_a_query_meets_only_the_banks_vectors_in_its_positives_language() -> None:
    given, term = batch(), bank(per_language=True, guard=1.0)
    languages = term.languages.clone()
    whole = torch.autograd.grad(term(all_allowed(given)), term.bank)[0]
    assert whole.any()
    term.languages.fill_(99)
    assert term(all_allowed(given)).item() == 0
    term.languages.copy_(languages)


def test_a_bank_larger_than_memory_is_refused() -> None:
    with pytest.raises(UsageError, match=r"needs .* GB of .* GB of memory"):
        NegativeBank(1024, BankSettings(size=10**10))


# --- distillation -----------------------------------------------------------------------------


@pytest.mark.parametrize("same_language", [True, False])
def test_distillation_is_nothing_at_the_start_and_something_after(same_language: bool) -> None:
    given = batch()
    start = torch.cat([given.queries, given.candidates]).detach()
    term = Distillation(DistillationSettings(temperature=0.1, same_language=same_language))
    assert term(given._replace(teacher=start)).item() == pytest.approx(0, abs=1e-7)
    other = batch(seed=9)
    moved = given._replace(teacher=torch.cat([other.queries, other.candidates]).detach())
    value = term(moved)
    assert value > 0
    assert torch.isfinite(torch.autograd.grad(value, given.queries)[0]).all()


def test_distillation_equals_a_hand_computed_divergence() -> None:
    queries = torch.tensor([[1.0, 0.0]])
    candidates = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    teacher = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
    zeros, two = torch.zeros(1, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)
    given = Embeddings(queries, candidates, zeros, two, zeros, two, teacher=teacher)
    t, s = np.array([0.6, 0.8]), np.array([1.0, 0.0])
    p, q = (np.exp(x / 0.5) / np.exp(x / 0.5).sum() for x in (t, s))
    expected = 0.25 * (p * np.log(p / q)).sum()
    term = Distillation(DistillationSettings(temperature=0.5))
    assert term(given).item() == pytest.approx(expected, rel=1e-5)
