"""Rankings of other tools, brought into this project's form and written as a run folder holds them.

The rules:

- results are ordered by float32 score descending, then by the id descending, as the tool wrote it;
  the file's ranks are not looked at;
- what lies past the depth is cut off; a relevant candidate that is not retrieved down to there is
  written with the rank depth + 1, and the least that it can have is the length of its query's own
  ranking + 1;
- judged queries without results count 0; queries without judgements, and queries without a relevant
  candidate in the pool, are left out and counted;
- grades above 0 are relevant, and are the gains of nDCG.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from bias_bench.data.languages import doubts
from bias_bench.errors import DataError, first_few
from bias_bench.evaluation.entries import (
    Entries,
    Judged,
    Loaded,
    all_languages,
    judgements,
    judgements_digest,
    pooled_settings,
    topic_clusters,
)
from bias_bench.evaluation.labels import Clusters, Labels
from bias_bench.evaluation.ranking import places, ragged
from bias_bench.evaluation.ranks import rank_rows, write_ranks
from bias_bench.evaluation.score_run import qrels_file, run_file
from bias_bench.evaluation.settings import Setting
from bias_bench.evaluation.trec import qrels_bytes, ragged_run_bytes, write_gzip
from bias_bench.search.order import strictly_decreasing


class Ranked(NamedTuple):
    """One setting: its queries with a relevant candidate, their results, and the ranks.

    `queries` are ids in this project's form, sorted, with their `clusters`. Of each result `rows`
    has the query's row, `candidates` the id (str), `places` the rank and `scores` float32 that
    strictly decrease within a query. Of each relevant candidate `relevant_rows`, `relevant` and
    `relevant_languages` likewise, and `ranks` and `grades` int32. `listed` int32 [queries] are the
    lengths of the rankings.
    """

    setting: Setting
    queries: list[str]
    clusters: list[Clusters]
    rows: np.ndarray
    candidates: np.ndarray
    places: np.ndarray
    scores: np.ndarray
    relevant_rows: np.ndarray
    relevant: list[str]
    relevant_languages: list[str]
    ranks: np.ndarray
    grades: np.ndarray
    listed: np.ndarray
    counts: dict[str, int]


class External(NamedTuple):
    """All settings, down to one depth.

    `languages` are all that occur; `data` identifies the judgements and topics; `extra` holds per
    run file the queries without judgements; `graded` counts judgements above 1;
    `empty` are settings without one query that has a relevant candidate.
    """

    settings: list[Ranked]
    depth: int
    languages: list[str]
    data: str
    extra: dict[str, list[str]]
    graded: int
    empty: list[Setting]


def rank_external(loaded: Loaded, labels: Labels, depth: int | None) -> External:
    """Rank every setting of the given runs, by default down to the longest ranking's end."""
    clusters = topic_clusters(loaded, labels)
    judged: dict[Setting, Judged] = {}
    runs_of: dict[Setting, list[Entries]] = {}
    extra: dict[str, list[str]] = {}
    for run in loaded.runs:
        settings = [run.file.setting] if run.file.setting else pooled_settings(loaded, run)
        for setting in settings:
            judged.setdefault(setting, judgements(loaded, setting))
            runs_of.setdefault(setting, []).append(run)
        asked = np.unique(np.concatenate([judged[setting].queries for setting in settings]))
        known = np.isin(run.queries, asked)
        if not known.any():
            raise DataError(_nothing_common(loaded, run, asked))
        more = np.unique(run.queries[~known])
        extra.setdefault(run.file.name, []).extend(loaded.queries.names[n] for n in more)
    order = sorted(runs_of, key=lambda setting: setting.order)
    answered = [setting for setting in order if len(judged[setting].relevant)]
    searches = [_order(loaded, runs_of[setting], judged[setting]) for setting in answered]
    if not searches:
        raise DataError(
            f"{loaded.qrels[0].file.path}: no query has a relevant candidate in its pool; is a "
            "grade above 0 anywhere, and are the languages right?"
        )
    longest = max(int(search.places.max(initial=0)) for search in searches)
    if not longest:
        raise DataError(
            f"{loaded.runs[0].file.path}: has results for no query that has a relevant candidate; "
            "do run and qrels belong together?"
        )
    depth = depth or longest
    return External(
        settings=[
            _rank(loaded, setting, judged[setting], search, clusters, depth)
            for setting, search in zip(answered, searches, strict=True)
        ],
        depth=depth,
        languages=all_languages(loaded),
        data=judgements_digest(loaded, clusters),
        extra={name: queries for name, queries in extra.items() if queries},
        graded=sum(int((qrels.values > 1).sum()) for qrels in loaded.qrels),
        empty=[setting for setting in order if setting not in answered],
    )


class _Search(NamedTuple):
    """Ordered results of one setting's queries: `queries` [n], and per result the query's row.

    `row_of` int has the row of every query of all files, -1 for those of other settings.
    """

    queries: np.ndarray
    row_of: np.ndarray
    rows: np.ndarray
    candidates: np.ndarray
    places: np.ndarray
    scores: np.ndarray


def _order(loaded: Loaded, runs: Sequence[Entries], judged: Judged) -> _Search:
    queries = np.array(
        sorted(np.unique(judged.relevant_queries), key=lambda n: loaded.queries.written[n]),
        dtype=np.int64,
    )
    row_of = np.full(len(loaded.queries.names), -1, dtype=np.int64)
    row_of[queries] = np.arange(len(queries))
    rows = np.concatenate([row_of[run.queries] for run in runs])
    file = np.repeat(np.arange(len(runs)), [len(run.queries) for run in runs])
    kept = rows >= 0
    rows, file = rows[kept], file[kept]
    candidates = np.concatenate([run.candidates for run in runs])[kept]
    scores = np.concatenate([run.values for run in runs])[kept]
    pairs = np.unique(rows * len(runs) + file)
    twice = np.flatnonzero(np.diff(pairs // len(runs)) == 0)
    if len(twice):
        first, second = (runs[pairs[twice[0] + step] % len(runs)].file.path for step in (0, 1))
        query = loaded.queries.names[queries[pairs[twice[0]] // len(runs)]]
        raise DataError(f"{second}: query '{query}' is in {first} too; keep one")
    # candidates are numbered in ascending order of their ids
    order = np.lexsort((-candidates, -scores, rows))
    rows, candidates, scores = rows[order], candidates[order], scores[order]
    return _Search(queries, row_of, rows, candidates, places(rows) + 1, scores)


def _rank(
    loaded: Loaded,
    setting: Setting,
    judged: Judged,
    search: _Search,
    clusters: dict[int, Clusters],
    depth: int,
) -> Ranked:
    names = loaded.queries.written[search.queries].tolist()
    described = [clusters[number] for number in search.queries.tolist()]
    _require_one_query_a_topic(setting, names, described)
    width, rows = len(loaded.candidates.names), search.row_of[judged.relevant_queries]
    ranks = np.full(len(rows), depth + 1, dtype=np.int32)
    _, sought, hits = np.intersect1d(
        rows * width + judged.relevant,
        search.rows * width + search.candidates,
        assume_unique=True,
        return_indices=True,
    )
    ranks[sought] = np.minimum(search.places[hits], depth + 1)
    kept = search.places <= depth
    listed = np.bincount(search.rows[kept], minlength=len(names)).astype(np.int32)
    by_query = np.lexsort((judged.relevant, rows))
    relevant = judged.relevant[by_query]
    return Ranked(
        setting=setting,
        queries=names,
        clusters=described,
        rows=search.rows[kept],
        candidates=loaded.candidates.written[search.candidates[kept]],
        places=search.places[kept],
        scores=_decreasing(search, kept),
        relevant_rows=rows[by_query],
        relevant=loaded.candidates.written[relevant].tolist(),
        relevant_languages=loaded.candidates.languages[relevant].tolist(),
        ranks=ranks[by_query],
        grades=judged.grades[by_query].astype(np.int32),
        listed=listed,
        counts={
            "queries": len(names),
            "without_relevant": len(judged.queries) - len(names),
            "missing": int((listed == 0).sum()),
            "relevant": len(rows),
            "not_retrieved": int((ranks > depth).sum()),
        },
    )


def _decreasing(search: _Search, kept: np.ndarray) -> np.ndarray:
    """Scores of the kept results, lowered by single float32 steps where they tie."""
    rows, columns = search.rows[kept], search.places[kept] - 1
    table = ragged(rows, search.scores[kept], len(search.queries), fill=-np.inf)
    return strictly_decreasing(table)[rows, columns]


def _require_one_query_a_topic(
    setting: Setting, names: Sequence[str], clusters: Sequence[Clusters]
) -> None:
    seen: dict[str, str] = {}
    for name, cluster in zip(names, clusters, strict=True):
        if seen.setdefault(cluster.topic, name) != name:
            raise DataError(
                f"setting {setting}: queries '{seen[cluster.topic]}' and '{name}' have one topic, "
                f"'{cluster.topic}'; give --topics or --topic-pattern that tell them apart"
            )


def _nothing_common(loaded: Loaded, run: Entries, asked: np.ndarray) -> str:
    judged = loaded.queries.names[asked[0]] if len(asked) else ""
    return (
        f"{run.file.path} and {', '.join(str(qrels.file.path) for qrels in loaded.qrels[:3])} have "
        f"no query in common: the run has '{loaded.queries.names[run.queries[0]]}', the qrels "
        f"'{judged}'; give qrels with the same ids"
    )


def write_external(folder: Path, external: External, tag: str, pools: dict[str, int]) -> list[Path]:
    """Write all settings; returns the paths. `pools` are sizes by language, as far as known."""
    graded = external.graded > 0
    paths = [path for ranked in external.settings for path in _write(folder, ranked, tag, graded)]
    tables = [
        rank_rows(
            ranked.setting,
            [ranked.queries[row] for row in ranked.relevant_rows],
            [ranked.clusters[row] for row in ranked.relevant_rows],
            ranked.relevant,
            ranked.relevant_languages,
            rank=ranked.ranks,
            listed=ranked.listed[ranked.relevant_rows],
            grade=ranked.grades if graded else None,
        )
        for ranked in external.settings
    ]
    write_ranks(folder / "ranks.parquet", tables, pools, cutoff=external.depth)
    return [*paths, folder / "ranks.parquet"]


def _write(folder: Path, ranked: Ranked, tag: str, graded: bool) -> list[Path]:
    """The run and qrels of one setting in this project's form."""
    run_path, qrels_path = run_file(folder, ranked.setting), qrels_file(folder, ranked.setting)
    names = pa.array(ranked.queries, pa.string())
    content = ragged_run_bytes(
        names.take(pa.array(ranked.rows)),
        pa.array(ranked.candidates, pa.string()),
        ranked.places,
        ranked.scores,
        tag,
    )
    write_gzip(run_path, content)
    of_relevant = [ranked.queries[row] for row in ranked.relevant_rows]
    grades = ranked.grades.tolist() if graded else None
    write_gzip(qrels_path, qrels_bytes(of_relevant, ranked.relevant, grades))
    return [run_path, qrels_path]


def notes(external: External) -> list[str]:
    """What a reader must know before believing the scores, a line each: what is missing, left out,
    or taken in another way than it was written.
    """
    settings, depth = external.settings, external.depth
    lines = doubts(external.languages) + [
        f"{name}: {_number(len(queries), 'query', 'queries')} without judgements, left out (first: "
        f"{queries[0]})"
        for name, queries in sorted(external.extra.items())
    ]
    for count, what in (
        ("missing", "without results, counted as 0"),
        ("without_relevant", "without a relevant candidate in the pool, left out"),
    ):
        counts = {str(ranked.setting): ranked.counts[count] for ranked in settings}
        if sum(counts.values()):
            named = ", ".join(f"{name} {number:,}" for name, number in counts.items() if number)
            lines.append(f"{_number(sum(counts.values()), 'query', 'queries')} {what} ({named})")
    if external.empty:
        lines.append(
            "no query has a relevant candidate in "
            f"{first_few(list(map(str, external.empty)))}; left out"
        )
    if external.graded:
        lines.append(
            f"{_number(external.graded, 'judgement', 'judgements')} above 1: grades are the gains "
            "of nDCG; to all other metrics every grade above 0 is relevant, 1"
        )
    relevant = sum(ranked.counts["relevant"] for ranked in settings)
    lost = sum(ranked.counts["not_retrieved"] for ranked in settings)
    if lost == relevant:
        lines.append(
            "no relevant candidate is in any ranking; do run and qrels name candidates alike?"
        )
    shorter = [
        str(ranked.setting)
        for ranked in settings
        if 0 < ranked.listed.max() < depth and ranked.counts["not_retrieved"]
    ]
    if shorter:
        lines.append(
            f"the rankings of {first_few(shorter)} all end before {depth}; what they lack counts "
            "as right behind them, and --depth cuts all settings alike"
        )
    if _translations_are_not_grouped(external):
        lines.append(
            "no two queries of different languages have a common topic; if some are translations, "
            "give --topics or --topic-pattern, or comparisons take them for independent"
        )
    return lines


def _translations_are_not_grouped(external: External) -> bool:
    """Whether there are several query languages, but no topic in two of them."""
    languages_of = {ranked.setting.query_language for ranked in external.settings}
    pairs = {
        (ranked.setting.query_language, cluster.topic)
        for ranked in external.settings
        for cluster in ranked.clusters
    }
    asked = Counter(topic for _, topic in pairs)
    return len(languages_of) > 1 and max(asked.values()) == 1


def _number(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
