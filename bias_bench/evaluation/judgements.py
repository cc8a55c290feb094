"""Judgements of other tools' rankings by setting, and the topics of the judged queries."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bias_bench.errors import DataError, UsageError
from bias_bench.evaluation.entries import Entries, Loaded
from bias_bench.evaluation.labels import Clusters, Labels
from bias_bench.evaluation.settings import ALL, Setting
from bias_bench.files import digest_texts


class Judged(NamedTuple):
    """Judgements of one setting: all judged queries, and pairs of query and relevant candidate.

    `grades` are those of the pairs, from 1; the highest, where several files judge a pair.
    """

    queries: np.ndarray
    relevant_queries: np.ndarray
    relevant: np.ndarray
    grades: np.ndarray


def pooled_settings(loaded: Loaded, run: Entries) -> list[Setting]:
    """The settings of a run without one: the pool of all, in every judged query language."""
    languages: set[str] = set()
    for part in loaded.qrels:
        setting = part.file.setting
        if setting is None:
            languages |= set(loaded.queries.languages[np.unique(part.queries)])
        elif setting.pool == ALL:
            languages.add(setting.query_language)
    if not languages:
        raise UsageError(
            f"{run.file.path}: searches the pool of all languages, but no qrels judge that; name "
            "its setting, --run en-de=FILE"
        )
    settings = [Setting(language, ALL) for language in sorted(languages)]
    for other in loaded.runs:
        if other.file.setting in settings:
            raise UsageError(
                f"{run.file.path}: holds queries for {other.file.setting}, but "
                f"{other.file.path} is given for it too; name the setting of each file"
            )
    return settings


def judgements(loaded: Loaded, setting: Setting) -> Judged:
    """Those given for the setting; else those of its candidates among those for the pool of all."""
    by_setting = {part.file.setting: part for part in loaded.qrels if part.file.setting}
    plain = [part for part in loaded.qrels if part.file.setting is None]
    pooled = by_setting.get(Setting(setting.query_language, ALL))
    own = by_setting.get(setting) or pooled
    parts = [own] if own else plain
    if not parts:
        raise UsageError(
            f"no qrels for the setting {setting}; give --qrels {setting}=FILE, or one file for all"
        )
    queries = np.concatenate([part.queries for part in parts])
    candidates = np.concatenate([part.candidates for part in parts])
    grades = np.concatenate([part.values for part in parts])
    relevant = grades > 0
    asked = loaded.queries.languages[queries] == setting.query_language
    relevant &= asked
    if setting.pool != ALL:
        relevant &= loaded.candidates.languages[candidates] == setting.pool
    best_first = np.flatnonzero(relevant)[np.argsort(-grades[relevant], kind="stable")]
    pairs, first = np.unique(
        np.stack([queries[best_first], candidates[best_first]]), axis=1, return_index=True
    )
    return Judged(np.unique(queries[asked]), pairs[0], pairs[1], grades[best_first[first]])


def topic_clusters(loaded: Loaded, labels: Labels) -> dict[int, Clusters]:
    """Topics of all queries with a relevant candidate, by the query's number."""
    found: dict[int, Clusters] = {}
    for part in loaded.qrels:
        rows = np.flatnonzero(part.values > 0)
        numbers, first = np.unique(part.queries[rows], return_index=True)
        for row, number in sorted(zip(rows[first].tolist(), numbers.tolist(), strict=True)):
            name = loaded.queries.names[number]
            found[number] = labels.of_query(name)
            if not found[number].topic:
                raise DataError(
                    f"{part.where(row)}: query '{name}' has no topic: {labels.topics.why_not}"
                )
    return found


def all_languages(loaded: Loaded) -> list[str]:
    """Languages of judged queries, of relevant candidates and of results."""
    found: set[str] = set()
    for part in loaded.qrels:
        found |= set(loaded.queries.languages[np.unique(part.queries)])
        found |= set(loaded.candidates.languages[np.unique(part.candidates[part.values > 0])])
    for run in loaded.runs:
        found |= set(loaded.candidates.languages[np.unique(run.candidates)])
    return sorted(found)


def judgements_digest(loaded: Loaded, clusters: dict[int, Clusters]) -> str:
    """Equal for equal judgements and topics, however they are spread over files."""
    lines = {"\t".join((loaded.queries.written[n], *found)) for n, found in clusters.items()}
    for part in loaded.qrels:
        relevant = part.values > 0
        columns = (part.queries, part.candidates, part.values)
        for query, candidate, grade in zip(
            *(column[relevant].tolist() for column in columns), strict=True
        ):
            line = f"{loaded.queries.written[query]} {loaded.candidates.written[candidate]}"
            lines.add(f"{line} {grade}" if grade > 1 else line)
    return digest_texts(sorted(lines))
