"""The objective: a weighted sum of terms on embeddings.

Terms see embeddings and integers only, never the encoder, so that gradient caching covers them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Embeddings(NamedTuple):
    """One batch: unit vectors float32 and what is known of each row.

    `queries` [B, d]; `candidates` [B + N, d]: row i < B is query i's positive, the N others are
    hard negatives. `query_groups` int64 [B], `candidate_groups` int64 [B + N]: rows of an equal
    group are parallel or share a sentence; languages alike.
    """

    queries: Tensor
    candidates: Tensor
    query_groups: Tensor
    candidate_groups: Tensor
    query_languages: Tensor
    candidate_languages: Tensor


class Term(Protocol):
    """A part of the objective; a torch module where it learns parameters of its own."""

    def __call__(self, batch: Embeddings) -> Tensor:
        """The term's loss, a float32 scalar; lower is better."""


class Losses(NamedTuple):
    """The weighted sum and each term's own value."""

    total: Tensor
    terms: dict[str, Tensor]


class Objective:
    """A sum of named terms with weights."""

    def __init__(self, terms: Mapping[str, tuple[float, Term]]) -> None:
        if not terms:
            raise ValueError("an objective needs at least one term")
        self.terms = dict(terms)

    def __call__(self, batch: Embeddings) -> Losses:
        """The losses of one batch."""
        values = {name: term(batch) for name, (_, term) in self.terms.items()}
        weighted = [weight * values[name] for name, (weight, _) in self.terms.items()]
        total = weighted[0]
        for value in weighted[1:]:
            total = total + value
        return Losses(total, values)

    def modules(self) -> dict[str, Term]:
        """Terms that hold learned parameters."""
        return {name: term for name, (_, term) in self.terms.items() if hasattr(term, "parameters")}
