"""What every collection must keep to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bias_bench.datasets.corpus import StoredCandidates
from bias_bench.datasets.ids import language_of, topic_of
from bias_bench.errors import DataError
from bias_bench.languages import language_code

_LANGUAGE = re.compile(r"\w[\w.]{0,62}")  # it stands in names of settings, and so of files

if TYPE_CHECKING:
    from bias_bench.datasets.collection import Collection


def validate(collection: Collection) -> None:
    """Raise DataError for duplicate or malformed ids, empty languages, dangling relevance."""
    for language in collection.languages:
        if not _LANGUAGE.fullmatch(language) or language == "all":
            better = language_code(language)
            usable = better not in (language, "all") and _LANGUAGE.fullmatch(better)
            raise DataError(
                f"{collection.name}: '{language}' cannot be a language code (letters, digits, '_' "
                f"and '.' alone; not 'all'){f'; write {better}' if usable else ''}"
            )
    name, languages = collection.name, collection.languages
    _validate_ids(f"{name}: query", languages, [query.id for query in collection.queries])
    candidates = collection.candidates
    if isinstance(candidates, StoredCandidates):  # whose ids were checked one by one when stored
        _validate_stored(f"{name}: candidate", languages, candidates, collection.parallel)
    else:
        _validate_ids(f"{name}: candidate", languages, [item.id for item in candidates])
    _require_unique([topic.id for topic in collection.topics], f"{collection.name}: topic id")
    _validate_links(collection)


def _validate_ids(what: str, languages: Sequence[str], ids: Sequence[str]) -> None:
    _require_unique(ids, f"{what} id")
    for identifier in ids:
        if any(character.isspace() for character in identifier):
            raise DataError(f"{what} id '{identifier}' holds white space")
    found = Counter(language_of(identifier) for identifier in ids)
    for language in languages:
        if not found[language]:
            raise DataError(f"{what}: language '{language}' has none at all")
    if [language_of(identifier) for identifier in ids] != [
        language for language in languages for _ in range(found[language])
    ]:
        raise DataError(f"{what} ids are not grouped by language as listed")


def _validate_stored(
    what: str, languages: Sequence[str], candidates: StoredCandidates, parallel: bool
) -> None:
    if parallel:
        raise DataError(f"{what}s on disk are searched in one language alone, not in parallel ones")
    if tuple(candidates.corpora) != tuple(languages):
        raise DataError(f"{what} ids are not grouped by language as listed")
    for language, corpus in candidates.corpora.items():
        if not len(corpus):
            raise DataError(f"{what}: language '{language}' has none at all")


def _validate_links(collection: Collection) -> None:
    topics = {topic.id for topic in collection.topics}
    for query in collection.queries:
        if topic_of(query.id) not in topics:
            raise DataError(f"{collection.name}: query '{query.id}' belongs to no topic")
    judged = (*collection.relevance, *collection.not_relevant)
    names = list(dict.fromkeys(candidate for _, candidate in judged))
    rows = collection.candidate_rows(names)
    known = {name for name, row in zip(names, rows.tolist(), strict=True) if row >= 0}
    _require_unique(
        [f"{topic} -> {candidate}" for topic, candidate in judged],
        f"{collection.name}: relevance",
    )
    for topic, candidate in judged:
        if topic not in topics or candidate not in known:
            raise DataError(
                f"{collection.name}: relevance '{topic}' -> '{candidate}' points to nothing"
            )
    if collection.grades and len(collection.grades) != len(collection.relevance):
        raise DataError(
            f"{collection.name}: {len(collection.grades)} grades for "
            f"{len(collection.relevance)} relevant candidates"
        )
    if min(collection.grades, default=1) < 1:
        raise DataError(f"{collection.name}: grade {min(collection.grades)} is not relevant")
    if not collection.parallel:
        _validate_apart(collection, judged)


def _validate_apart(collection: Collection, judged: Sequence[tuple[str, str]]) -> None:
    """No topic is asked or judged in two languages."""
    language: dict[str, str] = {}
    pairs = [(topic_of(query.id), language_of(query.id)) for query in collection.queries]
    pairs += [(topic, language_of(candidate)) for topic, candidate in judged]
    for topic, found in pairs:
        if language.setdefault(topic, found) != found:
            raise DataError(
                f"{collection.name}: topic '{topic}' is in '{language[topic]}' and '{found}', but "
                "the benchmark's topics are not parallel"
            )


def _require_unique(ids: Sequence[str], what: str) -> None:
    for identifier, count in Counter(ids).items():
        if count > 1:
            raise DataError(f"{what} '{identifier}' occurs {count} times")
