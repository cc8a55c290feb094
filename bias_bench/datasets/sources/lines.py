"""Form ``lines``: line-parallel text files, one per language.

Line i of one language is the query, line i of another the candidate. A line is no question of
itself, so parallel text gives cross-lingual pairs and never monolingual ones.
"""

from __future__ import annotations

import numpy as np

from bias_bench.console import say
from bias_bench.datasets.readers import read_lines
from bias_bench.datasets.sources.build import (
    LoadedSource,
    TextTable,
    TopicName,
    crossed,
    make_pairs,
)
from bias_bench.datasets.sources.source import Options, Source
from bias_bench.errors import DataError, UsageError


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
    lines = [[line.strip() for line in read_lines(path)] for path in paths]
    if spec.documents:
        paths.append(source.place.file(spec.documents))
        documents = [line.split("\t")[0].strip() for line in read_lines(paths[-1])]
    else:
        documents = [""] * len(lines[0])
    columns = [*lines, documents]
    shortest = min(map(len, columns))
    for column in columns:
        while len(column) > shortest and not column[-1]:  # a blank line at the end says nothing
            column.pop()
    for path, column in zip(paths, columns, strict=False):
        if len(column) != len(lines[0]):
            raise DataError(
                f"{path}: {len(column):,} lines, but {paths[0]} has {len(lines[0]):,}; parallel "
                "files need the same lines in the same order"
            )
    kept = [row for row, texts in enumerate(zip(*lines, strict=True)) if all(texts)]
    if len(kept) < len(lines[0]):
        say(
            f"{source.name}: {len(lines[0]) - len(kept):,} of {len(lines[0]):,} lines left out, "
            "blank in at least one language"
        )
    table = TextTable()
    rows = np.array(
        [
            [
                table.row(language, column[row])
                for language, column in zip(languages, lines, strict=True)
            ]
            for row in kept
        ],
        dtype=np.int32,
    ).reshape(len(kept), len(languages))
    topics = [TopicName(f"line-{row + 1}", documents[row]) for row in kept]
    links = crossed(rows, rows, monolingual=False)
    return LoadedSource(make_pairs(source.name, table, table, topics, links), None)
