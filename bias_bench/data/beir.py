"""BEIR's file form (Thakur et al. 2021, arXiv:2104.08663), with languages and parallel topics.

A folder holds ``corpus`` (``_id``, ``text``, perhaps ``title``) and ``queries`` (``_id``, ``text``)
as JSON lines, gzipped or not, or as parquet, and judgements in ``qrels/<split>.tsv``. Columns
beside those: `language` of both; of queries `topic` (or `parallel_id`), which queries in several
languages share, and `paragraph` and `article`, the clusters that a topic belongs to. Without the
column `language`, each language has a folder of that form, called by its code.

A document is its title, a space and its text, as in BEIR and mteb. Queries without judgements in
the split belong to another split and are left out, as there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bias_bench.data.benchmark import Content
from bias_bench.data.collection import Candidate, Collection, Query, Topic
from bias_bench.data.ids import language_of, query_id
from bias_bench.data.languages import chosen_languages, language_code
from bias_bench.data.readers import RAISED, Faults, Record, read_lines, read_rows
from bias_bench.errors import DataError, UsageError, nearest
from bias_bench.system.files import is_hidden, sha256_file

UNKNOWN_LANGUAGE = "und"  # BCP 47's code for a language that nobody named
_ROWS = (".jsonl", ".jsonl.gz", ".parquet")
_JUDGEMENTS = (".tsv", ".txt", ".qrels", ".trec", ".parquet")
_DEFAULT_SPLIT = "test"


class Files(NamedTuple):
    """The files of one folder; `judgements` by split."""

    corpus: Path
    queries: Path
    judgements: dict[str, Path]


class Question(NamedTuple):
    """A row of the queries, with its place for messages; `topic` is None where it has none."""

    language: str
    topic: str | None
    text: str
    paragraph: str | None
    article: str | None
    where: str


class Part(NamedTuple):
    """What one folder holds: documents and questions by their ids in it, and grades by both.

    A document is a language and a text. Questions that the split does not judge are left out.
    """

    documents: dict[str, tuple[str, str]]
    questions: dict[str, Question]
    grades: dict[str, dict[str, int]]


def beir_folders(folder: Path) -> dict[str, Path]:
    """The folders in BEIR's form: `folder` itself as ``""``, or one for each language by its code.

    Empty where there is none.
    """
    if _one_of(folder, "corpus", _ROWS):
        return {"": folder}
    if not folder.is_dir():
        return {}
    folders: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not is_hidden(path.name) and _one_of(path, "corpus", _ROWS):
            code = language_code(path.name)
            if code in folders:
                raise DataError(f"{path}: is language '{code}', as {folders[code].name} beside it")
            folders[code] = path
    return folders


def load_beir(
    name: str,
    folder: Path,
    languages: Sequence[str] | None = None,
    split: str | None = None,
    faults: Faults = RAISED,
) -> Content:
    """Read a folder that `beir_folders` knows; DataError names the file and the line.

    UsageError for a language or a split that it does not have. `split` None takes the only one,
    else ``test``. Where `faults` are collected, what has none is read, row by row.
    """
    folders = beir_folders(folder)
    if not folders:
        raise DataError(f"{folder}: no corpus.jsonl, corpus.jsonl.gz or corpus.parquet")
    if "" not in folders:
        codes = chosen_languages(str(folder), folders, languages)
        folders = {code: folders[code] for code in codes}
    parts: list[Part] = []
    sha256: dict[str, str] = {}
    for code, inner in folders.items():
        with faults:
            files = _files(inner)
            judgements = files.judgements[_split(inner, files.judgements, split)]
            for path in (files.corpus, files.queries, judgements):
                sha256[path.relative_to(folder).as_posix()] = sha256_file(path)
            parts.append(_read_part(files, judgements, code or UNKNOWN_LANGUAGE, faults))
    return Content(beir_collection(name, parts), sha256)


def beir_split(folder: Path, wanted: str | None) -> str:
    """The split that `load_beir` takes; UsageError where `wanted` is not there."""
    return _split(folder, _files(folder).judgements, wanted)


def _one_of(folder: Path, stem: str, endings: Iterable[str]) -> Path | None:
    """The file of this name; DataError where there are several."""
    paths = [path for ending in endings if (path := folder / f"{stem}{ending}").is_file()]
    if len(paths) > 1:
        raise DataError(f"{paths[0]}: stands beside {paths[1].name}; keep one of them")
    return paths[0] if paths else None


def _files(folder: Path) -> Files:
    corpus, queries = (_one_of(folder, stem, _ROWS) for stem in ("corpus", "queries"))
    if not corpus or not queries:
        stem = "corpus" if not corpus else "queries"
        raise DataError(f"{folder}: no {stem}.jsonl, {stem}.jsonl.gz or {stem}.parquet")
    inside = folder / "qrels"
    paths = sorted(inside.iterdir()) if inside.is_dir() else []
    judgements = {
        path.stem: path for path in paths if path.suffix in _JUDGEMENTS and not is_hidden(path.name)
    }
    single = _one_of(folder, "qrels", _JUDGEMENTS)
    if single and not judgements:
        judgements = {_DEFAULT_SPLIT: single}
    if not judgements:
        raise DataError(f"{folder}: no judgements in qrels/<split>.tsv, nor qrels.tsv")
    return Files(corpus, queries, judgements)


def _split(folder: Path, known: dict[str, Path], wanted: str | None) -> str:
    """The split to read."""
    if wanted is None:
        if len(known) == 1:
            return next(iter(known))
        if _DEFAULT_SPLIT in known:
            return _DEFAULT_SPLIT
        raise UsageError(
            f"{folder}: holds the splits {', '.join(known)}; choose one, for example "
            f"--set split={next(iter(known))} (`data check`: --split {next(iter(known))})"
        )
    if wanted not in known:
        raise UsageError(f"{folder}: no split '{wanted}': {nearest(wanted, known)}")
    return wanted


def _read_part(files: Files, judgements: Path, language: str, faults: Faults) -> Part:
    documents = _read_documents(files.corpus, language, faults)
    questions = _read_questions(files.queries, language, faults)
    grades: dict[str, dict[str, int]] = {}
    with faults:
        for where, fields in _read_judgements(judgements):
            with faults:
                if len(fields) not in (3, 4):
                    raise DataError(
                        f"{where}: {len(fields)} fields, expected query, document and grade"
                    )
                query, document = fields[0].strip(), fields[-2].strip()
                if query not in questions:
                    raise DataError(f"{where}: query '{query}' is not in {files.queries.name}")
                if document not in documents:
                    raise DataError(f"{where}: document '{document}' is not in {files.corpus.name}")
                if document in grades.get(query, {}):
                    raise DataError(
                        f"{where}: query '{query}' and document '{document}' occur twice"
                    )
                grades.setdefault(query, {})[document] = _grade(where, fields[-1])
    judged = {name: question for name, question in questions.items() if name in grades}
    if not judged:
        raise DataError(f"{judgements}: holds no judgement")
    return Part(documents, judged, grades)


def _read_documents(path: Path, language: str, faults: Faults) -> dict[str, tuple[str, str]]:
    """Language and text of each document; `language` is that of rows that name none."""
    documents: dict[str, tuple[str, str]] = {}
    with faults:
        for record in read_rows(path):
            with faults:
                name = _id(record)
                if name in documents:
                    raise DataError(f"{record.where}: document '{name}' occurs twice")
                text = f"{record.text('title', '')} {record.text('text')}".strip()
                documents[name] = (_language(record, language), text)
    return documents


def _read_questions(path: Path, language: str, faults: Faults) -> dict[str, Question]:
    questions: dict[str, Question] = {}
    with faults:
        for record in read_rows(path):
            with faults:
                name = _id(record)
                if name in questions:
                    raise DataError(f"{record.where}: query '{name}' occurs twice")
                text = record.text("text")
                if not text.strip():
                    raise DataError(f"{record.where}: query '{name}' has no text")
                questions[name] = Question(
                    _language(record, language),
                    record.name("topic") or record.name("parallel_id"),
                    text,
                    record.name("paragraph"),
                    record.name("article"),
                    record.where,
                )
    return questions


def _read_judgements(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Place and fields of each row: query, document and grade, or four as in TREC's form.

    A header is passed over.
    """
    if path.suffix == ".parquet":
        for record in read_rows(path):
            row = [record.value(name) for name in ("query-id", "corpus-id", "score")]
            if None in row:
                raise DataError(f"{record.where}: expected columns query-id, corpus-id and score")
            yield record.where, list(map(str, row))
        return
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split("\t") if "\t" in line else line.split()
        if line.strip() and (number > 1 or _is_number(fields[-1]) or len(fields) not in (3, 4)):
            yield f"{path}: line {number}", fields


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _grade(where: str, text: str) -> int:
    """A negative grade is 0, since trec_eval takes both as not relevant."""
    if not _is_number(text) or not float(text).is_integer():
        raise DataError(f"{where}: grade '{text.strip()}' is not a whole number")
    return max(int(float(text)), 0)


def _id(record: Record) -> str:
    identifier = record.name("_id") or record.name("id")
    if identifier is None:
        raise DataError(f"{record.where}: no '_id'")
    if any(character.isspace() for character in identifier):
        raise DataError(
            f"{record.where}: id '{identifier}' holds white space, which TREC files cannot"
        )
    return identifier


def _language(record: Record, default: str) -> str:
    code = record.name("language")
    return default if code is None else language_code(code)


def beir_collection(name: str, parts: Sequence[Part]) -> Collection:
    """One benchmark of what was read; DataError for a topic that is asked twice in a language."""
    queries: dict[str, Query] = {}
    topics: dict[str, Topic] = {}
    grades: dict[str, dict[str, int]] = {}  # of documents by topic
    languages: dict[str, set[str]] = {}  # by topic those that it is asked or answered in
    for part in parts:
        for number, question in part.questions.items():
            topic = question.topic or f"{question.language}:{number}"
            query = query_id(question.language, topic)
            if query in queries:
                raise DataError(
                    f"{question.where}: topic '{topic}' is asked twice in {question.language}"
                )
            queries[query] = Query(query, question.text)
            seen = grades.setdefault(topic, {})
            languages.setdefault(topic, set()).add(question.language)
            for document, grade in part.grades[number].items():
                candidate = f"{part.documents[document][0]}:{document}"
                # relevant to a question in one language is relevant to its translations
                seen[candidate] = max(grade, seen.get(candidate, 0))
                if grade:
                    languages[topic].add(part.documents[document][0])
            relevant = next((item for item, grade in seen.items() if grade), topic)
            paragraph = question.paragraph or relevant
            if topic not in topics or question.language == "en":
                topics[topic] = Topic(topic, paragraph, question.article or paragraph)
    texts = {
        f"{language}:{document}": text
        for part in parts
        for document, (language, text) in part.documents.items()
    }
    if len(texts) < sum(len(part.documents) for part in parts):
        raise DataError(f"{name}: a document stands in two folders under one language and id")
    known = sorted({language_of(query) for query in queries})
    silent = sorted({language_of(item) for item in texts} - set(known))
    if silent:
        raise DataError(
            f"{name}: {', '.join(silent)} has documents and no judged query; leave them out of the "
            "corpus, or ask in that language too"
        )
    return Collection(
        name=name,
        languages=tuple(known),
        topics=tuple(topics.values()),
        queries=tuple(queries[item] for item in sorted(queries, key=language_of)),
        candidates=tuple(
            Candidate(item, texts[item], "") for item in sorted(texts, key=language_of)
        ),
        relevance=_pairs(grades, relevant=True),
        grades=tuple(grade for part in grades.values() for grade in part.values() if grade),
        not_relevant=_pairs(grades, relevant=False),
        parallel=any(len(found) > 1 for found in languages.values()),
    )


def _pairs(grades: dict[str, dict[str, int]], relevant: bool) -> tuple[tuple[str, str], ...]:
    return tuple(
        (topic, candidate)
        for topic, part in grades.items()
        for candidate, grade in part.items()
        if bool(grade) == relevant
    )
