"""Form ``embedded``: the training topics that ship with the package."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files as package_files
from pathlib import Path

from bias_bench.datasets.collection import Collection
from bias_bench.datasets.ids import language_of
from bias_bench.datasets.mini import training_topics
from bias_bench.datasets.pairs import pairs_from_collection
from bias_bench.datasets.sources.build import LoadedSource
from bias_bench.datasets.sources.place import Place
from bias_bench.datasets.sources.source import Options, Source


def load_embedded(source: Source) -> LoadedSource:
    """The training topics of ``mini``, every one in all L² directions."""
    source.takes()
    topics = training_topics()
    languages = source.keep_languages(source.options(Options).languages, topics.languages)
    pairs = pairs_from_collection(_restricted(topics, languages))
    return LoadedSource(replace(pairs, data_sets=(source.name,)), None)


def embedded_files(source: Source) -> list[tuple[Place, str]]:
    """All files of the training topics, in the package."""
    folder = Path(str(package_files("bias_bench.datasets")))
    place = Place(source.name, folder, "reinstall biasbench")
    return [(place, name) for name in place.names("mini-train") if name.endswith(".json")]


def _restricted(collection: Collection, languages: list[str]) -> Collection:
    """The queries and candidates in `languages`; every topic has all of them."""
    return replace(
        collection,
        languages=tuple(languages),
        queries=tuple(item for item in collection.queries if language_of(item.id) in languages),
        candidates=tuple(
            item for item in collection.candidates if language_of(item.id) in languages
        ),
        relevance=tuple(
            (topic, candidate)
            for topic, candidate in collection.relevance
            if language_of(candidate) in languages
        ),
    )
