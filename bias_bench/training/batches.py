"""Batches as a step needs them: token ids and labels of the rows that the plan drew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from bias_bench.config.training import TrainingSettings
from bias_bench.data.pairs import Pairs
from bias_bench.encoders.profile import Profile
from bias_bench.training.hard_negatives import HardNegatives
from bias_bench.training.job import Job
from bias_bench.training.plan import BatchPlan
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
            rows = tokenizer(block, truncation=True, max_length=limit)["input_ids"]
            encoded += [np.array(row, dtype=np.int32) for row in rows]
        return encoded

    candidate = (profile.candidate_prefix, settings.candidate_max_length)
    candidates = ids(pairs.candidate_texts, *candidate)
    mined = negatives is not None and negatives.texts is pairs.candidate_texts
    return Tokens(
        ids(pairs.query_texts, profile.query_prefix, settings.query_max_length),
        candidates,
        candidates if mined else ids(negatives.texts if negatives else (), *candidate),
    )


def rows_of_steps(
    plan: BatchPlan, done: int, steps: int, accumulate: int
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """(step from 1, rows of each of its batches) after `done`; an epoch is planned when reached."""
    epoch, batches = -1, np.zeros((0, 0), dtype=np.int64)
    for step in range(done + 1, steps + 1):
        rows = []
        for number in range((step - 1) * accumulate, step * accumulate):
            due, cursor = divmod(number, len(plan))
            if due != epoch:
                epoch, batches = due, plan.epoch(due)
            rows.append(batches[cursor])
        yield step, rows


def make_batch(
    job: Job, pairs: Pairs, tokens: Tokens, rows: np.ndarray, progress: float, draw: int
) -> Batch:
    """The batch of these rows; the job's hard negatives, if any, stand after the positives.

    With negatives, families take the place of groups: they also know a text that stands in two data
    sets. Which ones a query gets depends on the seed and on `draw`.
    """
    batch = Batch(
        queries=[tokens.queries[row] for row in pairs.query[rows]],
        candidates=[tokens.candidates[row] for row in pairs.candidate[rows]],
        query_groups=pairs.group[rows],
        candidate_groups=pairs.group[rows],
        query_languages=pairs.query_language[rows],
        candidate_languages=pairs.candidate_language[rows],
        progress=progress,
    )
    negatives, settings = job.negatives, job.settings.negatives
    if negatives is None or settings is None:
        return batch
    drawn = negatives.draw(pairs, rows, settings.per_query, job.seed, draw)
    queries, candidates = negatives.labels
    positives = candidates.family[pairs.candidate[rows]]
    return batch._replace(
        candidates=[*batch.candidates, *(tokens.negatives[row] for row in drawn)],
        query_groups=queries.family[pairs.query[rows]],
        candidate_groups=np.concatenate([positives, negatives.families[drawn]]),
        candidate_languages=np.concatenate([batch.candidate_languages, negatives.languages[drawn]]),
    )
