"""Belebele (Bandarkar et al. 2024, ACL): 900 questions to 488 passages, parallel in 122 variants.

A candidate is a whole passage. One ``<variant>.jsonl`` per language variant, in the published form
(a row per question: ``link``, ``question_number``, ``flores_passage``, ``question``) or with a row
per passage (``text``, ``items`` with a ``question`` each, the link in ``metadata``). Passages are
parallel through their link, questions through their number in it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from bias_bench.data.benchmark import Content, FileCheck, Reader, Size
from bias_bench.data.collection import Candidate, Collection, Query, Topic
from bias_bench.data.hub import hub_file
from bias_bench.data.ids import query_id
from bias_bench.data.languages import chosen_languages
from bias_bench.data.readers import Record, read_json_lines
from bias_bench.errors import DataError
from bias_bench.system.console import progress, say
from bias_bench.system.files import atomic_path, make_folder, sha256_file
from bias_bench.system.yaml_values import package_yaml


class Facts(BaseModel):
    """``belebele.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    repository: str
    revision: str
    passages: int
    questions: int
    default: tuple[str, ...]
    variants: tuple[str, ...]


class Passage(NamedTuple):
    """A passage of one variant with its questions by their number."""

    text: str
    questions: dict[str, str]


@cache
def belebele_facts() -> Facts:
    return Facts(**package_yaml("bias_bench.data", "belebele.yaml"))


def belebele_sizes() -> dict[str, Size]:
    """What each variant holds."""
    facts = belebele_facts()
    return dict.fromkeys(facts.variants, Size(queries=facts.questions, candidates=facts.passages))


def _present(folder: Path, wanted: Sequence[str] | None) -> dict[str, Path]:
    """The files of the variants wanted, else of those that are there, else of the default ones."""
    facts = belebele_facts()
    paths = {variant: folder / f"{variant}.jsonl" for variant in facts.variants}
    codes = chosen_languages("belebele", paths, wanted)
    if not wanted:
        codes = [code for code in codes if paths[code].is_file()] or list(facts.default)
    return {code: paths[code] for code in codes}


def _check(folder: Path, wanted: Sequence[str] | None, deep: bool) -> list[FileCheck]:
    return [
        FileCheck(variant, path, _problem(path, variant, deep))
        for variant, path in _present(folder, wanted).items()
    ]


def _problem(path: Path, variant: str, deep: bool) -> str | None:
    if not path.is_file():
        return "missing"
    if deep:
        try:
            _read_variant(path, variant)
        except DataError as error:
            return str(error).removeprefix(f"{path}: ")
    return None


def _fetch(folder: Path, wanted: Sequence[str] | None) -> None:
    """Fetch the files that are missing from the hub, at the pinned commit."""
    facts = belebele_facts()
    missing = {code: path for code, path in _present(folder, wanted).items() if not path.is_file()}
    if not missing:
        return
    say(f"Belebele: CC BY-SA 4.0; {len(missing)} language variants, into {folder}")
    make_folder(folder)
    with progress("fetch belebele", len(missing), "files") as advance:
        for variant, path in missing.items():
            fix = f"check the network, or put the file at {path}"
            fetched = hub_file(facts.repository, f"data/{variant}.jsonl", facts.revision, fix)
            with atomic_path(path) as temporary:
                shutil.copyfile(fetched, temporary)
            advance(1)


def _load(name: str, folder: Path, languages: Sequence[str] | None) -> Content:
    paths = _present(folder, languages)
    for path in paths.values():
        if not path.is_file():
            raise DataError(f"{path}: missing; run `biasbench data fetch belebele`")
    parts = {variant: _read_variant(path, variant) for variant, path in paths.items()}
    first = next(iter(parts))
    for variant, part in parts.items():
        _require_parallel(paths[variant], part, parts[first], paths[first])
    sha256 = {path.name: sha256_file(path) for path in paths.values()}
    return Content(_collection(name, parts), sha256)


def _read_variant(path: Path, variant: str) -> dict[str, Passage]:
    """The passages by link, in the order of the links; DataError where they are not all there."""
    passages: dict[str, Passage] = {}
    for record in read_json_lines(path):
        link, text, questions = _row(record)
        passage = passages.setdefault(link, Passage(text, {}))
        if passage.text != text:
            raise DataError(f"{record.where}: the passage of {link} differs from that above")
        for number, question in questions.items():
            if number in passage.questions:
                raise DataError(f"{record.where}: question {number} of {link} occurs twice")
            passage.questions[number] = question
    facts = belebele_facts()
    total = sum(len(passage.questions) for passage in passages.values())
    if (len(passages), total) != (facts.passages, facts.questions):
        raise DataError(
            f"{path}: {len(passages)} passages and {total} questions, expected "
            f"{facts.passages} and {facts.questions} of {variant}"
        )
    return dict(sorted(passages.items()))


def _row(record: Record) -> tuple[str, str, dict[str, str]]:
    """Link, passage and questions by number of a row of either form."""
    fields = record.fields
    if "flores_passage" in fields:
        number = str(fields.get("question_number"))
        values = fields.get("link"), fields["flores_passage"], {number: fields.get("question")}
    else:
        extra = _mapping(_mapping(fields.get("metadata")).get("extra"))
        items = fields.get("items")
        numbered = enumerate(items if isinstance(items, list) else [], 1)
        questions = {str(number): _mapping(item).get("question") for number, item in numbered}
        values = extra.get("url") or fields.get("url"), fields.get("text"), questions
    link, text, asked = values
    texts = (link, text, *asked.values())
    if not asked or not all(isinstance(value, str) and value.strip() for value in texts):
        raise DataError(f"{record.where}: a link, a passage or a question is missing")
    return str(link), str(text), {number: str(question) for number, question in asked.items()}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _require_parallel(
    path: Path, part: dict[str, Passage], other: dict[str, Passage], other_path: Path
) -> None:
    for link in part.keys() ^ other.keys():
        raise DataError(f"{path}: {link} is in only one of this file and {other_path.name}")
    for link, passage in part.items():
        if passage.questions.keys() != other[link].questions.keys():
            raise DataError(f"{path}: other questions to {link} than in {other_path.name}")


def _collection(name: str, parts: dict[str, dict[str, Passage]]) -> Collection:
    """Passages and questions are numbered in the order of their links, equally in all variants."""
    first = next(iter(parts.values()))
    topics = {
        f"{row}-{number}": (row, link)
        for row, (link, passage) in enumerate(first.items())
        for number in passage.questions
    }
    return Collection(
        name=name,
        languages=tuple(parts),
        topics=tuple(Topic(topic, str(row), link, link) for topic, (row, link) in topics.items()),
        queries=tuple(
            Query(query_id(variant, f"{row}-{number}"), question)
            for variant, part in parts.items()
            for row, passage in enumerate(part.values())
            for number, question in passage.questions.items()
        ),
        candidates=tuple(
            Candidate(f"{variant}:{row}", passage.text, "")
            for variant, part in parts.items()
            for row, passage in enumerate(part.values())
        ),
        relevance=tuple(
            (topic, f"{variant}:{row}") for variant in parts for topic, (row, _) in topics.items()
        ),
    )


BELEBELE = Reader(load=_load, check=_check, fetch=_fetch)
