"""Debiasing around any source of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from bias_bench.config.kinds import DebiasMethod
from bias_bench.encoders.blocks import VectorBlocks, array_of, changed
from bias_bench.encoders.debias import LIR_RANK, Debias, apply, fit, group_code
from bias_bench.encoders.embeds import Embeds, Request, Texts
from bias_bench.errors import UsageError
from bias_bench.system.files import digest_texts
from bias_bench.system.processes import ALONE, Processes


class Fitting(NamedTuple):
    """What to fit on: of each of `languages` both sides, in `requests` that name their language."""

    method: DebiasMethod
    languages: tuple[str, ...]
    data_sets: tuple[str, ...]
    requests: list[Request]

    @property
    def record(self) -> dict[str, Any]:
        """The part of the manifest that says what was done; it decides the result."""
        return {
            "method": self.method,
            **({"rank": LIR_RANK} if self.method == "lir" else {}),
            "languages": list(self.languages),
            "data_sets": list(self.data_sets),
            "texts": sum(len(request.texts) for request in self.requests),
            "sha256": digest_texts([text for request in self.requests for text in request.texts]),
        }

    def group(self, request: Request) -> int:
        """The group that the method treats a request's texts as; UsageError for no language."""
        if request.language not in self.languages:
            raise UsageError(
                f"debias={self.method}: {request.label}: fitted on {', '.join(self.languages)}, "
                f"and these texts are in {request.language or 'no language'}"
            )
        return group_code(self.method, self.languages.index(request.language), request.side)


class Debiased:
    """The vectors of `inner` after debiasing, which is fitted when vectors are first asked for."""

    def __init__(self, inner: Embeds, fitting: Fitting) -> None:
        self._inner, self._fitting = inner, fitting
        self._fitted: Debias | None = None
        self.spec, self.similarity = inner.spec, inner.similarity
        self.described, self.languages = inner.described, inner.languages
        self.record = {**inner.record, "debias": fitting.record}
        self.identity = {**inner.identity, "debias": fitting.record}

    def texts(self, requests: Sequence[Request]) -> list[Texts]:
        """What is taken from the inner source: the requests, and what debiasing is fitted on."""
        return self._inner.texts([*requests, *self._fitting.requests])

    def vectors(
        self,
        requests: Sequence[Request],
        *,
        again: bool = False,
        processes: Processes = ALONE,
        memory: int | None = None,
    ) -> list[VectorBlocks]:
        """See `Embeds`; every request names its language. On disk the vectors stay as they were."""
        groups = [self._fitting.group(request) for request in requests]
        asked = [*requests, *(() if self._fitted else self._fitting.requests)]
        vectors = self._inner.vectors(asked, again=again, processes=processes, memory=memory)
        fitted = self._fitted = self._fitted or self._fit(vectors[len(requests) :])
        return [
            changed(part, partial(_applied, fitted, group))
            for part, group in zip(vectors, groups, strict=False)
        ]

    def _fit(self, vectors: Sequence[VectorBlocks]) -> Debias:
        groups = [self._fitting.group(request) for request in self._fitting.requests]
        arrays = [array_of(part) for part in vectors]
        codes = np.repeat(groups, [len(part) for part in arrays])
        return fit(self._fitting.method, np.concatenate(arrays), codes)


def _applied(debias: Debias, group: int, vectors: np.ndarray) -> np.ndarray:
    return apply(debias, vectors, group)
