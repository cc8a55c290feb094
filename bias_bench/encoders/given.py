"""Models that a caller in Python has at hand: objects that encode texts, or vectors made already.

Nobody can tell from a Python object what it will answer, so such a model is asked for the vectors
of all of a benchmark's texts at once, and is known by their content. They stay in memory; the
cache of vectors is for backbones whose weights can be hashed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bias_bench.encoders.blocks import ArrayBlocks, VectorBlocks
from bias_bench.encoders.embeds import Request, Texts, texts_of
from bias_bench.encoders.objects import (
    Encode,
    GivenObject,
    Vectors,
    asker,
    checked_vectors,
    class_of,
    how_asked,
    require_similarity,
    scaled,
    stated_similarity,
)
from bias_bench.encoders.profile import Similarity, profile_for
from bias_bench.errors import DataError, UsageError
from bias_bench.system.console import progress, warn
from bias_bench.system.processes import ALONE, Processes

GIVEN = "python"  # the kind of SPEC of a model that is a Python object


class GivenModel:
    """A source of a model's vectors of a benchmark's requests, which asks it for those of others.

    The benchmark's requests are candidates by language, then queries by language. `similarity` is
    the model's own where None, else cosine; vectors are scaled to length 1 for cosine. Raises
    UsageError for an object that does not encode, DataError for vectors that cannot be compared.
    """

    languages = None

    def __init__(
        self,
        model: GivenObject,
        name: str,
        requests: Sequence[Request],
        similarity: Similarity | None = None,
    ) -> None:
        self.spec = f"{GIVEN}:{name}"
        chosen = similarity or stated_similarity(model) or "cosine"
        self.similarity = require_similarity(chosen, class_of(model))
        start = perf_counter()
        if isinstance(model, Mapping | Vectors):
            self._encode, parts = None, _split(_as_vectors(model), requests)
        else:
            self._encode = asker(model)
            parts = _ask(self._encode, requests)
        _require_one_width(parts, requests)
        self._first = requests[0]
        ready = [scaled(part, self.similarity) for part in parts]
        self._held = {_key(request): part for request, part in zip(requests, ready, strict=True)}
        self.identity = {"vectors": _digest(ready)}
        asked = how_asked(model)
        self.record = {
            "weights": self.identity,
            "model": {
                "class": class_of(model),
                "asked": asked,
                "name": name,
                "similarity": self.similarity,
                "dimensions": ready[0].shape[1],
                "encode_seconds": round(perf_counter() - start, 3),
            },
            "encoding": {"precision": _precision(model)},
        }
        self.described = f"{class_of(model)}; {asked}; {self.similarity}"
        _warn_of_prefixes(model)

    def texts(self, requests: Sequence[Request]) -> list[Texts]:
        """See `Embeds`."""
        return texts_of(self.identity, requests, lambda request, _: _key(request) in self._held)

    def vectors(
        self,
        requests: Sequence[Request],
        *,
        again: bool = False,  # noqa: ARG002 - nothing of it is in a cache
        processes: Processes = ALONE,
        memory: int | None = None,  # noqa: ARG002 - the model takes what it takes
    ) -> list[VectorBlocks]:
        """See `Embeds`; the model is at hand in one process alone (ValueError in several)."""
        if processes.number > 1:
            raise ValueError("a model given as a Python object cannot be shared by processes")
        others = [request for request in requests if _key(request) not in self._held]
        if others and self._encode is None:
            raise UsageError(
                "ready vectors are of the benchmark's own texts, and other texts are asked for; "
                "give a model that encodes, or leave out robustness and debias"
            )
        answers = _ask(self._encode, others) if self._encode and others else []
        _require_one_width([self._held[_key(self._first)], *answers], [self._first, *others])
        left = (scaled(part, self.similarity) for part in answers)
        return [
            ArrayBlocks(self._held[_key(request)] if _key(request) in self._held else next(left))
            for request in requests
        ]


def _warn_of_prefixes(model: Any) -> None:
    """Say where the model, given by name, would get prefixes that the object does not know."""
    base = str(getattr(getattr(model, "model_card_data", None), "base_model", None))
    known = profile_for(base).profile
    if known.query_prefix and not any((getattr(model, "prompts", None) or {}).values()):
        warn(
            f"{base} wants '{known.query_prefix}' before queries and '{known.candidate_prefix}' "
            "before candidates, and this object has no prompts; give them to it as "
            "prompts={'query': …, 'document': …}, or give the name"
        )


def _ask(encode: Encode, requests: Sequence[Request]) -> list[np.ndarray]:
    answers = []
    with progress("encode", sum(len(request.texts) for request in requests), "texts") as advance:
        for request in requests:
            # a copy, so that a model which changes its list does not change the benchmark
            vectors = encode(list(request.texts), request.side)
            answers.append(checked_vectors(vectors, len(request.texts), request.label))
            advance(len(request.texts))
    return answers


def _as_vectors(model: Mapping[str, ArrayLike] | Vectors) -> Vectors:
    if isinstance(model, Vectors):
        return model
    if set(model) != {"queries", "candidates"}:
        held = ", ".join(map(str, model)) or "nothing"
        raise UsageError(f"vectors: give 'queries' and 'candidates', not {held}")
    return Vectors(model["queries"], model["candidates"])


def _split(vectors: Vectors, requests: Sequence[Request]) -> list[np.ndarray]:
    """The rows of each request."""
    left: dict[str, np.ndarray] = {}
    for side, name in (("query", "queries"), ("candidate", "candidates")):
        total = sum(len(request.texts) for request in requests if request.side == side)
        left[side] = checked_vectors(getattr(vectors, name), total, name)
    parts = []
    for request in requests:
        number = len(request.texts)
        parts.append(left[request.side][:number])
        left[request.side] = left[request.side][number:]
    return parts


def _require_one_width(parts: Sequence[np.ndarray], requests: Sequence[Request]) -> None:
    for part, request in zip(parts, requests, strict=True):
        if part.shape[1] != parts[0].shape[1]:
            raise DataError(
                f"{request.label}: {part.shape[1]} dimensions, but {requests[0].label} have "
                f"{parts[0].shape[1]}; one encoder gives one number"
            )


def _precision(model: Any) -> str:
    """What a torch model computes in, as far as its weights say; unknown for others."""
    weight = next(iter(model.parameters()), None) if hasattr(model, "parameters") else None
    return "unknown" if weight is None else str(weight.dtype).removeprefix("torch.")


def _key(request: Request) -> tuple[str, str, str]:
    return request.label, request.side, request.sha256


def _digest(parts: Sequence[np.ndarray]) -> str:
    """sha256 over all vectors and their shapes, in order."""
    state = hashlib.sha256()
    for part in parts:
        state.update(repr(part.shape).encode())
        state.update(np.ascontiguousarray(part).tobytes())
    return state.hexdigest()
