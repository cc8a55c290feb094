"""Small worlds of random rankings for tests of bias metrics, with plain ways to ask about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from bias_bench.bias.parallel import Parallel, parallel_ranks
from bias_bench.data.ids import language_of
from bias_bench.evaluation.ranks import RankTable, write_ranks
from bias_bench.evaluation.score_run import run_file
from bias_bench.evaluation.settings import ALL, Setting
from bias_bench.evaluation.trec import run_bytes, write_gzip
from tests.support.helpers import rank_rows

DEPTH = 12


class World(NamedTuple):
    """`rankings[language][topic]` is the whole pool, best first; `answers[topic][language]` the
    relevant candidate there.
    """

    languages: tuple[str, ...]
    rankings: dict[str, dict[str, list[str]]]
    answers: dict[str, dict[str, str]]

    def ranks(self, language: str, topic: str) -> dict[str, int]:
        """Rank of the topic's candidate in each language in which it is answered."""
        ranking = self.rankings[language][topic]
        return {name: ranking.index(found) + 1 for name, found in self.answers[topic].items()}

    def rank_alone(self, language: str, topic: str, name: str) -> int:
        """Rank of the topic's candidate in language `name` among the candidates of that one."""
        ranking = [one for one in self.rankings[language][topic] if language_of(one) == name]
        return ranking.index(self.answers[topic][name]) + 1

    def topics(self, language: str) -> list[str]:
        return sorted(self.rankings[language])

    def mean(self, value: Callable[[str, str], float | None]) -> dict[str, float]:
        """Mean of value(language, topic) over the topics of each language, without None."""
        means = {}
        for language in self.rankings:
            found = [value(language, topic) for topic in self.topics(language)]
            known = [number for number in found if number is not None]
            if known:
                means[language] = sum(known) / len(known)
        return means


def random_world(
    seed: int,
    languages: Sequence[str] = ("de", "en", "th", "zh"),
    topics: int = 6,
    partly: bool = False,
) -> World:
    """Random permutations of a pool of 9 candidates per language, the query's own a little ahead.

    `partly` answers each topic in two languages or more, and the last in one alone.
    """
    random = np.random.default_rng(seed)
    pool = [f"{language}:0-0-{number}" for language in languages for number in range(9)]
    answers = {}
    for number in range(topics):
        count = int(random.integers(2, len(languages) + 1)) if partly else len(languages)
        if partly and number == topics - 1:
            count = 1
        answered = sorted(random.choice(languages, count, replace=False).tolist())
        answers[f"t{number}"] = {
            language: f"{language}:0-0-{random.integers(9)}" for language in answered
        }
    rankings: dict[str, dict[str, list[str]]] = {language: {} for language in languages}
    for topic, answered_in in answers.items():
        for language in answered_in:
            noise = random.random(len(pool)) - 0.3 * np.array(
                [language_of(name) == language for name in pool]
            )
            rankings[language][topic] = [pool[row] for row in np.argsort(noise)]
    asked = {language: found for language, found in rankings.items() if found}
    return World(tuple(languages), asked, answers)


def write_world(
    world: World,
    folder: Path,
    depth: int = DEPTH,
    scores: Callable[[np.ndarray], np.ndarray] = lambda scores: scores,
    order: int = 1,
) -> RankTable:
    """Write ranks.parquet, of all settings, and the pooled runs; `order` -1 writes queries and rows
    backwards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = []
    for language, by_topic in world.rankings.items():
        rows = [
            (topic, world.answers[topic][name], rank)
            for topic in world.topics(language)
            for name, rank in world.ranks(language, topic).items()
        ]
        tables.append(rank_rows(f"{language}-all", rows[::order]))
        for name in world.languages:
            alone = [
                (topic, world.answers[topic][name], world.rank_alone(language, topic, name))
                for topic in world.topics(language)
                if name in world.answers[topic]
            ]
            tables += [rank_rows(str(Setting(language, name)), alone[::order])] if alone else []
        topics = world.topics(language)[::order]
        found = pa.array([name for topic in topics for name in by_topic[topic][:depth]])
        width = len(found) // len(topics)
        values = scores(np.linspace(1, -1, width, dtype=np.float64)).astype(np.float32)
        content = run_bytes(
            [f"{language}:{topic}" for topic in topics],
            found,
            np.tile(values, (len(topics), 1)),
            "t",
        )
        write_gzip(run_file(folder, Setting(language, ALL)), content)
    sizes = dict.fromkeys(world.languages, 9)
    write_ranks(folder / "ranks.parquet", tables, {**sizes, ALL: 9 * len(world.languages)})
    return RankTable(folder / "ranks.parquet")


def ranked(world: World, folder: Path) -> Parallel:
    """Its ranks, as metrics take them, once it is written."""
    return parallel_ranks(write_world(world, folder), world.languages)


def padded(rows: Sequence[Sequence[int]], width: int = 6) -> np.ndarray:
    """Rows of ranks as int32 [rows, width], 0 past the end."""
    table = np.zeros((len(rows), width), dtype=np.int32)
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return table


def macro(means: dict[str, float]) -> float:
    return sum(means.values()) / len(means)


def plain_ap(ranks: Sequence[int]) -> float:
    """AP from the definition."""
    return sum(number / rank for number, rank in enumerate(sorted(ranks), 1)) / len(ranks)
