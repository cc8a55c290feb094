"""The work of debiasing: which texts it is fitted on, and the benchmark's vectors after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bias_bench.console import say
from bias_bench.datasets.pairs import Pairs
from bias_bench.encoders.cache import Request
from bias_bench.encoders.debias import LIR_RANK, Debias, fit, group_code
from bias_bench.encoders.encoder import Side
from bias_bench.errors import UsageError
from bias_bench.files import digest_texts
from bias_bench.kinds import DebiasMethod
from bias_bench.languages import base_language, language_name
from bias_bench.stages.train import TrainingData, training_data
from bias_bench.stages.work import Prepared

TEXTS_PER_SIDE = 1_000


class Fitting(NamedTuple):
    """What to fit on: of each language both sides; `groups` has a code per request."""

    method: DebiasMethod
    languages: tuple[str, ...]
    data_sets: tuple[str, ...]
    requests: list[Request]
    groups: list[int]

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


def debias_data(prepared: Prepared) -> TrainingData:
    """Audited training data where nothing is trained: ``training.sources``, else the benchmark's.

    UsageError when neither is there.
    """
    experiment, spec = prepared.experiment, prepared.benchmark.spec
    sources = experiment.training.sources
    if sources is None and spec is not None:
        sources = spec.training.get("sources")
    if not sources:
        raise UsageError(
            f"debias={experiment.debias} is fitted on training-side text, but training.sources "
            "names no data; for example --set 'training.sources=[ntrex-128]'"
        )
    training = experiment.training.model_copy(update={"sources": sources})
    changed = experiment.model_copy(update={"training": training})
    return training_data(replace(prepared, experiment=changed))


def debias_fitting(prepared: Prepared, data: TrainingData | None) -> Fitting | None:
    """The texts to fit on, drawn with the experiment's seed; None without debiasing.

    UsageError when a language of the benchmark has none.
    """
    method = prepared.experiment.debias
    if method == "none" or data is None:
        return None
    pairs = data.pairs
    order = np.random.default_rng(prepared.experiment.seed).permutation(len(pairs.topic_ids))
    requests: list[Request] = []
    groups: list[int] = []
    languages = prepared.collection.languages
    for code, language in enumerate(languages):
        drawn = _draw(pairs, language, order)
        missing = {"query": "question", "candidate": "candidate"}
        for request in drawn:
            missing.pop(request.side)
        if not drawn or (missing and method == "centre-sides"):
            what = "text" if not drawn else next(iter(missing.values()))
            raise UsageError(
                f"debias={method}: no training-side {what} in {language_name(language)} "
                f"({language}) to fit on, in {', '.join(pairs.data_sets)} without what the "
                "benchmark holds too; add a source that has it to training.sources"
            )
        requests += drawn
        groups += [group_code(method, code, request.side) for request in drawn]
    fitting = Fitting(method, languages, pairs.data_sets, requests, groups)
    say(f"debias {method}: fitted on {fitting.record['texts']:,} texts")
    return fitting


def fitted(fitting: Fitting, vectors: Sequence[np.ndarray]) -> Debias:
    """What to apply to the benchmark's vectors.

    `vectors` are of the requests of `fitting`; float32 [texts, dimensions] each.
    """
    groups = np.repeat(fitting.groups, [len(part) for part in vectors])
    return fit(fitting.method, np.concatenate(vectors), groups)


def _draw(pairs: Pairs, language: str, order: np.ndarray) -> list[Request]:
    """Up to `TEXTS_PER_SIDE` queries and candidates of one language, topics first in `order` first.

    All languages draw in the same order of topics, so parallel texts come together and what
    distinguishes two languages' texts is the language as far as the data allow.
    """
    own = base_language(language)  # as training sources call it
    if own not in pairs.languages:
        return []
    code = pairs.languages.index(own)
    sides: list[tuple[Side, np.ndarray, np.ndarray, tuple[str, ...]]] = [
        ("candidate", pairs.candidate, pairs.candidate_language, pairs.candidate_texts),
        ("query", pairs.query, pairs.query_language, pairs.query_texts),
    ]
    requests = []
    for side, texts, languages, named in sides:
        rows = np.flatnonzero(languages == code)
        sorted_texts = texts[rows][np.lexsort((texts[rows], order[pairs.topic[rows]]))]
        _, first = np.unique(sorted_texts, return_index=True)
        chosen = sorted_texts[np.sort(first)][:TEXTS_PER_SIDE]
        if len(chosen):
            label = f"{language} {side} texts to fit on"
            requests.append(Request(label, side, [named[text] for text in chosen]))
    return requests
