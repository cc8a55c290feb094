"""Batches as a step needs them: token ids and labels of the rows that the plan drew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from bias_bench.datasets.pairs import Pairs
from bias_bench.encoders.profile import Profile
from bias_bench.training.hard_negatives import HardNegatives
from bias_bench.training.plan import BatchPlan
from bias_bench.training.settings import TrainingSettings
from bias_bench.training.step import Batch

_TOKENIZED_AT_ONCE = 4096  # texts; bounds what the tokenizer keeps besides the ids


class Tokens(NamedTuple):
    """Token ids int32 of every text, cut to the training lengths."""

    queries: list[np.ndarray]
    candidates: list[np.ndarray]
    negatives: list[np.ndarray]


def tokenize(
    tokenizer: Any,
    profile: Profile,
    settings: TrainingSettings,
    pairs: Pairs,
    negatives: HardNegatives | None = None,
) -> Tokens:
    """Tokenise every text once, with its side's prefix."""

    def ids(texts: Sequence[str], prefix: str, limit: int) -> list[np.ndarray]:
        encoded: list[np.ndarray] = []
        for start in range(0, len(texts), _TOKENIZED_AT_ONCE):
            block = [prefix + text for text in texts[start : start + _TOKENIZED_AT_ONCE]]
            found = tokenizer(block, truncation=True, max_length=limit)
            encoded += [np.array(row, dtype=np.int32) for row in found["input_ids"]]
        return encoded

    prefix, limit = profile.candidate_prefix, settings.candidate_max_length
    candidates = ids(pairs.candidate_texts, prefix, limit)
    others: list[np.ndarray] = []
    if negatives is not None:
        same = negatives.texts is pairs.candidate_texts
        others = candidates if same else ids(negatives.texts, prefix, limit)
    queries = ids(pairs.query_texts, profile.query_prefix, settings.query_max_length)
    return Tokens(queries, candidates, others)


def rows_of_steps(
    plan: BatchPlan, done: int, steps: int, accumulate: int
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """(step from 1, rows of each of its batches) after `done`; an epoch is made when reached."""
    epoch, batches = -1, np.zeros((0, 0), dtype=np.int64)
    for step in range(done + 1, steps + 1):
        rows = []
        for number in range((step - 1) * accumulate, step * accumulate):
            wanted, cursor = divmod(number, len(plan))
            if wanted != epoch:
                epoch, batches = wanted, plan.epoch(wanted)
            rows.append(batches[cursor])
        yield step, rows


def make_batch(pairs: Pairs, tokens: Tokens, rows: np.ndarray, progress: float = 0.0) -> Batch:
    """The batch of these rows, without hard negatives."""
    return Batch(
        queries=[tokens.queries[row] for row in pairs.query[rows]],
        candidates=[tokens.candidates[row] for row in pairs.candidate[rows]],
        query_groups=pairs.group[rows],
        candidate_groups=pairs.group[rows],
        query_languages=pairs.query_language[rows],
        candidate_languages=pairs.candidate_language[rows],
        progress=progress,
    )


def with_negatives(
    batch: Batch,
    tokens: Tokens,
    negatives: HardNegatives,
    pairs: Pairs,
    rows: np.ndarray,
    drawn: np.ndarray,
) -> Batch:
    """The batch of `rows` with the drawn texts of `negatives` after its positives.

    Families take the place of groups: they also know a text that stands in two data sets.
    """
    positives = negatives.candidate_families[pairs.candidate[rows]]
    return batch._replace(
        candidates=[*batch.candidates, *(tokens.negatives[row] for row in drawn)],
        query_groups=negatives.query_families[pairs.query[rows]],
        candidate_groups=np.concatenate([positives, negatives.families[drawn]]),
        candidate_languages=np.concatenate([batch.candidate_languages, negatives.languages[drawn]]),
    )
