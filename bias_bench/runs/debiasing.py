"""What debiasing is fitted on: texts of the training side in the benchmark's languages."""

from __future__ import annotations

import numpy as np

from bias_bench.data.languages import base_language, language_name
from bias_bench.data.pairs import Pairs
from bias_bench.encoders.debiased import Fitting
from bias_bench.encoders.embeds import Request, Side
from bias_bench.errors import UsageError
from bias_bench.runs.task import Prepared
from bias_bench.system.console import say

TEXTS_PER_SIDE = 1_000


def debias_fitting(prepared: Prepared, pairs: Pairs) -> Fitting:
    """The texts to fit on, drawn with the experiment's seed.

    UsageError when a language of the benchmark has none.
    """
    method = prepared.experiment.debias
    if method == "none":
        raise ValueError("the experiment asks for no debiasing")
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
