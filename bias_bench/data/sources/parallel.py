"""Forms whose files are parallel: ``squad``, ``lines``, and ``embedded``, which the package brings.

``squad``: SQuAD files, one per language, parallel through equal question ids. With LAReQA's
``sentence_breaks`` the candidate is the sentence that holds ``answer_start``; without them it is
the whole paragraph.

``lines``: line-parallel text files, one per language. Line i of one language is the query, line i
of another the candidate. A line is not a question of itself, so parallel text gives cross-lingual
pairs and never monolingual ones.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files as package_files
from pathlib import Path

import numpy as np

from bias_bench.data.mini import training_topics
from bias_bench.data.pairs import pairs_from_collection
from bias_bench.data.readers import read_lines
from bias_bench.data.sources.build import LoadedSource, TextTable, crossed, make_pairs
from bias_bench.data.sources.source import Options, Place, Source
from bias_bench.data.squad import read_answers, read_topics
from bias_bench.errors import DataError, UsageError
from bias_bench.system.console import say


def load_embedded(source: Source) -> LoadedSource:
    """The training topics of ``mini``, every one in all L² directions."""
    source.takes()
    topics = training_topics()
    languages = source.keep_languages(source.options(Options).languages, topics.languages)
    pairs = pairs_from_collection(topics.keep(languages))
    return LoadedSource(replace(pairs, data_sets=(source.name,)), None)


def embedded_files(source: Source) -> list[tuple[Place, str]]:
    """All files of the training topics, in the package."""
    folder = Path(str(package_files("bias_bench.data")))
    place = Place(source.name, folder, "reinstall biasbench")
    return [(place, name) for name in place.names("mini-train") if name.endswith(".json")]


def load_squad(source: Source) -> LoadedSource:
    """Every question with its answer in every language that has it: L² pairs for L languages."""
    source.takes("files")
    files = source.spec.files
    parts = {
        language: read_answers(source.place.file(files[language]), language, whole=True)
        for language in source.keep_languages(source.options(Options).languages, files)
    }
    topics = read_topics(parts)
    row = {topic: number for number, topic in enumerate(topics)}
    queries, candidates = TextTable(), TextTable()
    query_rows = np.full((len(topics), len(parts)), -1, dtype=np.int32)
    candidate_rows = query_rows.copy()
    for column, (language, part) in enumerate(parts.items()):
        texts = {candidate.id: candidate.text for candidate in part.candidates}
        for query, answer in zip(part.queries, part.answers, strict=True):
            cell = row[answer.topic], column
            query_rows[cell] = queries.row(language, query.text)
            candidate_rows[cell] = candidates.row(language, texts[answer.candidate])
    titles = {name: topic.title for name, topic in topics.items()}
    links = crossed(query_rows, candidate_rows)
    return LoadedSource(make_pairs(source.name, queries, candidates, titles, links), None)


def load_lines(source: Source) -> LoadedSource:
    """Each line in all L·(L-1) directions. A line that is blank in one language is left out of all.

    The optional `documents` file names the document of each line in its first column.
    """
    source.takes("files", optional=["documents"])
    spec = source.spec
    languages = source.keep_languages(source.options(Options).languages, spec.files)
    if len(languages) < 2:
        raise UsageError(
            f"{source.where}: only language '{languages[0]}'; parallel lines need two or more"
        )
    paths = [source.place.file(spec.files[language]) for language in languages]
    columns = [[line.strip() for line in read_lines(path)] for path in paths]
    if spec.documents:
        paths.append(source.place.file(spec.documents))
        columns.append([line.split("\t")[0].strip() for line in read_lines(paths[-1])])
    shortest = min(map(len, columns))
    for column in columns:
        while len(column) > shortest and not column[-1]:  # a blank line at the end says nothing
            column.pop()
    for path, column in zip(paths, columns, strict=True):
        if len(column) != len(columns[0]):
            raise DataError(
                f"{path}: {len(column):,} lines, but {paths[0]} has {len(columns[0]):,}; parallel "
                "files need the same lines in the same order"
            )
    lines = list(zip(*columns[: len(languages)], strict=True))
    whole = [number for number, texts in enumerate(lines) if all(texts)]
    if len(whole) < len(lines):
        say(
            f"{source.name}: {len(lines) - len(whole):,} of {len(lines):,} lines left out, "
            "blank in at least one language"
        )
    table = TextTable()
    rows = np.array(
        [list(map(table.row, languages, lines[number])) for number in whole], dtype=np.int32
    ).reshape(len(whole), len(languages))
    titles = {
        f"line-{number + 1}": columns[-1][number] if spec.documents else "" for number in whole
    }
    links = crossed(rows, rows, monolingual=False)
    return LoadedSource(make_pairs(source.name, table, table, titles, links), None)
