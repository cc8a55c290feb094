"""The work behind examples.json: a dozen topics of a run with their texts, chosen by rule.

Read in the pool of all languages. The texts are the benchmark's, so the file stays with the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bias_bench.bias.parallel import LanguageRanks, parallel_ranks
from bias_bench.bias.rank_distance import rank_distance
from bias_bench.data.ids import language_of, query_id, topic_of
from bias_bench.data.languages import base_language
from bias_bench.evaluation.metrics import Metric, compute
from bias_bench.evaluation.ranks import RankTable
from bias_bench.evaluation.score_run import run_file
from bias_bench.evaluation.settings import ALL, Setting
from bias_bench.evaluation.trec import read_run
from bias_bench.report.run_content import EXAMPLES_SCHEMA
from bias_bench.runs.task import Task
from bias_bench.system.files import read_parquet

_HITS = 3
_MOST_DISTANT, _LOWEST, _HIGHEST = 5, 5, 2
_LOW = 0.5  # a query with a higher AP is not an example of a low one


class _Asked(NamedTuple):
    """A query and how it fared; `distance` is NaN where its topic has one answer."""

    query: str
    ap: float
    distance: float
    answers: int

    @property
    def spread(self) -> bool:
        """Whether the answers lie further apart than they must."""
        return self.distance > self.answers - 1


def examples(task: Task, folder: Path) -> dict[str, Any]:
    """The content of examples.json; equal results give equal content.

    The five largest rank distances, the five lowest and two of the highest APs; no topic twice, and
    query languages in turn.
    """
    collection = task.collection
    parts = parallel_ranks(RankTable(folder / "ranks.parquet"), collection.languages).parts
    chosen = _choose([asked for part in parts.values() for asked in _asked(part)])
    if not chosen:  # nothing was searched in the pool of all languages
        return {"schema": EXAMPLES_SCHEMA, "examples": []}
    queries = [asked.query for _, asked in chosen]
    hits, ranks = _first_hits(folder, queries), _ranks(folder, queries)
    shown = set(chain.from_iterable((*hits.values(), *ranks.values())))
    texts = {item.id: item.text for item in collection.candidates if item.id in shown}
    questions = {query.id: query.text for query in collection.queries}
    english = [code for code in collection.languages if base_language(code) == "en"]

    def in_english(topic: str) -> list[str]:
        return [query_id(code, topic) for code in english]

    def listed(named: Iterable[tuple[int, str]], relevant: Iterable[str]) -> list[dict[str, Any]]:
        return [
            {
                "rank": rank,
                "candidate": name,
                "language": language_of(name),
                "relevant": name in relevant,
                "text": texts[name],
            }
            for rank, name in named
        ]

    found = []
    for reason, asked in chosen:
        topic, answers = topic_of(asked.query), ranks[asked.query]
        found.append(
            {
                "reason": reason,
                "query": asked.query,
                "language": language_of(asked.query),
                "title": collection.topics[collection.topic_rows[topic]].title,
                "question": questions[asked.query],
                "english": next(filter(None, map(questions.get, in_english(topic))), None),
                "ap": asked.ap,
                "rank_distance": None if np.isnan(asked.distance) else int(asked.distance),
                "pool": len(collection.candidates),
                "hits": listed(enumerate(hits[asked.query], start=1), set(answers)),
                "answers": listed(
                    sorted((rank, name) for name, rank in answers.items()), set(answers)
                ),
            }
        )
    return {"schema": EXAMPLES_SCHEMA, "examples": found}


def _asked(part: LanguageRanks) -> Iterator[_Asked]:
    precision = compute(Metric("AP", part.cutoff), part.relevant)
    distance = rank_distance(part.least)
    answers = (part.ranks > 0).sum(axis=1)
    for row, query in enumerate(part.source.queries):
        yield _Asked(query, float(precision[row]), float(distance[row]), int(answers[row]))


def _choose(asked: Sequence[_Asked]) -> list[tuple[str, _Asked]]:
    """Queries with the reason for each: `distance`, `low` or `high`."""
    far = sorted(
        (one for one in asked if one.spread), key=lambda one: (-one.distance, one.query)
    )  # fmt: skip
    low = sorted((one for one in asked if one.ap < _LOW), key=lambda one: (one.ap, one.query))
    high = sorted(asked, key=lambda one: (-one.ap, -one.answers, one.query))
    chosen: list[tuple[str, _Asked]] = []
    for reason, ordered, number in (
        ("distance", far, _MOST_DISTANT), ("low", low, _LOWEST), ("high", high, _HIGHEST),
    ):  # fmt: skip
        for _ in range(number):
            one = _next(ordered, [past for _, past in chosen])
            if one is not None:
                chosen.append((reason, one))
    return chosen


def _next(ordered: Sequence[_Asked], chosen: Sequence[_Asked]) -> _Asked | None:
    """The first of a new topic, in one of the query languages that were chosen least so far."""
    topics = {topic_of(one.query) for one in chosen}
    left = [one for one in ordered if topic_of(one.query) not in topics]
    times = [language_of(one.query) for one in chosen]
    return min(left, key=lambda one: times.count(language_of(one.query)), default=None)


def _first_hits(folder: Path, queries: Sequence[str]) -> dict[str, list[str]]:
    """The first candidates of each query in the pooled TREC files."""
    hits: dict[str, list[str]] = {}
    for language in sorted({language_of(query) for query in queries}):
        run = read_run(run_file(folder, Setting(language, ALL)))
        wanted = [query for query in queries if language_of(query) == language]
        for query in wanted:
            rows = run.candidates.filter(pc.equal(run.queries, query))  # written best first
            hits[query] = rows.slice(0, _HITS).to_pylist()
    return hits


def _ranks(folder: Path, queries: Sequence[str]) -> dict[str, dict[str, int]]:
    """The pooled rank of every relevant candidate of each query."""
    table = read_parquet(folder / "ranks.parquet", ["setting", "query", "candidate", "rank"])
    setting, query = (table[name].cast(pa.string()) for name in ("setting", "query"))
    pooled = pa.array(sorted({str(Setting(language_of(name), ALL)) for name in queries}))
    kept = table.filter(pc.and_(pc.is_in(setting, pooled), pc.is_in(query, pa.array(queries))))
    ranks: dict[str, dict[str, int]] = {name: {} for name in queries}
    for row in kept.select(["query", "candidate", "rank"]).to_pylist():
        ranks[row["query"]][row["candidate"]] = row["rank"]
    return ranks
