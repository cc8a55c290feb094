"""One training step: texts to embeddings in length-sorted chunks, loss, gradients.

A step needs the embeddings of its texts, not the texts together, so they are embedded in chunks of
similar length under a token budget, which is where padding would cost most of the time.

Gradient caching (Gao et al. 2021, arXiv:2101.06983) bounds memory by one chunk: embed all chunks
without a graph, take the loss's gradient at the embeddings, then embed each chunk again with a
graph and push that gradient through it. Dropout is seeded by chunk, so its masks are the same both
times and gradients equal those of the plain step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

from bias_bench.encoders.encoder import length_sorted_batches, pad, pool
from bias_bench.encoders.profile import Pooling
from bias_bench.system.processes import ALONE, Processes
from bias_bench.training.objective import Embeddings, Losses, Objective
from bias_bench.training.vocabulary import table_rows

TokenIds = Sequence[int] | np.ndarray
# Rows of a batch's texts -> unit vectors float32 [rows, d], with a graph where grad is enabled.
Embed = Callable[[np.ndarray], torch.Tensor]


class StepOptions(NamedTuple):
    """How a batch is computed, none of which changes its loss.

    `chunk_tokens` bounds a chunk, padding included; `cached` turns gradient caching on;
    `seed_chunk` sets the random state that the dropout of a chunk starts from.
    """

    chunk_tokens: int
    cached: bool
    seed_chunk: Callable[[int], object]
    processes: Processes = ALONE


class Batch(NamedTuple):
    """Token ids and labels of one batch; shapes as in `objective.Embeddings`.

    A negative stands after the positives, and belongs to the query whose row it was drawn for.
    """

    queries: Sequence[TokenIds]
    candidates: Sequence[TokenIds]
    query_groups: np.ndarray
    candidate_groups: np.ndarray
    query_languages: np.ndarray
    candidate_languages: np.ndarray
    progress: float = 0.0
    teacher: torch.Tensor | None = None

    @property
    def texts(self) -> list[TokenIds]:
        """Queries, then candidates."""
        return [*self.queries, *self.candidates]


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
        self.model, self._pad_id, self._pooling = model, pad_id, pooling
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
            output = self.model(inputs_embeds=words, attention_mask=attention)
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


def backward(
    embed: Embed, batch: Batch, objective: Objective, options: StepOptions, scale: float = 1.0
) -> Losses:
    """Add the gradients of ``scale * loss`` to all parameters; returns the (unscaled) losses.

    Where several processes share the batch, the encoder's gradients are this process's part.
    """
    chunks = _chunks(batch, options.chunk_tokens)
    share = options.processes.share(chunks)
    with torch.set_grad_enabled(not options.cached):
        vectors = _embed_chunks(embed, chunks, options)
    if options.cached:
        vectors.requires_grad_()
    losses = objective(_assemble(vectors, batch))
    if losses.total.requires_grad or share:  # else no part of it is ours
        (scale * losses.total).backward()
    if options.cached:
        gradient = vectors.grad
        if gradient is None:
            raise RuntimeError("no term of the objective depends on the embeddings")
        for number in share:
            options.seed_chunk(number)
            rows = torch.from_numpy(chunks[number]).to(gradient.device)
            (embed(chunks[number]) * gradient[rows]).sum().backward()
    embeddings = losses.embeddings
    return Losses(
        losses.total.detach(),
        {name: value.detach() for name, value in losses.terms.items()},
        embeddings._replace(
            queries=embeddings.queries.detach(), candidates=embeddings.candidates.detach()
        ),
    )


def embed_all(embed: Embed, batch: Batch, options: StepOptions) -> torch.Tensor:
    """Vectors [texts, d] of a whole batch, queries then candidates, without a graph."""
    chunks = _chunks(batch, options.chunk_tokens)
    with torch.no_grad():
        return _embed_chunks(embed, chunks, options)


def evaluate(embed: Embed, batch: Batch, objective: Objective, options: StepOptions) -> float:
    """The loss of a batch, without gradients."""
    vectors = embed_all(embed, batch, options)
    with torch.no_grad():
        return objective(_assemble(vectors, batch)).total.item()


def _chunks(batch: Batch, chunk_tokens: int) -> list[np.ndarray]:
    return list(length_sorted_batches([len(ids) for ids in batch.texts], chunk_tokens))


def _embed_chunks(embed: Embed, chunks: list[np.ndarray], options: StepOptions) -> torch.Tensor:
    """Vectors [texts, d] in the order of the texts."""
    share = options.processes.share(chunks)
    vectors = []
    for number in share:
        options.seed_chunk(number)
        vectors.append(embed(chunks[number]))
    if not share:  # as many dimensions as the others' vectors have, and no row
        with torch.no_grad():
            vectors.append(embed(chunks[0][:1])[:0])
    rows = np.concatenate([chunks[0][:0], *(chunks[number] for number in share)])
    return options.processes.whole(torch.cat(vectors), rows, sum(map(len, chunks)))


def _assemble(vectors: torch.Tensor, batch: Batch) -> Embeddings:
    def labels(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(values, dtype=np.int64)).to(vectors.device)

    size = len(batch.queries)
    return Embeddings(
        vectors[:size],
        vectors[size:],
        query_groups=labels(batch.query_groups),
        candidate_groups=labels(batch.candidate_groups),
        query_languages=labels(batch.query_languages),
        candidate_languages=labels(batch.candidate_languages),
        progress=batch.progress,
        teacher=batch.teacher,
    )
