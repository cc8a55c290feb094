"""One training step: texts to embeddings in length-sorted chunks, loss, gradients.

A step needs the embeddings of its texts, not the texts together, so they are embedded in chunks of
similar length under a token budget, which is where padding would cost most of the time.

Gradient caching (Gao et al. 2021, arXiv:2101.06983) bounds memory by one chunk: embed all chunks
without a graph, take the loss's gradient at the embeddings, then embed each chunk again with a
graph and push that gradient through it. The random state of each chunk is kept and replayed, so
dropout masks are the same both times and gradients equal those of the plain step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from bias_bench.encoders.encoder import length_sorted_batches
from bias_bench.training.objective import Embeddings, Losses, Objective

TokenIds = Sequence[int] | np.ndarray
# Rows of a batch's texts -> unit vectors float32 [rows, d], with a graph where grad is enabled.
Embed = Callable[[np.ndarray], torch.Tensor]


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
    chunk_tokens: int,
    cached: bool = False,
    scale: float = 1.0,
) -> Losses:
    """Add the gradients of ``scale * loss`` to all parameters; returns the (unscaled) losses."""
    run = _cached if cached else _plain
    return run(embed, _chunks(batch, chunk_tokens), batch, objective, scale)


def embed_all(embed: Embed, batch: Batch, chunk_tokens: int) -> torch.Tensor:
    """Vectors [texts, d] of a whole batch, queries then candidates, without a graph."""
    chunks = _chunks(batch, chunk_tokens)
    with torch.no_grad():
        return _in_order([embed(rows) for rows in chunks], chunks)


def evaluate(embed: Embed, batch: Batch, objective: Objective, chunk_tokens: int) -> float:
    """The loss of a batch, without gradients."""
    vectors = embed_all(embed, batch, chunk_tokens)
    with torch.no_grad():
        return objective(_assemble(vectors, batch)).total.item()


def _chunks(batch: Batch, chunk_tokens: int) -> list[np.ndarray]:
    return list(length_sorted_batches([len(ids) for ids in batch.texts], chunk_tokens))


def _plain(
    embed: Embed,
    chunks: list[np.ndarray],
    batch: Batch,
    objective: Objective,
    scale: float,
) -> Losses:
    vectors = [embed(rows) for rows in chunks]
    losses = objective(_assemble(_in_order(vectors, chunks), batch))
    (scale * losses.total).backward()
    return _detached(losses)


def _cached(
    embed: Embed,
    chunks: list[np.ndarray],
    batch: Batch,
    objective: Objective,
    scale: float,
) -> Losses:
    states, vectors = [], []
    with torch.no_grad():
        for rows in chunks:
            states.append(_random_state())
            vectors.append(embed(rows))
    embeddings = _in_order(vectors, chunks).requires_grad_()
    losses = objective(_assemble(embeddings, batch))
    (scale * losses.total).backward()
    gradient = embeddings.grad
    if gradient is None:
        raise RuntimeError("no term of the objective depends on the embeddings")
    after = _random_state()
    for rows, state in zip(chunks, states, strict=True):
        _restore(state)
        again = embed(rows)
        (again * gradient[torch.from_numpy(rows)]).sum().backward()
    _restore(after)
    return _detached(losses)


def _in_order(vectors: list[torch.Tensor], chunks: list[np.ndarray]) -> torch.Tensor:
    """Chunks' vectors [texts, d] in the order of the texts."""
    place = np.argsort(np.concatenate(chunks))
    return torch.cat(vectors)[torch.from_numpy(place)]


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


def _random_state() -> tuple[torch.Tensor, list[torch.Tensor]]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return torch.get_rng_state(), cuda


def _restore(state: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])
