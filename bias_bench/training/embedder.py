"""From token ids to unit vectors, for the chunks of one step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from bias_bench.encoders.encoder import pad, pool
from bias_bench.encoders.profile import Pooling
from bias_bench.training.step import TokenIds
from bias_bench.training.vocabulary import table_rows


class Embedder:
    """Embeds rows of a step's `texts`, given as token ids: unit vectors float32 [rows, d].

    `added`, where set, is added to the word embeddings: float32 [tokens of all texts, d], texts one
    after the other. It may ask for a gradient.

    Word embeddings are looked up once, at construction, and `hand_over` gives the model their
    gradient once: with a lookup per chunk, every chunk would fill a gradient as large as the whole
    vocabulary.
    """

    def __init__(
        self,
        model: Any,
        pad_id: int,
        pooling: Pooling,
        device: str,
        bf16: bool,
        texts: Sequence[TokenIds],
    ) -> None:
        self._model, self._pad_id, self._pooling = model, pad_id, pooling
        self._device, self._bf16 = torch.device(device), bf16
        table = model.get_input_embeddings()
        self._weight = table.weight
        self._pieces = np.unique(np.concatenate([[pad_id], *texts])).astype(np.int64)
        self._table_rows = table_rows(table, self._to_device(self._pieces))
        self._texts = texts
        self.added: torch.Tensor | None = None
        self._starts = np.cumsum([0, *map(len, texts)])
        rows = self._weight.detach()[self._table_rows]
        self._rows = rows.requires_grad_(self._weight.requires_grad)

    def __call__(self, rows: np.ndarray) -> torch.Tensor:
        ids, mask = pad([self._texts[row] for row in rows], self._pad_id)
        places = self._to_device(np.searchsorted(self._pieces, ids))
        words = torch.nn.functional.embedding(places, self._rows)
        attention = self._to_device(mask)
        if self.added is not None:
            place = self._starts[rows][:, None] + np.arange(ids.shape[1])
            inside = self._to_device(np.where(mask, place, 0))
            shift = torch.nn.functional.embedding(inside, self.added)
            words = words + shift * attention.unsqueeze(-1)
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._bf16):
            output = self._model(inputs_embeds=words, attention_mask=attention)
        pooled = pool(output, attention, self._pooling)
        return torch.nn.functional.normalize(pooled.float(), dim=1)

    @property
    def token_texts(self) -> torch.Tensor:
        """int64 [tokens of all texts]: the row of the text that each token belongs to."""
        return self._to_device(np.repeat(np.arange(len(self._texts)), np.diff(self._starts)))

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of `added`: tokens of all texts, dimensions of a word embedding."""
        return int(self._starts[-1]), self._weight.shape[1]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """While it lasts, the word embeddings of the texts get no gradient."""
        before = self._rows
        self._rows = before.detach()
        try:
            yield
        finally:
            self._rows = before

    def hand_over(self) -> None:
        """Add the gradient of the looked-up rows to the model's word embeddings."""
        if self._rows.grad is None:
            return
        if self._weight.grad is None:
            self._weight.grad = torch.zeros_like(self._weight)
        self._weight.grad.index_add_(0, self._table_rows, self._rows.grad)
        self._rows.grad = None

    def _to_device(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)
