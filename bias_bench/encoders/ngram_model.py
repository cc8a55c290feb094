"""The architecture of universal-sentence-encoder-multilingual v3 as a transformers model.

Convolutions over n-grams beside averaged token embeddings (Iyyer et al. 2015; Yang et al. 2020).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

ORDERS = {2: 0, 3: 1, 5: 2}  # length of the n-grams, and how many of its tokens come before


class NgramConfig(PretrainedConfig):
    """Sizes: `word_size` of a token's embedding, `branch_size` of each n-gram's, `inner_size`
    of the dense layers, `hidden_size` of a text's vector.
    """

    model_type = "biasbench-ngram"

    def __init__(
        self,
        vocab_size: int = 128_010,
        word_size: int = 512,
        branch_size: int = 256,
        inner_size: int = 320,
        hidden_size: int = 512,
        norm_eps: float = 1e-12,
        **others: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.word_size, self.branch_size = word_size, branch_size
        self.inner_size, self.hidden_size = inner_size, hidden_size
        self.norm_eps = norm_eps
        super().__init__(**others)


class _Branch(nn.Module):
    """Two convolutions over n-grams, each with ReLU and a shortcut."""

    def __init__(self, size: int, order: int, before: int) -> None:
        super().__init__()
        self.around = (before, order - 1 - before)
        self.inner = nn.Conv1d(size, size, order)
        self.outer = nn.Conv1d(size, size, order)

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Of features [batch, size, tokens], 0 where `mask` [batch, 1, tokens] is."""
        for layer in (self.inner, self.outer):
            padded = nn.functional.pad(features, self.around)
            features = (torch.relu(layer(padded)) + features) * mask
        return features


class NgramModel(PreTrainedModel):
    """Token ids, or their embeddings, to one vector per text: `pooler_output` [batch, hidden]."""

    config_class = NgramConfig
    base_model_prefix = "ngram"

    def __init__(self, config: NgramConfig) -> None:
        super().__init__(config)
        branches = config.branch_size * len(ORDERS)
        features = config.word_size + branches
        self.embeddings = nn.Embedding(config.vocab_size, config.word_size)
        self.projection = nn.Linear(config.word_size, branches)
        self.projection_norm = nn.LayerNorm(branches, eps=config.norm_eps)
        self.ngrams = nn.ModuleList(
            _Branch(config.branch_size, order, before) for order, before in ORDERS.items()
        )
        self.features_norm = nn.LayerNorm(features, eps=config.norm_eps)
        self.sentence = nn.Linear(features, config.hidden_size)
        inner, hidden = config.inner_size, config.hidden_size
        self.first = nn.Linear(hidden, inner, bias=False)
        self.second = nn.Linear(inner, inner, bias=False)
        self.second_shortcut = nn.Linear(hidden, inner, bias=False)
        self.third = nn.Linear(inner, hidden, bias=False)
        self.last = nn.Linear(hidden, hidden, bias=False)
        self.last_shortcut = nn.Linear(inner, hidden, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.embeddings = value

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **_: Any,
    ) -> BaseModelOutputWithPooling:
        words = self.embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if attention_mask is None:
            attention_mask = words.new_ones(words.shape[:2])
        mask = attention_mask.unsqueeze(-1).to(words.dtype)
        projected = self.projection_norm(self.projection(words)) * mask
        across = mask.transpose(1, 2)
        parts = projected.transpose(1, 2).chunk(len(ORDERS), dim=1)
        found = [branch(part, across) for branch, part in zip(self.ngrams, parts, strict=True)]
        features = torch.cat([words, torch.cat(found, dim=1).transpose(1, 2)], dim=2)
        features = self.features_norm(features) * mask
        length = mask.sum(dim=1)
        # the sum of projected features is the projected sum, with the bias once per token
        summed = nn.functional.linear(features.sum(dim=1), self.sentence.weight)
        averaged = (summed + length * self.sentence.bias) / length.sqrt()
        first = torch.relu(self.first(averaged))
        second = torch.relu(self.second_shortcut(averaged) + self.second(first))
        third = torch.relu(self.third(second))
        pooled = torch.tanh(self.last_shortcut(second) + self.last(third))
        return BaseModelOutputWithPooling(last_hidden_state=features, pooler_output=pooled)


# transformers' own way to make a folder of this architecture loadable by its name
AutoConfig.register(NgramConfig.model_type, NgramConfig, exist_ok=True)
AutoModel.register(NgramConfig, NgramModel, exist_ok=True)
