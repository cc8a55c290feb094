"""Write rankings of other tools as a run folder holds them: runs, qrels and ranks.parquet."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from bias_bench.evaluation.external import External, Ranked
from bias_bench.evaluation.ranks import write_ranks
from bias_bench.evaluation.score_run import qrels_file, run_file
from bias_bench.evaluation.trec import qrels_bytes, ragged_run_bytes, write_gzip


def write_external(folder: Path, external: External, tag: str, pools: dict[str, int]) -> list[Path]:
    """Write all settings; returns the paths. `pools` are sizes by language, as far as known."""
    graded = external.graded > 0
    paths = [path for ranked in external.settings for path in _write(folder, ranked, tag, graded)]
    tables = [_rank_rows(ranked, graded) for ranked in external.settings]
    path = folder / "ranks.parquet"
    write_ranks(path, tables, pools, cutoff=external.depth)
    return [*paths, path]


def _write(folder: Path, ranked: Ranked, tag: str, graded: bool) -> list[Path]:
    """The run and qrels of one setting in this project's form."""
    run_path, qrels_path = run_file(folder, ranked.setting), qrels_file(folder, ranked.setting)
    names = pa.array(ranked.queries, pa.string())
    content = ragged_run_bytes(
        names.take(pa.array(ranked.rows)),
        pa.array(ranked.candidates, pa.string()),
        ranked.places,
        ranked.scores,
        tag,
    )
    write_gzip(run_path, content)
    of_relevant = [ranked.queries[row] for row in ranked.relevant_rows]
    grades = ranked.grades.tolist() if graded else None
    write_gzip(qrels_path, qrels_bytes(of_relevant, ranked.relevant, grades))
    return [run_path, qrels_path]


def _rank_rows(ranked: Ranked, graded: bool) -> pa.Table:
    """The rows of one setting in ranks.parquet."""
    clusters = [ranked.clusters[row] for row in ranked.relevant_rows]
    columns = {
        "setting": [str(ranked.setting)] * len(clusters),
        "query": [ranked.queries[row] for row in ranked.relevant_rows],
        "topic": [found.topic for found in clusters],
        "paragraph": [found.paragraph for found in clusters],
        "article": [found.article for found in clusters],
        "candidate": ranked.relevant,
        "candidate_language": ranked.relevant_languages,
    }
    arrays = {name: pa.array(column, pa.string()) for name, column in columns.items()}
    arrays["rank"] = pa.array(ranked.ranks, pa.int32())
    arrays["listed"] = pa.array(ranked.listed[ranked.relevant_rows], pa.int32())
    if graded:
        arrays["grade"] = pa.array(ranked.grades, pa.int32())
    return pa.table(arrays)
