"""Score rankings of any tool: what `biasbench score` does, as a run."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path

from bias_bench.api.run import Run, load_run
from bias_bench.runs.external import ScoreOptions, score_external
from bias_bench.runs.graph import Policy

Files = str | PathLike[str] | Mapping[str, str | PathLike[str]]


def score(
    run: Files,
    qrels: Files | Run,
    *,
    languages: str | PathLike[str] | None = None,
    language_pattern: str | None = None,
    topics: str | PathLike[str] | None = None,
    topic_pattern: str | None = None,
    depth: int | None = None,
    benchmark: str | None = None,
    system: str | None = None,
    out: str | PathLike[str] = "runs",
    name: str | None = None,
    seed: int = 0,
    policy: Policy = "only-missing",
) -> Run:
    """Score TREC rankings, without a model: retrieval metrics and language bias, down to a depth.

    `run` is a TREC file (queries of any languages, searched in the pool of all), a folder with a
    file ``<setting>.run`` each, or a mapping of settings (``en``, ``en-de``, ``en-all``) to files;
    `qrels` likewise, or a Run, which lends its judgements, topics and benchmark. `languages` is a
    table of ids and languages, `topics` one of queries and topics; the patterns are regular
    expressions with a group ``language`` (``topic``) for ids that the table lacks. Without either,
    the language of an id is what is before its first colon, the topic what is after it. `depth` is
    the number of results per query that count, by default as many as the longest ranking has.
    ``docs/score.md`` has the forms of the files.

    Raises UsageError, DataError or BiasBenchError, one line each.

    >>> from bias_bench import score
    >>> score("no-such.run", "no-such.qrels")
    Traceback (most recent call last):
    ...
    bias_bench.errors.DataError: no-such.run: no such file
    """
    options = ScoreOptions(
        _named(run),
        _named(qrels.folder if isinstance(qrels, Run) else qrels),
        None if languages is None else Path(languages),
        language_pattern,
        None if topics is None else Path(topics),
        topic_pattern,
        benchmark,
        system,
        seed,
        name,
        Path(out),
        depth,
        policy,
    )
    return load_run(score_external(options))


def _named(files: Files) -> list[str]:
    """The files as `biasbench score` takes them."""
    if isinstance(files, Mapping):
        return [f"{setting}={fspath(path)}" for setting, path in files.items()]
    return [fspath(files)]
