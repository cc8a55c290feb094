"""Run and qrels files of other tools, read together: every id a number, with its language.

Then the judgements by setting, and the topics of the judged queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from bias_bench.data.languages import language_code
from bias_bench.errors import DataError, UsageError
from bias_bench.evaluation.given_files import GivenFile, Role
from bias_bench.evaluation.labels import Clusters, Labels
from bias_bench.evaluation.settings import ALL, Setting
from bias_bench.evaluation.trec import QrelsTable, RunTable, line_of, read_qrels, read_run
from bias_bench.system.files import digest_texts


class Ids(NamedTuple):
    """All queries, or all candidates, of the given files; numbered in ascending order.

    `languages` are empty where not known; `written` are the ids in this project's form, which begin
    with the language. Both are arrays of str. A name may be there once in each language.
    """

    names: list[str]
    languages: np.ndarray
    written: np.ndarray


class Entries(NamedTuple):
    """One file's entries, in its order: numbers of ids, int64, and float32 scores or int grades."""

    file: GivenFile
    queries: np.ndarray
    candidates: np.ndarray
    values: np.ndarray

    def where(self, row: int) -> str:
        """Path and line of an entry, for messages."""
        return f"{self.file.path}, line {line_of(self.file.path, row)}"


class Loaded(NamedTuple):
    """All given files."""

    runs: list[Entries]
    qrels: list[Entries]
    queries: Ids
    candidates: Ids


class Judged(NamedTuple):
    """Judgements of one setting: all judged queries, and pairs of query and relevant candidate.

    `grades` are those of the pairs, from 1; the highest, where several files judge a pair.
    """

    queries: np.ndarray
    relevant_queries: np.ndarray
    relevant: np.ndarray
    grades: np.ndarray


def read_entries(runs: Sequence[GivenFile], qrels: Sequence[GivenFile], labels: Labels) -> Loaded:
    """Read and check all files.

    Where `labels` know no language of an id, the setting of its file says it: of queries always, of
    candidates where one language is searched. A file of judgements without a setting takes the one
    that all runs have.

    DataError names file and line of an entry that is malformed, has a candidate or judged query
    without a language, or one of a language that does not belong to the file's setting.
    """
    run_tables = [read_run(file.path) for file in runs]
    qrels_tables = [read_qrels(file.path) for file in qrels]
    tables: list[RunTable | QrelsTable] = [*run_tables, *qrels_tables]
    for file, table in zip([*runs, *qrels], tables, strict=True):
        if not len(table.queries):
            raise DataError(f"{file.path}: holds no entries")
    settings = _settings(runs, qrels)
    queries, query_numbers = _number(
        [table.queries for table in tables],
        [setting.query_language if setting else "" for setting in settings],
        labels,
    )
    candidates, candidate_numbers = _number(
        [table.candidates for table in tables],
        [setting.pool if setting and setting.pool != ALL else "" for setting in settings],
        labels,
    )
    values = [*(run.scores for run in run_tables), *(table.grades for table in qrels_tables)]
    entries = [
        Entries(*columns)
        for columns in zip([*runs, *qrels], query_numbers, candidate_numbers, values, strict=True)
    ]
    loaded = Loaded(entries[: len(runs)], entries[len(runs) :], queries, candidates)
    for part in loaded.runs:
        _check(part, "run", loaded, labels)
    for part in loaded.qrels:
        _check(part, "qrels", loaded, labels)
    return loaded


def _settings(runs: Sequence[GivenFile], qrels: Sequence[GivenFile]) -> list[Setting | None]:
    """What each file, runs first, is asked for; judgements for all runs alike are for theirs."""
    of_runs = [file.setting for file in runs]
    common = of_runs[0] if len(set(of_runs)) == 1 else None
    return [*of_runs, *(file.setting or common for file in qrels)]


def _number(
    columns: Sequence[pa.StringArray], languages: Sequence[str], labels: Labels
) -> tuple[Ids, list[np.ndarray]]:
    """The distinct ids of all columns, and each column as their numbers.

    `languages` say, column by column, what ids without a language of their own have.
    """
    distinct = [column.dictionary_encode() for column in columns]
    named_columns = [
        [(name, labels.language(name, default)) for name in column.dictionary.to_pylist()]
        for column, default in zip(distinct, languages, strict=True)
    ]
    known = sorted({pair for part in named_columns for pair in part})
    written = [_written(*named) for named in known]
    seen: dict[str, str] = {}
    for (name, _), new in zip(known, written, strict=True):
        if seen.setdefault(new, name) != name:
            raise DataError(
                f"ids '{seen[new]}' and '{name}' are one and the same once the language stands "
                "before them; rename one"
            )
    number_of = {pair: number for number, pair in enumerate(known)}
    numbers = [
        np.array([number_of[pair] for pair in part], dtype=np.int64)[column.indices.to_numpy()]
        for column, part in zip(distinct, named_columns, strict=True)
    ]
    names = [name for name, _ in known]
    of_ids = np.array([language for _, language in known], dtype=object)
    return Ids(names, of_ids, np.array(written, dtype=object)), numbers


def _written(name: str, language: str) -> str:
    """An id that begins with its language, which may stand there already in another form."""
    before, colon, rest = name.partition(":")
    if not language or (colon and before == language):
        return name
    same = colon and language_code(before) == language
    return f"{language}:{rest if same else name}"


def _check(entries: Entries, role: Role, loaded: Loaded, labels: Labels) -> None:
    """Every entry that counts has languages, and they fit the file's setting."""
    query_languages = loaded.queries.languages[entries.queries]
    candidate_languages = loaded.candidates.languages[entries.candidates]
    counts = entries.values > 0 if role == "qrels" else np.ones(len(entries.values), dtype=bool)
    for what, known, numbers, ids in (
        ("query", (query_languages != "") | (role == "run"), entries.queries, loaded.queries),
        ("candidate", (candidate_languages != "") | ~counts, entries.candidates, loaded.candidates),
    ):
        if not known.all():
            row = int(np.argmin(known))
            name = ids.names[numbers[row]]
            raise DataError(f"{entries.where(row)}: {what} '{name}' {labels.why_no_language(name)}")
    setting = entries.file.setting
    if setting is None:
        return
    wrong = (query_languages != "") & (query_languages != setting.query_language)
    if setting.pool != ALL:
        wrong |= counts & (candidate_languages != setting.pool)
    if wrong.any():
        row = int(wrong.argmax())
        query = loaded.queries.names[entries.queries[row]]
        candidate = loaded.candidates.names[entries.candidates[row]]
        raise DataError(
            f"{entries.where(row)}: query '{query}' ({query_languages[row] or 'unknown'}) with "
            f"candidate '{candidate}' ({candidate_languages[row]}) does not belong to the setting "
            f"{setting}; correct the line, or the table of languages"
        )


def pooled_settings(loaded: Loaded, run: Entries) -> list[Setting]:
    """The settings of a run without one: the pool of all, in every judged query language."""
    languages: set[str] = set()
    for qrels in loaded.qrels:
        setting = qrels.file.setting
        if setting is None:
            languages |= set(loaded.queries.languages[np.unique(qrels.queries)])
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
    """What the setting's own file judges, else what the pool's file judges of its candidates."""
    by_setting = {qrels.file.setting: qrels for qrels in loaded.qrels if qrels.file.setting}
    plain = [qrels for qrels in loaded.qrels if qrels.file.setting is None]
    pooled = by_setting.get(Setting(setting.query_language, ALL))
    of_setting = by_setting.get(setting) or pooled
    files = [of_setting] if of_setting else plain
    if not files:
        raise UsageError(
            f"no qrels for the setting {setting}; give --qrels {setting}=FILE, or one file for all"
        )
    queries = np.concatenate([qrels.queries for qrels in files])
    candidates = np.concatenate([qrels.candidates for qrels in files])
    grades = np.concatenate([qrels.values for qrels in files])
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
    clusters: dict[int, Clusters] = {}
    for qrels in loaded.qrels:
        rows = np.flatnonzero(qrels.values > 0)
        numbers, first = np.unique(qrels.queries[rows], return_index=True)
        for row, number in sorted(zip(rows[first].tolist(), numbers.tolist(), strict=True)):
            name = loaded.queries.names[number]
            clusters[number] = labels.of_query(name)
            if not clusters[number].topic:
                raise DataError(
                    f"{qrels.where(row)}: query '{name}' has no topic: {labels.topics.why_not}"
                )
    return clusters


def all_languages(loaded: Loaded) -> list[str]:
    """Languages of judged queries, of relevant candidates and of results."""
    languages: set[str] = set()
    for qrels in loaded.qrels:
        languages |= set(loaded.queries.languages[np.unique(qrels.queries)])
        languages |= set(loaded.candidates.languages[np.unique(qrels.candidates[qrels.values > 0])])
    for run in loaded.runs:
        languages |= set(loaded.candidates.languages[np.unique(run.candidates)])
    return sorted(languages)


def judgements_digest(loaded: Loaded, clusters: dict[int, Clusters]) -> str:
    """Equal for equal judgements and topics, however they are spread over files."""
    lines = {"\t".join((loaded.queries.written[n], *names)) for n, names in clusters.items()}
    for qrels in loaded.qrels:
        relevant = qrels.values > 0
        columns = (qrels.queries, qrels.candidates, qrels.values)
        for query, candidate, grade in zip(
            *(column[relevant].tolist() for column in columns), strict=True
        ):
            line = f"{loaded.queries.written[query]} {loaded.candidates.written[candidate]}"
            lines.add(f"{line} {grade}" if grade > 1 else line)
    return digest_texts(sorted(lines))
