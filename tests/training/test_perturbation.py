"""Perturbed steps: what each method adds up, its bounds; and nothing at all is plain training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bias_bench.config.experiment import make_experiment
from bias_bench.config.training import AdversarySettings, PerturbationSettings
from bias_bench.encoders.backbone import resolve_backbone
from bias_bench.errors import UsageError
from bias_bench.training.objective import Losses, Objective
from bias_bench.training.perturbation import CONTRASTIVE, Passes, perturbed_step
from bias_bench.training.step import Batch, Embedder, StepOptions
from bias_bench.training.terms.language_adversary import LanguageAdversary
from tests.support.helpers import contrastive, set_dropout


def attack(method: Any, **settings: Any) -> PerturbationSettings:
    return PerturbationSettings(method=method, **settings)


class Case:
    """A small encoder, a batch of ragged texts and a way to take one step's gradients."""

    def __init__(self, dropout: float = 0.0, adversary: bool = False) -> None:
        self.model = resolve_backbone("scratch:tiny").load().model.train()
        set_dropout(self.model, dropout)
        random = np.random.default_rng(0)
        texts = [random.integers(4, 900, size=n).tolist() for n in random.integers(3, 20, size=18)]
        rows, languages = np.arange(8), np.arange(18) % 3
        self.batch = Batch(
            texts[:8], texts[8:], rows, np.arange(10), languages[:8], languages[8:], progress=0.5
        )
        self.terms: dict[str, Any] = {
            CONTRASTIVE: (1.0, contrastive(0.1, learned_temperature=True))
        }
        if adversary:
            term = LanguageAdversary(32, 3, AdversarySettings(queue=16), seed=0)
            self.terms["language_adversary"] = (1.0, term)
        self.seen: list[torch.Tensor | None] = []

    def step(
        self, attack: PerturbationSettings | None, cached: bool = False, bf16: bool = False
    ) -> tuple[Losses, dict[str, Any]]:
        modules = [self.model, *(term for _, term in self.terms.values())]
        for module in modules:
            module.zero_grad(set_to_none=True)
        embedder = Embedder(self.model, 1, "mean", "cpu", bf16, self.batch.texts)
        passes = _Watched(
            embedder, self.batch, Objective(self.terms),
            StepOptions(64, cached, torch.manual_seed), 3,
        )  # fmt: skip
        passes_seen = passes.watch()
        losses = perturbed_step(passes, attack) if attack else passes.run(None, passes.objective)
        embedder.hand_over()
        self.seen = passes_seen
        named = [pair for module in modules for pair in module.named_parameters()]
        return losses, {name: p.grad.clone() for name, p in named if p.grad is not None}

    def norms(self, added: torch.Tensor) -> torch.Tensor:
        lengths = [len(text) for text in self.batch.texts]
        return torch.stack([part.norm() for part in added.detach().split(lengths)])


_SEEN: list[torch.Tensor | None] = []


class _Watched(Passes):
    """Passes that remember what was added to the words."""

    def watch(self) -> list[torch.Tensor | None]:
        _SEEN.clear()
        return _SEEN

    def run(self, added: torch.Tensor | None, objective: Objective, factor: float = 1.0) -> Losses:
        _SEEN.append(None if added is None else added.detach().clone())
        return super().run(added, objective, factor)


def assert_close(first: dict[str, Any], second: dict[str, Any], factor: float = 1.0) -> None:
    assert first.keys() == second.keys()
    for name, gradient in first.items():
        torch.testing.assert_close(gradient, factor * second[name], atol=2e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_freelb_without_a_radius_is_plain_training(dropout: float, cached: bool) -> None:
    case = Case(dropout)
    plain, expected = case.step(None, cached)
    found, gradients = case.step(attack("freelb", radius=0.0, steps=3), cached)
    assert found.total.item() == pytest.approx(plain.total.item(), rel=1e-6)
    assert found.terms["freelb"].item() == pytest.approx(plain.total.item(), rel=1e-6)
    assert_close(gradients, expected)


def test_freelb_leaves_the_other_terms_at_their_weight() -> None:
    case, other = Case(adversary=True), Case(adversary=True)
    plain, expected = case.step(None)
    found, gradients = other.step(attack("freelb", radius=0.0, steps=3))
    assert found.total.item() == pytest.approx(plain.total.item(), rel=1e-6)
    assert_close(gradients, expected)


@pytest.mark.parametrize("method", ["fgm", "pgd"])
def test_without_a_radius_the_loss_counts_twice(method: Any) -> None:
    case = Case(0.2)
    plain, expected = case.step(None)
    found, gradients = case.step(attack(method, radius=0.0, weight=1.0))
    assert found.total.item() == pytest.approx(2 * plain.total.item(), rel=1e-5)
    assert_close(gradients, expected, factor=2.0)


@pytest.mark.parametrize("method", ["fgm", "pgd", "freelb"])
def test_the_perturbed_loss_is_higher_and_every_text_keeps_to_its_own_bound(method: Any) -> None:
    case = Case()
    wanted = attack(method, radius=0.8, step_size=0.5, steps=3)
    losses, _ = case.step(wanted)
    assert losses.terms[method] > losses.terms[CONTRASTIVE]
    last = case.seen[-1]
    assert last is not None
    norms = case.norms(last)
    queries = len(case.batch.queries)
    torch.testing.assert_close(norms[:queries], torch.full((queries,), 0.8), rtol=1e-3, atol=1e-3)
    assert not norms[queries:].any(), "candidates are not attacked by default"
    case.step(wanted.model_copy(update={"sides": "both"}))
    assert case.seen[-1] is not None
    assert case.norms(case.seen[-1]).min() > 0.5


def test_more_ascent_hurts_more() -> None:
    case = Case()
    one, _ = case.step(attack("pgd", radius=1.0, step_size=0.4, steps=1))
    many, _ = case.step(attack("pgd", radius=1.0, step_size=0.4, steps=4))
    assert many.terms["pgd"] > one.terms["pgd"]


def test_ascent_leaves_no_gradient_in_any_parameter() -> None:
    case = Case()
    _, once = case.step(attack("pgd", radius=0.0, steps=1))
    _, often = case.step(attack("pgd", radius=0.0, steps=4))
    assert_close(often, once)


def test_smart_asks_that_scores_stay_as_they_are() -> None:
    case = Case()
    wanted = attack("smart", radius=0.05, step_size=0.05, steps=1, start=0.01, sides="both")
    losses, gradients = case.step(wanted)
    plain, expected = case.step(None)
    assert losses.terms["smart"] > 0
    assert losses.total > plain.total
    assert any(not torch.equal(gradients[name], expected[name]) for name in expected)
    none, same = case.step(wanted.model_copy(update={"radius": 0.0}))
    assert none.terms["smart"].item() == pytest.approx(0, abs=1e-9)
    assert_close(same, expected)


@pytest.mark.parametrize("method", ["fgm", "pgd", "freelb", "smart"])
def test_gradient_caching_gives_the_same_gradients(method: Any) -> None:
    case = Case(0.1)
    wanted = attack(method, radius=0.3, step_size=0.2, steps=2, start=0.05)
    _, plain = case.step(wanted)
    _, cached = case.step(wanted, cached=True)
    assert_close(cached, plain)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("method", ["fgm", "pgd", "freelb", "smart"])
def test_every_method_perturbs_and_teaches_at_its_defaults(method: Any, bf16: bool) -> None:
    case = Case()
    _, plain = case.step(None, bf16=bf16)
    wanted = attack(method)
    losses, gradients = case.step(wanted, bf16=bf16)
    assert losses.terms[method] > 0
    last = case.seen[-1]
    assert last is not None
    norms = case.norms(last)
    queries = len(case.batch.queries)
    assert norms[:queries].min() > 0.005, "every query is perturbed"
    if method == "smart":
        assert last.abs().max().item() == pytest.approx(wanted.radius)
    else:
        assert norms.max() <= wanted.radius * 1.001
    names = [name for name in plain if name != "log_scale"]
    clean = torch.cat([plain[name].ravel() for name in names])
    extra = torch.cat([gradients[name].ravel() for name in names]) - clean
    assert extra.norm() > 1e-3 * clean.norm()


def test_the_documented_defaults_are_those_that_hold() -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text("utf-8")
    for method in ("fgm", "pgd", "freelb", "smart"):
        row = next(line for line in page.splitlines() if line.startswith(f"| `{method}` |"))
        cells = [cell.strip() for cell in row.split("|")[2:6]]
        for name, cell in zip(("radius", "step_size", "steps", "start"), cells, strict=True):
            assert cell == "" or float(cell) == getattr(attack(method), name), (method, name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "smart", "start": 0}, "smart needs a start above 0"),
        ({"method": "freelb", "start": 0, "steps": 1}, "freelb in 1 step needs a start above 0"),
    ],
)
def test_what_could_only_leave_the_texts_as_they_are_is_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make_experiment({"training": {"terms": {"perturbation": settings}}})
    attack("freelb", start=0, steps=2)  # moves in the second step
