"""Scores by trec_eval as pyserini ships it: one Java start for many settings.

Settings are put into one pair of files, told apart by a prefix of the query id, since a start of
the Java runtime costs more than scoring a setting. Values have trec_eval's four decimals.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bias_bench.errors import BiasBenchError, UsageError
from bias_bench.evaluation.metrics import Metric
from bias_bench.evaluation.ranking import Files
from bias_bench.evaluation.trec import entry_lines
from bias_bench.system.java import anserini_jar, java_command

_MEASURES = {
    "AP": ("map", "map_cut"),
    "nDCG": ("ndcg", "ndcg_cut"),
    "R": ("set_recall", "recall"),
    "RR": ("recip_rank", "recip_rank"),
}
_SEPARATOR = "\x1f"  # cannot occur in an id: it is white space to str.isspace
_OWN_QUERY = _SEPARATOR.encode()  # no setting and no query
_DEEPEST_RECIPROCAL_RANK = 100


def score(
    settings: Mapping[str, Files], metrics: tuple[Metric, ...]
) -> dict[str, dict[Metric, dict[str, float]]]:
    """Per setting and metric the value of every judged query; a missing query counts 0."""
    for metric in metrics:
        if metric.measure == "RR" and metric.cutoff > _DEEPEST_RECIPROCAL_RANK:
            raise UsageError(f"{metric}: trec_eval's four decimals do not tell such ranks apart")
    with tempfile.TemporaryDirectory(prefix="biasbench-") as folder:
        run, qrels = Path(folder) / "run.txt", Path(folder) / "qrels.txt"
        with run.open("wb") as run_stream, qrels.open("wb") as qrels_stream:
            # trec_eval fails where no query has results, so one of our own always has
            run_stream.write(_OWN_QUERY + b" Q0 d 1 1 own\n")
            qrels_stream.write(_OWN_QUERY + b" 0 d 1\n")
            for name, files in settings.items():
                run_stream.write(_prefixed(files.run, name))
                qrels_stream.write(_prefixed(files.qrels, name))
        output = _trec_eval(qrels, run, metrics, folder)
    return _parse(output, list(settings), metrics)


def _prefixed(path: Path, setting: str) -> bytes:
    """The file's lines with ``setting + separator`` before each query id."""
    content = entry_lines(path)
    if not content:
        return b""
    prefix = (setting + _SEPARATOR).encode("utf-8")
    return prefix + content.replace(b"\n", b"\n" + prefix)[: -len(prefix)]


def _trec_eval(qrels: Path, run: Path, metrics: tuple[Metric, ...], scratch: str) -> str:
    """What it prints. Its program is unpacked into `scratch`: Java itself knows no TMPDIR."""
    command = [str(java_command()), f"-Djava.io.tmpdir={scratch}", "-cp", str(anserini_jar())]
    command += ["trec_eval", "-q", "-c"]
    for request in requests(metrics):
        command += ["-m", request]
    done = subprocess.run(
        [*command, str(qrels), str(run)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=scratch,
        check=False,
    )
    if done.returncode != 0 or not done.stdout:
        said = (done.stderr or done.stdout).strip().splitlines()
        # not where in its code it was
        lines = [line for line in said if not line.strip().startswith(("at ", "... "))]
        full = any("No space left" in line for line in lines)
        hint = "set TMPDIR to a folder with space" if full else "see `biasbench doctor`"
        raise BiasBenchError(f"trec_eval failed: {'; '.join(lines[-2:] or ['no output'])}; {hint}")
    return done.stdout


def requests(metrics: tuple[Metric, ...]) -> list[str]:
    """What to ask trec_eval for: all cut-offs of a measure at once; only its first `-m` counts."""
    cutoffs: dict[str, list[int]] = {}
    for metric in metrics:
        full, cut = _MEASURES[metric.measure]
        at_cutoff = metric.cutoff and cut != full
        cutoffs.setdefault(cut if at_cutoff else full, [])
        if at_cutoff:
            cutoffs[cut].append(metric.cutoff)
    return [
        f"{name}.{','.join(map(str, sorted(set(values))))}" if values else name
        for name, values in sorted(cutoffs.items())
    ]


def printed_name(metric: Metric) -> str:
    """What trec_eval calls a metric in its output."""
    full, cut = _MEASURES[metric.measure]
    return f"{cut}_{metric.cutoff}" if metric.cutoff and cut != full else full


def _parse(
    output: str, settings: list[str], metrics: tuple[Metric, ...]
) -> dict[str, dict[Metric, dict[str, float]]]:
    """Rows ``measure <tab> query <tab> value``."""
    by_name: dict[str, list[Metric]] = {}
    for metric in metrics:
        by_name.setdefault(printed_name(metric), []).append(metric)
    values: dict[str, dict[Metric, dict[str, float]]] = {
        setting: {metric: {} for metric in metrics} for setting in settings
    }
    for line in output.split("\n")[:-1]:
        name, query, text = line.split("\t")
        if query in ("all", _SEPARATOR):
            continue
        setting, _, query = query.partition(_SEPARATOR)
        for metric in by_name[name.rstrip()]:
            values[setting][metric][query] = cut_reciprocal_rank(metric, float(text))
    return values


def cut_reciprocal_rank(metric: Metric, value: float) -> float:
    """The value that trec_eval gives for a metric; RR is cut here, since trec_eval has no RR@k.

    A reciprocal rank below 1/cutoff means a rank past the cut-off.
    """
    cut = metric.measure == "RR" and metric.cutoff and value < 1 / (metric.cutoff + 0.5)
    return 0.0 if cut else value


def as_array(values: Mapping[str, float], queries: list[str]) -> np.ndarray:
    """Values [queries]; a query that trec_eval did not list had no result and counts 0."""
    return np.array([values.get(query, 0.0) for query in queries])
