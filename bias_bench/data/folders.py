"""A user's own folder: the form that it is in, its collection, and what is to be known of it.

Forms are LAReQA's (one ``<language>.json`` each) and BEIR's (`beir`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bias_bench.data.beir import beir_folders, beir_split, load_beir
from bias_bench.data.benchmark import Content
from bias_bench.data.collection import Collection
from bias_bench.data.ids import language_of, topic_of
from bias_bench.data.languages import chosen_languages, doubts, language_code, language_name
from bias_bench.data.readers import RAISED, Faults
from bias_bench.data.squad import load_lareqa
from bias_bench.data.units import default_unit
from bias_bench.errors import DataError, UsageError
from bias_bench.system.files import is_hidden, sha256_file

LAREQA = "LAReQA: one <language>.json each"
BEIR = "BEIR: corpus, queries and judgements"
BEIR_FOLDERS = "BEIR: a folder for each language"
_SHOWN = 8  # names of files in a note


class LanguageCheck(NamedTuple):
    """What a folder holds in one language: `relevant` counts its candidates judged relevant, and
    `unanswered` the queries without a relevant candidate in any language.
    """

    language: str
    name: str
    queries: int
    candidates: int
    relevant: int
    unanswered: int


class FolderCheck(NamedTuple):
    """What a folder would be taken as. Numbers are of what is without problems.

    `form` is empty where no form is recognised; `grades` counts judgements by grade, 0 being not
    relevant; `parallel` is whether topics are shared by languages; `unit` is the unit of resampling
    in significance tests. `notes` are what a user may not expect, `problems` what would end a run;
    both a line each.
    """

    path: str
    form: str
    split: str | None
    languages: list[LanguageCheck]
    topics: int
    grades: dict[str, int]
    parallel: bool
    unit: str
    notes: list[str]
    problems: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **self._asdict(),
            "languages": [language._asdict() for language in self.languages],
        }


def load_folder(
    folder: Path,
    languages: Sequence[str] | None = None,
    split: str | None = None,
    faults: Faults = RAISED,
) -> Content:
    """The collection in a folder in any form; DataError names the place of a fault.

    Files of other languages than these `languages` are not read; a file of several languages is
    read whole. UsageError for a language or a split that it does not have.
    """
    name = folder.resolve().name
    if beir_folders(folder):
        return load_beir(name, folder, languages, split, faults)
    if split is not None:
        raise UsageError(f"split={split}: {folder} is not in BEIR's form; remove the setting")
    paths: dict[str, Path] = {}
    for path in sorted(path for path in folder.glob("*.json") if not is_hidden(path.name)):
        code = language_code(path.stem)
        if code in paths:
            raise DataError(
                f"{path}: is language '{code}', as {paths[code].name} beside it; keep one of them"
            )
        paths[code] = path
    if not paths:
        raise DataError(
            f"{folder}: holds no <language>.json in LAReQA's form and no corpus in BEIR's"
        )
    paths = {code: paths[code] for code in chosen_languages(str(folder), paths, languages)}
    collection = load_lareqa(name, paths, faults)
    return Content(collection, {path.name: sha256_file(path) for path in paths.values()})


def check_folder(folder: Path, split: str | None = None) -> FolderCheck:
    """Read a folder whatever is wrong with it, and say what it would be taken as.

    UsageError where it is not a folder, or has no such split.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: not a folder; give the folder that holds the files")
    problems: list[str] = []
    faults = Faults(problems)
    form, content = "", None
    splits: set[str] = set()
    with faults:
        folders = beir_folders(folder)
        if folders:
            form = BEIR if "" in folders else BEIR_FOLDERS
        elif any(not is_hidden(path.name) for path in folder.glob("*.json")):
            form = LAREQA
        for inner in folders.values():
            with Faults([]):  # what is wrong here is a problem of the next lines too
                splits.add(beir_split(inner, split))
        content = load_folder(folder, None, split, faults)
    shown = ", ".join(sorted(splits)) or None
    if content is None:
        notes = [] if form else _unread(folder, ())
        return FolderCheck(str(folder), form, shown, [], 0, {}, False, "topic", notes, problems)
    collection, read = content
    languages = _languages(collection)
    unanswered = sum(language.unanswered for language in languages)
    notes = _notes(collection, unanswered)
    grades = Counter(map(str, collection.grades or [1] * len(collection.relevance)))
    if collection.not_relevant:
        grades["0"] = len(collection.not_relevant)
    return FolderCheck(
        path=str(folder),
        form=form,
        split=shown,
        languages=languages,
        topics=len(collection.topics),
        grades=dict(sorted(grades.items(), key=lambda item: int(item[0]))),
        parallel=collection.parallel,
        unit=default_unit(lambda unit: [(t.id, getattr(t, unit)) for t in collection.topics]),
        notes=[*doubts(collection.languages), *notes, *_unread(folder, read)],
        problems=problems,
    )


def _languages(collection: Collection) -> list[LanguageCheck]:
    relevant = Counter(map(language_of, {candidate for _, candidate in collection.relevance}))
    answered = {topic for topic, _ in collection.relevance}
    queries = Counter(language_of(query.id) for query in collection.queries)
    unanswered = Counter(
        language_of(query.id) for query in collection.queries if topic_of(query.id) not in answered
    )
    return [
        LanguageCheck(
            language=language,
            name=language_name(language),
            queries=queries[language],
            candidates=pool.stop - pool.start,
            relevant=relevant[language],
            unanswered=unanswered[language],
        )
        for language, pool in collection.pools.items()
    ]


def _notes(collection: Collection, unanswered: int) -> list[str]:
    """What is missing in a collection, and what that means for its settings."""
    notes, number = [], len(collection.languages)
    if number == 1:
        notes.append("one language: it is searched alone; nothing across languages is measured")
    elif not collection.parallel:
        notes.append(
            "no topic is shared by languages: each is searched alone, and pools of all and bias "
            "metrics are absent; equal question ids, or BEIR's column topic, say what is shared"
        )
    else:
        asked = Counter(topic_of(query.id) for query in collection.queries)
        if partly := sum(asked[topic.id] < number for topic in collection.topics):
            notes.append(
                f"{partly:,} of {len(collection.topics):,} topics are not asked in every language"
            )
    for language in collection.languages:
        wanted = collection.languages if collection.parallel else (language,)
        if lost := [code for code in wanted if code not in collection.answered_in[language]]:
            notes.append(
                f"no query in {language} has a relevant candidate in {', '.join(lost)}: "
                f"{'that setting is' if len(lost) == 1 else 'those settings are'} left out"
            )
    if unanswered:
        notes.append(
            f"{unanswered:,} of {len(collection.queries):,} queries have no relevant candidate, "
            "and are left out of every figure"
        )
    texts = Counter((language_of(item.id), item.text.strip()) for item in collection.candidates)
    if empty := sum(count for (_, text), count in texts.items() if not text):
        notes.append(f"{empty:,} candidates have no text")
    if twice := sum(count for (_, text), count in texts.items() if text and count > 1):
        notes.append(
            f"{twice:,} candidates have a text that another one of their language has too: where "
            "only one of them is judged relevant, the other counts as wrong"
        )
    return notes


def _unread(folder: Path, read: Container[str]) -> list[str]:
    """A line on the files that are not read, if there are any."""
    names = sorted(
        path.relative_to(folder).as_posix()
        for pattern in ("*", "*/*", "*/qrels/*")
        for path in folder.glob(pattern)
        if path.is_file() and not any(map(is_hidden, path.relative_to(folder).parts))
    )
    names = [name for name in names if name not in read]
    if not names:
        return []
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return [f"not read: {', '.join(names[:_SHOWN])}{more}"]
