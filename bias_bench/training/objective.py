"""The objective: a weighted sum of terms on embeddings.

Terms see embeddings and integers only, never the encoder, so that gradient caching covers them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Embeddings(NamedTuple):
    """One batch: unit vectors float32 and what is known of each row.

    `queries` [B, d]; `candidates` [B + N, d]: row i < B is query i's positive, the N others are
    hard negatives. `query_groups` int64 [B], `candidate_groups` int64 [B + N]: rows of an equal
    group are parallel or share a sentence; languages alike. `progress` is the share of training
    that is done, in [0, 1]. `teacher` [B + B + N, d] holds the same texts' vectors (queries, then
    candidates) from the encoder as it was before training, where a term asks for them.
    """

    queries: Tensor
    candidates: Tensor
    query_groups: Tensor
    candidate_groups: Tensor
    query_languages: Tensor
    candidate_languages: Tensor
    progress: float = 0.0
    teacher: Tensor | None = None


class Term(Protocol):
    """A part of the objective; a torch module where it learns parameters of its own."""

    def __call__(self, batch: Embeddings) -> Tensor:
        """The term's loss, a float32 scalar; lower is better."""


class Losses(NamedTuple):
    """The weighted sum and each term's own value; `embeddings` is what they were taken on."""

    total: Tensor
    terms: dict[str, Tensor]
    embeddings: Embeddings


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
        return Losses(total, values, batch)

    def scaled(self, name: str, factor: float) -> Objective:
        """The same terms, the named one's weight multiplied."""
        weight, term = self.terms[name]
        return Objective({**self.terms, name: (weight * factor, term)})

    def only(self, name: str, factor: float = 1.0) -> Objective:
        """The named term alone, its weight multiplied."""
        weight, term = self.terms[name]
        return Objective({name: (weight * factor, term)})

    def modules(self) -> dict[str, Term]:
        """Terms that hold learned parameters."""
        return {name: term for name, (_, term) in self.terms.items() if hasattr(term, "parameters")}

    def observers(self) -> dict[str, Any]:
        """Terms that observe something besides their loss."""
        return {name: term for name, (_, term) in self.terms.items() if hasattr(term, "observed")}
