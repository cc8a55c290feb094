"""robustness.parquet: what each perturbation does to each query.

Columns: setting, query, topic, paragraph, article, kind, strength (dictionaries); ap_clean, ap,
first_clean, first_lost, overlap (float64), as `effect.Effect` has their means.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bias_bench.data.collection import Collection
from bias_bench.evaluation.settings import ALL, Setting
from bias_bench.robustness.effect import QueryEffects
from bias_bench.robustness.perturbations import Variant
from bias_bench.system.files import atomic_path, read_parquet

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "robustness.parquet"
# measures of a query: the mean of a column, or of the first less the second
MEASURES = {
    "perturbed_AP": ["ap"],
    "perturbation_loss": ["ap_clean", "ap"],
    "perturbation_overlap": ["overlap"],
}
_VALUES = ("ap_clean", "ap", "first_clean", "first_lost", "overlap")
_TEXT = ("setting", "query", "topic", "paragraph", "article", "kind", "strength")


class QueryMeans(NamedTuple):
    """A value of each query, the mean over the perturbations that its language has: columns of one
    length, `values` float64.
    """

    settings: list[str]
    topics: list[str]
    paragraphs: list[str]
    articles: list[str]
    values: np.ndarray


def write_effects(
    path: Path,
    collection: Collection,
    asked: Mapping[str, np.ndarray],
    effects: Mapping[Variant, Mapping[str, QueryEffects]],
) -> None:
    """Write all values in long form; `asked` int has the rows in `queries_in` of what was asked."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    of_language = {
        language: _query_columns(collection, language, rows) for language, rows in asked.items()
    }
    columns: dict[str, list[pa.Array]] = {name: [] for name in (*_TEXT, *_VALUES)}
    for variant, by_language in effects.items():
        for language, found in by_language.items():
            for name, texts in of_language[language].items():
                columns[name].append(pa.array(texts, pa.string()).take(pa.array(found.rows)))
            for name, text in variant._asdict().items():
                columns[name].append(pa.array([text] * len(found.rows), pa.string()))
            for name in _VALUES:
                columns[name].append(pa.array(getattr(found, name), pa.float64()))
    arrays = {
        name: pa.chunked_array(parts, pa.string()).dictionary_encode()
        if name in _TEXT
        else pa.chunked_array(parts, pa.float64())
        for name, parts in columns.items()
    }
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(arrays).combine_chunks(), temporary, compression="zstd")


def _query_columns(collection: Collection, language: str, rows: np.ndarray) -> dict[str, list[str]]:
    queries = collection.queries_in(language)
    topics = [collection.topics[row] for row in collection.query_topics(language)]
    setting = str(Setting(language, ALL if collection.parallel else language))
    return {
        "setting": [setting] * len(rows),
        "query": [queries[row].id for row in rows],
        "topic": [topics[row].id for row in rows],
        "paragraph": [topics[row].paragraph for row in rows],
        "article": [topics[row].article for row in rows],
    }


def read_means(path: Path, measure: str) -> QueryMeans:
    """One of `MEASURES` of each query. DataError where there is no such file, or it is damaged."""
    import pyarrow as pa

    keys, needed = ["setting", "topic", "paragraph", "article"], MEASURES[measure]
    advice = f"{measure} is of runs with --set robustness=true"
    table = read_parquet(path, [*keys, *needed], absent=advice)
    columns = {key: table[key].cast(pa.string()) for key in keys}
    columns |= {name: table[name] for name in needed}
    means = pa.table(columns).group_by(keys, use_threads=False)
    table = means.aggregate([(name, "mean") for name in needed])
    values = [table[f"{name}_mean"].to_numpy() for name in needed]
    settings, topics, paragraphs, articles = (table[key].to_pylist() for key in keys)
    difference = values[0] - values[1] if len(values) == 2 else values[0]
    return QueryMeans(settings, topics, paragraphs, articles, difference)
