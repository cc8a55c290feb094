"""`biasbench run`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bias_bench.cli.complete import (
    complete_backbone,
    complete_benchmark,
    complete_recipe,
    complete_setting,
)
from bias_bench.cli.options import (
    HOW,
    PLACE,
    SYSTEM,
    DataDir,
    Device,
    DryRun,
    Memory,
    Metrics,
    Out,
    OutputFormat,
    Reports,
    RunPolicy,
    Verbose,
    listen,
)

if TYPE_CHECKING:
    from bias_bench.runs.pipeline import PlannedRun

EXAMPLES = """Examples:

biasbench run

biasbench run xquad-r --recipe mono --recipe hybrid --data-dir data

biasbench run xquad-r --recipe hybrid --data-dir data --dry-run

biasbench run xquad-r --backbone intfloat/multilingual-e5-base

biasbench run xquad-r --recipe bm25 --data-dir data --metrics nDCG@20,R@20

biasbench run xquad-r --recipe fusion:runs/xquad-r-bm25-0+runs/xquad-r-hybrid-0

biasbench run mlqa-r --data-dir data --set retrieval.depth=200 --name mlqa-deep

biasbench run xquad-r --recipe hybrid --data-dir data --until train

biasbench run runs/mini-zero-shot-0/experiment.yaml --policy always"""


def _stages(incomplete: str) -> list[str]:
    """Names of stages that begin so, for the shell."""
    from bias_bench.runs.graph import STAGES

    return [name for name in STAGES if name.startswith(incomplete)]


def run(
    benchmark: Annotated[
        str | None,
        typer.Argument(
            help="mini, xquad-r, mlqa-r, miracl, miracl-judged, a folder with one <language>.json "
            "each, or an experiment.yaml to repeat. Default: mini.",
            show_default=False,
            autocompletion=complete_benchmark,
        ),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            help="Recipe by name or YAML file, or fusion:RUN+RUN of finished folders; may be "
            "repeated. Default: zero-shot; on mini zero-shot, mono, cross and hybrid.",
            show_default=False,
            autocompletion=complete_recipe,
            rich_help_panel=SYSTEM,
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="bundled:multilingual-e5-small (default), scratch:tiny, a folder, or a hub id.",
            show_default=False,
            autocompletion=complete_backbone,
            rich_help_panel=SYSTEM,
        ),
    ] = None,
    data_dir: DataDir = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="KEY=VALUE, for example retrieval.depth=50; the shell completes keys. May be "
            "repeated.",
            show_default=False,
            autocompletion=complete_setting,
            rich_help_panel=SYSTEM,
        ),
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(
            help="Of training and of every draw; may be repeated. Default: 0.",
            show_default=False,
            rich_help_panel=SYSTEM,
        ),
    ] = None,
    out: Out = Path("runs"),
    reports: Reports = Path("reports"),
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the run folder. Default: <benchmark>-<recipe>-<seed>.",
            show_default=False,
            rich_help_panel=PLACE,
        ),
    ] = None,
    device: Device = "auto",
    policy: RunPolicy = "only-missing",
    until: Annotated[
        str | None,
        typer.Option(
            help="Stop after this stage: audit, mine, train, encode, search, score, robustness, "
            "probe or metrics. Default: run all that the recipe has.",
            show_default=False,
            metavar="STAGE",
            autocompletion=_stages,
            rich_help_panel=HOW,
        ),
    ] = None,
    metrics: Metrics = None,
    memory: Memory = None,
    dry_run: DryRun = False,
    verbose: Verbose = None,
    output_format: OutputFormat = "table",
) -> None:
    """Train, encode, search, score and report a benchmark; goes on where an earlier run stopped."""
    from bias_bench.cli.output import print_json
    from bias_bench.cli.summary import print_summary
    from bias_bench.errors import UsageError
    from bias_bench.report.index_page import write_index
    from bias_bench.runs.experiments import make_experiments
    from bias_bench.runs.folder import RunOptions, checked_folder
    from bias_bench.runs.graph import earlier_record, require_allowed
    from bias_bench.runs.pipeline import plan_run
    from bias_bench.runs.pipeline import run as run_experiment
    from bias_bench.system.console import let_first_speak, result, say
    from bias_bench.system.launch import started_rank
    from bias_bench.system.memory import parse_size

    listen(verbose)
    let_first_speak(started_rank())
    settings = [*(settings or []), *([f"metrics=[{metrics}]"] if metrics else [])]
    experiments = make_experiments(benchmark, recipe, backbone, data_dir, settings, seed, until)
    if name is not None and len(experiments) > 1:
        raise UsageError(
            f"--name {name} names one run folder, but {len(experiments)} systems were asked for; "
            "give one --recipe and one --seed"
        )
    budget = None if memory is None else parse_size(memory)
    options = RunOptions(out, reports, device, policy, name, until, memory=budget)
    if dry_run:
        print_plan([plan_run(experiment, options) for experiment in experiments], output_format)
        return
    for experiment in experiments:  # all of them before the first is at work
        folder = checked_folder(experiment, options)
        require_allowed(earlier_record(folder, policy), folder, policy)
    folders = [run_experiment(experiment, options) for experiment in experiments]
    if until is None:
        if policy != "only-cache":
            say(f"all runs: {write_index(reports)}")
        print_summary(folders, output_format)
    elif output_format == "json":
        runs = [{"run": folder.name, "folder": str(folder)} for folder in folders]
        print_json({"stage": until, "runs": runs})
    else:
        for folder in folders:
            result(str(folder))


def print_plan(plans: Sequence[PlannedRun], output_format: Literal["table", "json"]) -> None:
    """What a dry run found: of each system its stages."""
    from bias_bench.cli.output import print_json, print_table
    from bias_bench.report.tables import Column, Table
    from bias_bench.runs.pipeline import plan_json
    from bias_bench.system.console import duration, result

    if output_format == "json":
        print_json(plan_json(plans))
        return
    for plan in plans:
        columns = [Column("stage", "name"), Column("", "name"), Column("why", "text")]
        columns += [Column("how much", "text"), Column("last time", "text")]
        table = Table(columns, f"{plan.run}: {plan.system}, in {plan.folder}")
        for stage in plan.stages:
            last = stage.last_seconds
            time = "" if last is None else f"{duration(last)} ({stage.last_run})"
            table.add_row(stage.stage, stage.action, stage.reason, stage.forecast, time)
        print_table(table)
        result("")
    if all(stage.action == "keep" for plan in plans for stage in plan.stages):
        result("nothing to compute: everything is there")
