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

# Token ids of some texts -> unit vectors float32 [texts, d], with a graph where grad is enabled.
TokenIds = Sequence[int] | np.ndarray
Embed = Callable[[Sequence[TokenIds]], torch.Tensor]


class Batch(NamedTuple):
    """Token ids and labels of one batch; shapes as in `objective.Embeddings`."""

    queries: Sequence[TokenIds]
    candidates: Sequence[TokenIds]
    query_groups: np.ndarray
    candidate_groups: np.ndarray
    query_languages: np.ndarray
    candidate_languages: np.ndarray

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
    texts = batch.texts
    chunks = list(length_sorted_batches([len(ids) for ids in texts], chunk_tokens))
    run = _cached if cached else _plain
    return run(embed, texts, chunks, batch, objective, scale)


def evaluate(embed: Embed, batch: Batch, objective: Objective, chunk_tokens: int) -> float:
    """The loss of a batch, without gradients."""
    texts = batch.texts
    chunks = list(length_sorted_batches([len(ids) for ids in texts], chunk_tokens))
    with torch.no_grad():
        vectors = [embed([texts[row] for row in rows]) for rows in chunks]
        return objective(_assemble(_in_order(vectors, chunks), batch)).total.item()


def _plain(
    embed: Embed,
    texts: list[TokenIds],
    chunks: list[np.ndarray],
    batch: Batch,
    objective: Objective,
    scale: float,
) -> Losses:
    vectors = [embed([texts[row] for row in rows]) for rows in chunks]
    losses = objective(_assemble(_in_order(vectors, chunks), batch))
    (scale * losses.total).backward()
    return _detached(losses)


def _cached(
    embed: Embed,
    texts: list[TokenIds],
    chunks: list[np.ndarray],
    batch: Batch,
    objective: Objective,
    scale: float,
) -> Losses:
    states, vectors = [], []
    with torch.no_grad():
        for rows in chunks:
            states.append(_random_state())
            vectors.append(embed([texts[row] for row in rows]))
    embeddings = _in_order(vectors, chunks).requires_grad_()
    losses = objective(_assemble(embeddings, batch))
    (scale * losses.total).backward()
    gradient = embeddings.grad
    if gradient is None:
        raise RuntimeError("no term of the objective depends on the embeddings")
    after = _random_state()
    for rows, state in zip(chunks, states, strict=True):
        _restore(state)
        again = embed([texts[row] for row in rows])
        (again * gradient[torch.from_numpy(rows)]).sum().backward()
    _restore(after)
    return _detached(losses)


def _in_order(vectors: list[torch.Tensor], chunks: list[np.ndarray]) -> torch.Tensor:
    """Chunks' vectors [texts, d] in the order of the texts."""
    place = np.argsort(np.concatenate(chunks))
    return torch.cat(vectors)[torch.from_numpy(place)]


def _assemble(vectors: torch.Tensor, batch: Batch) -> Embeddings:
    size = len(batch.queries)
    labels = [
        torch.from_numpy(np.asarray(part, dtype=np.int64)).to(vectors.device)
        for part in (
            batch.query_groups,
            batch.candidate_groups,
            batch.query_languages,
            batch.candidate_languages,
        )
    ]
    return Embeddings(vectors[:size], vectors[size:], *labels)


def _detached(losses: Losses) -> Losses:
    return Losses(
        losses.total.detach(), {name: value.detach() for name, value in losses.terms.items()}
    )


def _random_state() -> tuple[torch.Tensor, list[torch.Tensor]]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return torch.get_rng_state(), cuda


def _restore(state: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])
