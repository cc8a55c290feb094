"""The stage probe: how well a fresh classifier tells languages from embeddings.

A fooled adversary proves nothing about the embeddings it was trained on; this probe is trained
from scratch, on a sample of the benchmark's topics, and tested on paragraphs it has not seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bias_bench import __version__
from bias_bench.bias.probe import FOLDS, cross_covariance_norm, language_probe
from bias_bench.encoders.blocks import array_of
from bias_bench.encoders.embeds import Embeds, Request
from bias_bench.runs.graph import Made, Stage, Work
from bias_bench.runs.task import Prepared
from bias_bench.runs.vectors import Encoded, encoded
from bias_bench.system.files import write_json

TOPICS = 100
PROBE_FILE = "probe.json"


class Sample(NamedTuple):
    """Rows to probe of each benchmark request, in order, with the paragraph code of every row."""

    rows: list[np.ndarray]
    paragraphs: list[np.ndarray]


def make_sample(prepared: Prepared) -> Sample | None:
    """Queries and relevant candidates of up to `TOPICS` topics, drawn with the experiment's seed.

    None where there are too few languages or paragraphs to probe, or where topics are not parallel:
    their subjects alone would tell the languages apart.
    """
    collection = prepared.collection
    names = sorted({topic.paragraph for topic in collection.topics})
    if not collection.parallel or len(collection.languages) < 2 or len(names) < FOLDS:
        return None
    code = {name: number for number, name in enumerate(names)}
    paragraph_of = np.array([code[topic.paragraph] for topic in collection.topics])
    random = np.random.default_rng([prepared.experiment.seed, 5])
    topics = np.sort(random.permutation(len(collection.topics))[:TOPICS])
    rows, paragraphs = [], []
    for language in collection.languages:
        start, stop = collection.pools[language]
        relevant = collection.relevant_rows[topics]
        inside = (relevant >= start) & (relevant < stop)
        chosen, first = np.unique(relevant[inside], return_index=True)
        owner = np.broadcast_to(topics[:, None], relevant.shape)[inside][first]
        rows.append(chosen - start)
        paragraphs.append(paragraph_of[owner])
    for language in collection.languages:
        asked = collection.query_topics(language)
        chosen = np.flatnonzero(np.isin(asked, topics))
        rows.append(chosen)
        paragraphs.append(paragraph_of[asked[chosen]])
    if len(np.unique(np.concatenate(paragraphs))) < FOLDS:
        return None
    return Sample(rows, paragraphs)


def probe_requests(untrained: Prepared, sample: Sample) -> list[Request]:
    """What the encoder before training encodes: the sample's texts."""
    return [
        request._replace(
            label=f"{request.label} to probe", texts=[request.texts[row] for row in rows]
        )
        for request, rows in zip(untrained.requests(), sample.rows, strict=True)
    ]


def probe_stage(
    prepared: Prepared, sample: Sample, source: Callable[[], Embeds], log: str | None
) -> Stage:
    """The probe on the vectors of a source; `log` is the training log of a trained encoder, which
    is probed as it was before training too.
    """

    def work(work: Work) -> Made:
        measured = _measure(prepared, sample, encoded(prepared, source(), work))
        if log:
            requests = probe_requests(prepared, sample)
            vectors = prepared.source.vectors(requests, again=work.again, memory=work.memory)
            measured["before"] = _probe(prepared, sample, [array_of(part) for part in vectors])
            accuracy = _adversary_accuracy(work.folder / log)
            measured |= {} if accuracy is None else {"adversary_accuracy": accuracy}
        write_json(work.folder / PROBE_FILE, measured)
        return Made([work.folder / PROBE_FILE])

    def inputs() -> dict[str, Any]:
        return {
            "rows": [rows.tolist() for rows in sample.rows],
            "before": prepared.source.record["weights"],
            "biasbench": __version__,
        }

    return Stage("probe", work, inputs, ("encode", *((f"train:{log}",) if log else ())))


def _measure(prepared: Prepared, sample: Sample, encoded: Encoded) -> dict[str, Any]:
    """The part ``bias.language_probe`` of metrics.json, of the encoder that is evaluated."""
    names = len(prepared.collection.languages)
    own = [part.rows(rows) for part, rows in zip(encoded.candidates, sample.rows, strict=False)]
    own += [part[rows] for part, rows in zip(encoded.queries, sample.rows[names:], strict=True)]
    return _probe(prepared, sample, own)


def _probe(prepared: Prepared, sample: Sample, vectors: Sequence[np.ndarray]) -> dict[str, Any]:
    names = prepared.collection.languages
    turns = [np.full(len(part), place % len(names)) for place, part in enumerate(vectors)]
    languages, together = np.concatenate(turns), np.concatenate(vectors)
    probe = language_probe(together, languages, np.concatenate(sample.paragraphs))
    return {
        "macro": probe.accuracy,
        "chance": probe.chance,
        "per_language": dict(zip(names, probe.per_language.tolist(), strict=True)),
        "cross_covariance": cross_covariance_norm(together, languages),
        "texts": len(together),
    }


def _adversary_accuracy(path: Path) -> float | None:
    """How often the discriminator of training was right in the last tenth of the steps."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    seen = [row.get("observed", {}).get("language_adversary", {}).get("accuracy") for row in rows]
    last = [value for value in seen[-max(1, len(seen) // 10) :] if value is not None]
    return float(np.mean(last)) if last else None
