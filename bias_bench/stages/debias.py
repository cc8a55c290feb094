"""The work of debiasing: which texts it is fitted on, and the benchmark's vectors after it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bias_bench.console import say
from bias_bench.datasets.pairs import Pairs
from bias_bench.encoders.debiased import Debiased, Fitting
from bias_bench.encoders.embeds import Request, Side
from bias_bench.errors import UsageError
from bias_bench.languages import base_language, language_name
from bias_bench.stages.train import TrainingData, training_data
from bias_bench.stages.work import Prepared

TEXTS_PER_SIDE = 1_000


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
    languages = prepared.collection.languages
    for language in languages:
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
    fitting = Fitting(method, languages, pairs.data_sets, requests)
    say(f"debias {method}: fitted on {fitting.record['texts']:,} texts")
    return fitting


def debiased(prepared: Prepared, fitting: Fitting | None) -> Prepared:
    """The same with its vectors debiased, where there is something to fit debiasing on."""
    return replace(prepared, source=Debiased(prepared.source, fitting)) if fitting else prepared


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
            requests.append(Request(label, side, [named[text] for text in chosen], language))
    return requests
