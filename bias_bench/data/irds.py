"""Data sets of ir_datasets (MacAvaney et al. 2021, arXiv:2103.02280) as benchmarks: ``irds:ID``.

Several ids, with commas between them, are languages of one benchmark, each searched alone. An id
may have a language before it (``irds:sw=some/data/set``) where ir_datasets knows none.
"""

from __future__ import annotations

from typing import Any

from bias_bench.data.beir import UNKNOWN_LANGUAGE, Part, Question, beir_collection
from bias_bench.data.benchmark import Content
from bias_bench.data.languages import language_code
from bias_bench.errors import BiasBenchError, DataError, UsageError, nearest
from bias_bench.system.console import say
from bias_bench.system.files import plain_name
from bias_bench.system.library_caches import direct_library_caches

PREFIX = "irds:"


def irds_name(name: str) -> str:
    """What a benchmark is called: ``irds-beir-scifact-test`` for ``irds:beir/scifact/test``."""
    return plain_name(name.replace(":", "-").replace("/", "-"), longest=120)


def load_irds(name: str) -> Content:
    """The benchmark of ``irds:ID``; ir_datasets fetches what it has not on this disk.

    Text is what ir_datasets takes by default (title and text, where a document has both). Queries
    without judgements are left out, as are judgements of unknown queries and documents, which are
    counted. BiasBenchError where ir_datasets is not installed, UsageError for an unknown id,
    DataError for data that cannot be had or hold no judgement.
    """
    parts = []
    for entry in name.removeprefix(PREFIX).split(","):
        language, _, identifier = entry.strip().rpartition("=")
        parts.append(_read(identifier, language))
    collection = beir_collection(irds_name(name), parts)
    return Content(collection, {name: collection.fingerprint})


def _read(identifier: str, language: str) -> Part:
    data = _data_set(identifier)
    known = language or data.docs_lang() or data.queries_lang()
    language = language_code(known) if known else UNKNOWN_LANGUAGE
    try:
        documents = {doc.doc_id: (language, doc.default_text()) for doc in data.docs_iter()}
        texts = {query.query_id: query.default_text() for query in data.queries_iter()}
        judgements = [(row.query_id, row.doc_id, row.relevance) for row in data.qrels_iter()]
    except (OSError, RuntimeError, ValueError) as error:
        line = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{PREFIX}{identifier}: cannot be read ({line})") from None
    grades: dict[str, dict[str, int]] = {}
    for query, document, grade in judgements:
        if query in texts and document in documents:
            grades.setdefault(query, {})[document] = max(int(grade), 0)
    if lost := len(judgements) - sum(map(len, grades.values())):
        say(
            f"{PREFIX}{identifier}: {lost:,} of {len(judgements):,} judgements left out, of "
            "unknown queries or documents or given twice"
        )
    if not grades:
        raise DataError(f"{PREFIX}{identifier}: holds no judgement")
    for kind, names in (("document", documents), ("query", grades)):
        for item in names:
            if len(item.split()) != 1:
                raise DataError(f"{PREFIX}{identifier}: {kind} id '{item}' holds white space")
    questions = {
        query: Question(language, None, texts[query], None, None, f"{PREFIX}{identifier}")
        for query in texts
        if query in grades
    }
    return Part(documents, questions, grades)


def _data_set(identifier: str) -> Any:
    direct_library_caches()
    try:
        import ir_datasets
    except ImportError:
        raise BiasBenchError(
            f"{PREFIX}{identifier}: ir_datasets is not installed: run "
            "`pip install 'ir-datasets>=0.5.9'` (the extra irds)"
        ) from None
    try:
        data = ir_datasets.load(identifier)
    except KeyError:
        raise UsageError(
            f"{PREFIX}{identifier}: ir_datasets has no such data set: "
            f"{nearest(identifier, list(ir_datasets.registry))}"
        ) from None
    for kind in ("docs", "queries", "qrels"):
        if not getattr(data, f"has_{kind}")():
            raise UsageError(
                f"{PREFIX}{identifier}: has no {kind}; give the id of a part that is judged, such "
                "as one that ends in /test or /dev"
            )
    return data
