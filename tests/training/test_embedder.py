"""The step's embedder: word rows are looked up once, and gradients are those of the plain model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from bias_bench.encoders.backbone import resolve_backbone
from bias_bench.encoders.encoder import pad, pool
from bias_bench.training.step import Embedder

PAD = 1
ALL = np.arange(4)
TEXTS = [[0, 17, 23, 2], [0, 5, 17, 17, 300, 2], [0, 9, 2], [0, 23, 411, 6, 8, 9, 2]]


def bert() -> Any:
    return resolve_backbone("scratch:tiny").load().model.eval()


def xlm_roberta() -> Any:
    from transformers import XLMRobertaConfig, XLMRobertaModel

    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=500, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=40, pad_token_id=PAD,
    )  # fmt: skip
    return XLMRobertaModel(config, add_pooling_layer=False).eval()


def plain(model: Any, texts: list[list[int]]) -> torch.Tensor:
    ids, mask = (torch.from_numpy(part) for part in pad(texts, PAD))
    return normalize(pool(model(input_ids=ids, attention_mask=mask), mask, "mean"), dim=1)


def embedder(model: Any) -> Embedder:
    return Embedder(model, PAD, "mean", "cpu", bf16=False, texts=TEXTS)


@pytest.mark.parametrize("make", [bert, xlm_roberta])
def test_vectors_and_gradients_equal_those_of_the_model_called_with_ids(make: Any) -> None:
    model, weights = make(), torch.linspace(-1, 1, len(TEXTS))
    expected = plain(model, TEXTS)
    (weights @ expected).square().sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    embed = embedder(model)
    found = torch.cat([embed(np.array([0, 1])), embed(np.array([2, 3]))])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    (weights @ found).square().sum().backward()
    embed.hand_over()
    for name, parameter in model.named_parameters():
        if name in gradients:
            torch.testing.assert_close(
                parameter.grad, gradients[name], atol=1e-6, rtol=1e-4, msg=name
            )


def test_gradients_of_several_steps_add_up() -> None:
    model = bert()
    word = model.get_input_embeddings().weight
    for _ in range(2):
        embed = embedder(model)
        embed(ALL)[:, 0].sum().backward()
        embed.hand_over()
    twice = word.grad.clone()
    model.zero_grad(set_to_none=True)
    embed = embedder(model)
    embed(ALL)[:, 0].sum().backward()
    embed.hand_over()
    torch.testing.assert_close(twice, 2 * word.grad)
    unused = np.setdiff1d(np.arange(len(word)), np.concatenate(TEXTS))
    assert not word.grad[unused].any()


def test_frozen_word_embeddings_get_no_gradient() -> None:
    model = bert()
    word = model.get_input_embeddings().weight.requires_grad_(False)
    embed = embedder(model)
    embed(ALL).sum().backward()
    embed.hand_over()
    assert word.grad is None


def test_what_is_added_reaches_each_text_alone_and_gets_its_gradient() -> None:
    model = bert()
    embed = embedder(model)
    clean = embed(ALL).detach()
    embed.added = torch.zeros(embed.shape, requires_grad=True)
    same = embed(ALL)
    torch.testing.assert_close(same.detach(), clean)
    same[2, 0].backward()
    gradient = embed.added.grad
    assert gradient is not None
    touched = gradient.abs().sum(dim=1) > 0
    assert torch.equal(touched, embed.token_texts == 2)
    with torch.no_grad():
        embed.added[embed.token_texts == 1] += torch.linspace(-1, 1, embed.shape[1])
    changed = (embed(ALL[::-1].copy()).detach().flip(0) - clean).abs().sum(dim=1) > 1e-4
    assert changed.tolist() == [False, True, False, False]
