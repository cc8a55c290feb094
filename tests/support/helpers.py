"""Slow, plain references and small builders that several test files share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, settings

from bias_bench.data.ids import language_of
from bias_bench.evaluation.ranking import Files

Run = Mapping[str, Mapping[str, float]]
Qrels = Mapping[str, Mapping[str, int]]


# compilation and file access take their time, above all on a busy machine
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def canonical_order(results: Mapping[str, float]) -> list[str]:
    """Candidate ids by float32 score descending, then by the bytes of the id descending."""
    by_id = sorted(results, key=lambda name: name.encode("utf-8"), reverse=True)
    return sorted(by_id, key=lambda name: float(np.float32(results[name])), reverse=True)


def run_text(run: Run) -> str:
    """A run as other tools write it: ties stay tied and nothing is sorted."""
    return "".join(
        f"{query} Q0 {candidate} 0 {score!r} other\n"
        for query, results in run.items()
        for candidate, score in results.items()
    )


def qrels_text(qrels: Qrels) -> str:
    return "".join(
        f"{query} 0 {candidate} {grade}\n"
        for query, judgements in qrels.items()
        for candidate, grade in judgements.items()
    )


def write_files(folder: Path, name: str, run: Run, qrels: Qrels) -> Files:
    files = Files(folder / f"{name}.run", folder / f"{name}.qrels")
    files.run.write_text(run_text(run), encoding="utf-8")
    files.qrels.write_text(qrels_text(qrels), encoding="utf-8")
    return files


def rank_rows(setting: str, rows: Iterable[tuple[str, str, int]]) -> pa.Table:
    """Rows (topic, candidate, rank) of one setting, in the columns of ranks.parquet."""
    table = list(rows)
    language = setting.split("-", maxsplit=1)[0]
    columns: dict[str, Sequence[str]] = {
        "setting": [setting] * len(table),
        "query": [f"{language}:{topic}" for topic, _, _ in table],
        "topic": [topic for topic, _, _ in table],
        "paragraph": [f"paragraph-{topic}" for topic, _, _ in table],
        "article": [f"article-{topic}" for topic, _, _ in table],
        "candidate": [candidate for _, candidate, _ in table],
        "candidate_language": [language_of(candidate) for _, candidate, _ in table],
    }
    arrays = {name: pa.array(values, pa.string()) for name, values in columns.items()}
    return pa.table({**arrays, "rank": pa.array([rank for _, _, rank in table], pa.int32())})


def set_dropout(model: Any, share: float) -> None:
    """Give every dropout of a transformers model this share, that of attention included."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share
        if hasattr(module, "dropout_prob"):
            module.dropout_prob = share


def contrastive(temperature: float, **settings: Any) -> Any:
    """The contrastive term with these of its settings."""
    from bias_bench.config.training import ContrastiveSettings
    from bias_bench.training.terms.contrastive import Contrastive

    return Contrastive(temperature, ContrastiveSettings(**settings))
