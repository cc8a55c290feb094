"""One training step: texts to embeddings in length-sorted chunks, loss, gradients.

A step needs the embeddings of its texts, not the texts together, so they are embedded in chunks of
similar length under a token budget, which is where padding would cost most of the time.

Gradient caching (Gao et al. 2021, arXiv:2101.06983) bounds memory by one chunk: embed all chunks
without a graph, take the loss's gradient at the embeddings, then embed each chunk again with a
graph and push that gradient through it. Dropout is seeded by chunk, so its masks are the same both
times and gradients equal those of the plain step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from bias_bench.encoders.encoder import length_sorted_batches
from bias_bench.processes import ALONE, Processes
from bias_bench.training.objective import Embeddings, Losses, Objective

TokenIds = Sequence[int] | np.ndarray
# Rows of a batch's texts -> unit vectors float32 [rows, d], with a graph where grad is enabled.
Embed = Callable[[np.ndarray], torch.Tensor]


class How(NamedTuple):
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


def backward(
    embed: Embed,
    batch: Batch,
    objective: Objective,
    how: How,
    scale: float = 1.0,
) -> Losses:
    """Add the gradients of ``scale * loss`` to all parameters; returns the (unscaled) losses.

    Where several processes share the batch, the encoder's gradients are this process's part.
    """
    run = _cached if how.cached else _plain
    return run(embed, _chunks(batch, how.chunk_tokens), batch, objective, how, scale)


def embed_all(embed: Embed, batch: Batch, how: How) -> torch.Tensor:
    """Vectors [texts, d] of a whole batch, queries then candidates, without a graph."""
    chunks = _chunks(batch, how.chunk_tokens)
    with torch.no_grad():
        return _embed_chunks(embed, chunks, how)


def evaluate(embed: Embed, batch: Batch, objective: Objective, how: How) -> float:
    """The loss of a batch, without gradients."""
    vectors = embed_all(embed, batch, how)
    with torch.no_grad():
        return objective(_assemble(vectors, batch)).total.item()


def _chunks(batch: Batch, chunk_tokens: int) -> list[np.ndarray]:
    return list(length_sorted_batches([len(ids) for ids in batch.texts], chunk_tokens))


def _embed_chunks(embed: Embed, chunks: list[np.ndarray], how: How) -> torch.Tensor:
    """Vectors [texts, d] in the order of the texts."""
    own = how.processes.share(chunks)
    vectors = []
    for number in own:
        how.seed_chunk(number)
        vectors.append(embed(chunks[number]))
    if not own:  # as many dimensions as the others' vectors have, and no row
        with torch.no_grad():
            vectors.append(embed(chunks[0][:1])[:0])
    rows = np.concatenate([chunks[0][:0], *(chunks[number] for number in own)])
    return how.processes.whole(torch.cat(vectors), rows, sum(map(len, chunks)))


def _plain(
    embed: Embed,
    chunks: list[np.ndarray],
    batch: Batch,
    objective: Objective,
    how: How,
    scale: float,
) -> Losses:
    losses = objective(_assemble(_embed_chunks(embed, chunks, how), batch))
    if losses.total.requires_grad or how.processes.share(chunks):  # else no part of it is ours
        (scale * losses.total).backward()
    return _detached(losses)


def _cached(
    embed: Embed,
    chunks: list[np.ndarray],
    batch: Batch,
    objective: Objective,
    how: How,
    scale: float,
) -> Losses:
    with torch.no_grad():
        embeddings = _embed_chunks(embed, chunks, how)
    embeddings.requires_grad_()
    losses = objective(_assemble(embeddings, batch))
    (scale * losses.total).backward()
    gradient = embeddings.grad
    if gradient is None:
        raise RuntimeError("no term of the objective depends on the embeddings")
    for number in how.processes.share(chunks):
        how.seed_chunk(number)
        rows = torch.from_numpy(chunks[number]).to(gradient.device)
        (embed(chunks[number]) * gradient[rows]).sum().backward()
    return _detached(losses)


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


def _detached(losses: Losses) -> Losses:
    embeddings = losses.embeddings
    return Losses(
        losses.total.detach(),
        {name: value.detach() for name, value in losses.terms.items()},
        embeddings._replace(
            queries=embeddings.queries.detach(), candidates=embeddings.candidates.detach()
        ),
    )
