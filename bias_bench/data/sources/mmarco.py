"""Form ``mmarco``: MS MARCO in many languages, parallel through the ids of queries and passages.

The published layout, below ``path``: ``queries/<language>_queries.train.tsv`` (or in
``queries/train/``), ``collections/<language>_collection.tsv``, and ``triples.train.ids.small.tsv``
there or one folder up, with a query, a passage that answers it and one that does not on each line.
"""

from __future__ import annotations

import posixpath
from array import array
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import Field

from bias_bench.data.languages import our_language
from bias_bench.data.pairs import Links
from bias_bench.data.readers import read_lines, read_table
from bias_bench.data.sources.build import (
    LoadedSource,
    TextTable,
    crossed,
    make_pairs,
)
from bias_bench.data.sources.source import Options, Place, Source
from bias_bench.errors import DataError, UsageError
from bias_bench.system.console import say

TRIPLES = "triples.train.ids.small.tsv"
_QUERIES = "_queries.train.tsv"
_COLLECTION = "_collection.tsv"


class MmarcoOptions(Options):
    """`limit`: only the first triples; `max_negatives`: at most this many for a pair."""

    limit: int | None = Field(default=None, ge=1)
    max_negatives: int | None = Field(default=None, ge=0)


class Files(NamedTuple):
    """Names of the files: the triples, and by language, sorted, the queries and the passages."""

    triples: str
    queries: dict[str, str]
    collections: dict[str, str]


class Triples(NamedTuple):
    """Pairs of a query with an answer, each once, in order of first sight.

    `query`, `positive`: int64 [pairs] ids; `line`: int64 [pairs] where the pair first stands;
    `negatives`: for each pair the ids of its non-answers.
    """

    query: np.ndarray
    positive: np.ndarray
    line: np.ndarray
    negatives: list[list[int]]


def load_mmarco(source: Source) -> LoadedSource:
    """Every pair of the triples in all L² directions, with its negatives.

    The triples and the collections are streamed; only texts that are needed stay in memory. A text
    that is blank in a language is left out there and counted.
    """
    options = source.options(MmarcoOptions)
    files = find_files(source)
    languages = list(files.queries)
    path = source.place.file(files.triples)
    triples = read_triples(path, options)
    needed = _needed(triples)
    say(f"{source.name}: {len(triples.query):,} pairs in the triples, {len(languages)} languages")
    queries, candidates = TextTable(), TextTable()
    query_rows = np.full((len(triples.query), len(languages)), -1, dtype=np.int32)
    candidate_rows = query_rows.copy()
    passages: list[dict[int, str]] = []
    blank = 0
    for column, language in enumerate(languages):
        asked = _texts(source.place.file(files.queries[language]), "query", needed[0], path)
        texts = _texts(source.place.file(files.collections[language]), "passage", needed[1], path)
        passages.append(texts)
        for row, (query, positive) in enumerate(zip(*triples[:2], strict=True)):
            if asked[query] and texts[positive]:
                query_rows[row, column] = queries.row(language, asked[query])
                candidate_rows[row, column] = candidates.row(language, texts[positive])
            else:
                blank += 1
    if blank:
        say(f"{source.name}: {blank:,} pairs left out of a language that has a blank text there")
    links = crossed(query_rows, candidate_rows)
    ids, topic = np.unique(triples.query, return_inverse=True)
    pairs = make_pairs(
        source.name,
        queries,
        candidates,
        {str(number): "" for number in ids},
        Links(topic[links.topic], links.query, links.candidate),
    )
    of_language = [languages.index(language) for language in pairs.languages]
    columns = np.array(of_language, dtype=np.int32)[pairs.candidate_language]
    return LoadedSource(pairs, _negatives(links.topic, columns, triples.negatives, passages))


def find_files(source: Source) -> Files:
    """The files below the entry's path of the languages to read.

    UsageError for a language with two of a kind, DataError where no language has both.
    """
    source.takes("path")
    options = source.options(MmarcoOptions)
    path = posixpath.normpath(source.spec.path)
    queries: dict[str, str] = {}
    collections: dict[str, str] = {}
    names = source.place.names(path)
    for name in names:
        for ending, names_of in ((_QUERIES, queries), (_COLLECTION, collections)):
            language = our_language(posixpath.basename(name).removesuffix(ending))
            if not name.endswith(ending) or language is None:
                continue
            if language in names_of:
                raise UsageError(
                    f"{source.where}: both {names_of[language]} and {name} are language "
                    f"'{language}'; let path name the folder of one translation"
                )
            names_of[language] = name
    here, above = (posixpath.normpath(posixpath.join(path, up, TRIPLES)) for up in (".", ".."))
    one_up = here not in names and not source.place.lacks([above])
    languages = source.keep_languages(options.languages, queries.keys() & collections.keys())
    if not languages:
        raise DataError(
            f"{source.spec.path}: no <language>{_QUERIES} with its <language>{_COLLECTION} "
            f"({source.where}); check path"
        )
    return Files(
        above if one_up else here,
        {language: queries[language] for language in languages},
        {language: collections[language] for language in languages},
    )


def mmarco_files(source: Source) -> list[tuple[Place, str]]:
    """The triples, the queries and the collections."""
    files = find_files(source)
    names = [files.triples, *files.queries.values(), *files.collections.values()]
    return [(source.place, name) for name in names]


def read_triples(path: Path, options: MmarcoOptions) -> Triples:
    """The first `limit` triples, gathered by pair; no negative of a pair answers its query.

    Blank lines are passed over. DataError names a line that does not hold three whole numbers.
    """
    ids, blank = array("q"), array("q")  # of a blank line, the number of triples before it
    for number, line in enumerate(islice(read_lines(path), options.limit), 1):
        fields = line.split()
        if not fields:
            blank.append(len(ids) // 3)
            continue
        if len(fields) != 3 or not all(id_.isdecimal() and len(id_) < 10 for id_ in fields):
            raise DataError(f"{path}: line {number}: '{line[:40]}', expected three whole numbers")
        ids.extend(map(int, fields))
    if not ids:
        raise DataError(f"{path}: empty; fetch it again")
    query, positive, negative = np.frombuffer(ids, dtype=np.int64).reshape(-1, 3).T
    _, first, member = np.unique(
        query * (positive.max() + 1) + positive, return_index=True, return_inverse=True
    )
    order = np.argsort(first)
    lines = np.split(np.argsort(member, kind="stable"), np.cumsum(np.bincount(member))[:-1])
    answers: dict[int, set[int]] = {}
    for row in first:
        answers.setdefault(int(query[row]), set()).add(int(positive[row]))
    negatives = []
    for pair in order:
        correct = answers[int(query[first[pair]])]
        distinct = dict.fromkeys(negative[lines[pair]].tolist())
        wrong = [passage for passage in distinct if passage not in correct]
        negatives.append(wrong[: options.max_negatives])
    first = first[order]
    line_of = first + 1 + np.searchsorted(blank, first, side="right")
    return Triples(query[first], positive[first], line_of, negatives)


def _needed(triples: Triples) -> tuple[dict[int, int], dict[int, int]]:
    """The queries and the passages that the triples name, with the first line that names each."""
    queries: dict[int, int] = {}
    passages: dict[int, int] = {}
    for query, positive, line, negatives in zip(*triples, strict=True):
        queries.setdefault(int(query), int(line))
        for passage in (int(positive), *negatives):
            passages.setdefault(passage, int(line))
    return queries, passages


def _texts(path: Path, kind: str, needed: Mapping[int, int], triples: Path) -> dict[int, str]:
    """The needed texts of a file by id; DataError for one that is not in it."""
    texts: dict[int, str] = {}
    for number, (identifier, text) in read_table(path, 2):
        if not identifier.isdecimal():
            raise DataError(f"{path}: line {number}: id '{identifier[:20]}' is not a whole number")
        if int(identifier) in needed:
            texts[int(identifier)] = text.strip()
    if len(texts) < len(needed):
        lost = next(identifier for identifier in needed if identifier not in texts)
        raise DataError(
            f"{triples}: line {needed[lost]}: {kind} {lost} is not in {path}; both files must be "
            "of one release"
        )
    return texts


def _negatives(
    rows: np.ndarray,
    columns: np.ndarray,
    negatives: Sequence[Sequence[int]],
    passages: Sequence[dict[int, str]],
) -> dict[int, tuple[str, ...]]:
    """Texts by row of the pairs. `rows`, `columns`: int [pairs] row of the triples and language."""
    shared: dict[tuple[int, int], tuple[str, ...]] = {}
    of_pair: dict[int, tuple[str, ...]] = {}
    for pair, key in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        if key not in shared:
            row, column = key
            texts = (passages[column][identifier] for identifier in negatives[row])
            shared[key] = tuple(text for text in texts if text)
        if shared[key]:
            of_pair[pair] = shared[key]
    return of_pair
