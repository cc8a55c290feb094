"""`biasbench score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bias_bench.cli.options import (
    PLACE,
    Metrics,
    Out,
    OutputFormat,
    RunPolicy,
    Verbose,
    listen,
    option,
)

EXAMPLES = """Examples:

biasbench score --run bm25.run.gz --qrels test.qrels

biasbench score --run bm25.run --qrels test.qrels --languages languages.tsv --topics topics.tsv

biasbench score --run en-de=en-de.run --run en-all=pooled.run --qrels test.qrels --depth 100

biasbench score --run bm25.run --qrels runs/xquad-r-zero-shot-0 --system bm25"""

_IDS = "What ids mean"


def score_command(
    run: Annotated[
        list[str],
        typer.Option(
            help="TREC run, plain or gzip: FILE with queries of any languages, searched in the pool"
            " of all; SETTING=FILE for one setting (en, en-de, en-all); or a folder with "
            "<setting>.run files. May be repeated.",
            metavar="[SETTING=]FILE",
        ),
    ],
    qrels: Annotated[
        list[str],
        typer.Option(
            help="TREC judgements, likewise; one file serves all settings. A run folder lends its "
            "judgements, topics and benchmark, so that both can be compared.",
            metavar="[SETTING=]FILE",
        ),
    ],
    languages: Annotated[
        Path | None, option("Table `id <tab> language` of queries and candidates.", _IDS)
    ] = None,
    language_pattern: Annotated[
        str | None,
        option(
            "Regular expression with a group `language`, for ids that the table lacks. "
            "Default: what is before the first colon.",
            _IDS,
        ),
    ] = None,
    topics: Annotated[
        Path | None,
        option(
            "Table `query <tab> topic`, or with `<tab> paragraph <tab> article`: which "
            "queries are translations of one another.",
            _IDS,
        ),
    ] = None,
    topic_pattern: Annotated[
        str | None,
        option(
            "Regular expression with a group `topic`. Default: what is after the first colon.",
            _IDS,
        ),
    ] = None,
    depth: Annotated[
        int | None,
        option("Results per query that count. Default: as many as the longest ranking has."),
    ] = None,
    metrics: Metrics = None,
    benchmark: Annotated[str | None, option("Default: the name of the qrels.", PLACE)] = None,
    system: Annotated[str | None, option("Default: the tag in the run.", PLACE)] = None,
    seed: Annotated[
        int,
        typer.Option(
            help="Runs of one system with different seeds are compared as one system.",
            rich_help_panel=PLACE,
        ),
    ] = 0,
    name: Annotated[
        str | None,
        option("Name of the folder. Default: <benchmark>-<system>-<seed>.", PLACE),
    ] = None,
    out: Out = Path("runs"),
    policy: RunPolicy = "only-missing",
    verbose: Verbose = None,
    output_format: OutputFormat = "table",
) -> None:
    """Score rankings that any tool made: retrieval metrics and language bias, no model needed.

    Leaves a folder like that of a run, for `biasbench compare`; metrics are cut at a depth.
    """
    from bias_bench.cli.summary import print_scores
    from bias_bench.runs.external import ScoreOptions, score_external

    listen(verbose)
    options = ScoreOptions(
        runs=run,
        qrels=qrels,
        languages=languages,
        language_pattern=language_pattern,
        topics=topics,
        topic_pattern=topic_pattern,
        benchmark=benchmark,
        system=system,
        seed=seed,
        name=name,
        out=out,
        metrics=[name.strip() for name in (metrics or "").split(",") if name.strip()],
        depth=depth,
        policy=policy,
    )
    print_scores(score_external(options), output_format)
