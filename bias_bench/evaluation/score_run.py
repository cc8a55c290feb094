"""Score a run folder's TREC files with every scorer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.metrics import Metric, compute, scored_metrics
from bias_bench.evaluation.ranking import Files, judge
from bias_bench.evaluation.ranks import RankedQueries, RankTable
from bias_bench.evaluation.scorers import ranx
from bias_bench.evaluation.scorers.providers import Provider, trec_eval_provider
from bias_bench.evaluation.scorers.trec_eval import as_array
from bias_bench.evaluation.scores import SettingScores
from bias_bench.evaluation.settings import Setting, parse_setting
from bias_bench.evaluation.trec import read_qrels, read_run
from bias_bench.system.console import progress

_BATCH_BYTES = 24_000_000  # compressed run files per trec_eval call: about 150 MB as text


def run_file(folder: Path, setting: Setting) -> Path:
    return folder / "trec" / setting.kind / f"{setting}.run.gz"


def qrels_file(folder: Path, setting: Setting) -> Path:
    return folder / "qrels" / setting.kind / f"{setting}.qrels.gz"


def score_run(
    folder: Path,
    depth: int,
    trec_eval: Provider | None = None,
    more: Sequence[Metric] = (),
) -> list[SettingScores]:
    """Score every setting; trec_eval runs in its own process while ranx runs in this one.

    `trec_eval` is where it comes from (None: the first provider that works here). Metrics are those
    of `scored_metrics`, with `more` of them.
    """
    trec_eval = trec_eval or trec_eval_provider().provider
    table = RankTable(folder / "ranks.parquet")
    files = {
        name: Files(run_file(folder, setting), qrels_file(folder, setting))
        for name, setting in ((name, parse_setting(name)) for name in table.settings)
    }
    shared, known = scored_metrics(depth, table.cutoff, more)
    scores = []
    with (
        ThreadPoolExecutor(max_workers=1) as background,
        progress("score", len(files), "settings") as advance,
    ):
        batches = list(_batches(files))
        pending = [background.submit(trec_eval.score, batch, shared) for batch in batches]
        by_ranx: dict[str, dict[Metric, np.ndarray]] = {}
        for name, pair in files.items():
            by_ranx[name] = _score_by_ranx(pair, table.of(name), shared)
            advance(0.5)
        for batch, future in zip(batches, pending, strict=True):
            by_trec_eval = future.result()
            for name in batch:
                queries = table.of(name)
                values = {
                    "exact": {
                        metric: compute(metric, queries.ranks, queries.grades) for metric in known
                    },
                    "ranx": by_ranx[name],
                    "trec_eval": {
                        metric: as_array(by_trec_eval[name][metric], queries.queries)
                        for metric in shared
                    },
                }
                scores.append(SettingScores(name, queries, values))
                advance(0.5)
    return scores


def _batches(files: dict[str, Files]) -> Iterator[dict[str, Files]]:
    batch: dict[str, Files] = {}
    size = 0
    for name, pair in files.items():
        batch[name] = pair
        size += pair.run.stat().st_size
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = {}, 0
    if batch:
        yield batch


def _score_by_ranx(
    files: Files, queries: RankedQueries, metrics: tuple[Metric, ...]
) -> dict[Metric, np.ndarray]:
    rankings = judge(read_run(files.run), read_qrels(files.qrels))
    if rankings.queries != queries.queries or rankings.unjudged:
        extra = sorted(set(rankings.queries) ^ set(queries.queries)) + rankings.unjudged
        raise BiasBenchError(
            f"{files.run}: its queries are not those of ranks.parquet (first: {extra[0]}); "
            "run again with --policy always"
        )
    return ranx.score(rankings, metrics)
