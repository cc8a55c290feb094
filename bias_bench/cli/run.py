"""`biasbench run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

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
    Out,
    OutputFormat,
    Reports,
    Verbose,
    listen,
)

EXAMPLES = """Examples:

biasbench run

biasbench run xquad-r --recipe mono --recipe hybrid --data-dir data

biasbench run xquad-r --recipe hybrid --data-dir data --dry-run

biasbench run xquad-r --backbone intfloat/multilingual-e5-base

biasbench run xquad-r --recipe bm25 --data-dir data

biasbench run xquad-r --recipe fusion:runs/xquad-r-bm25-0+runs/xquad-r-hybrid-0

biasbench run mlqa-r --data-dir data --set retrieval.depth=200 --name mlqa-deep

biasbench run runs/mini-zero-shot-0/experiment.yaml --policy always"""


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
    policy: Annotated[
        Literal["only-missing", "always", "never"],
        typer.Option(
            help="only-missing keeps finished stages; always computes everything anew; never "
            "computes nothing and fails if anything is missing or outdated.",
            rich_help_panel=HOW,
        ),
    ] = "only-missing",
    memory: Memory = None,
    dry_run: DryRun = False,
    verbose: Verbose = None,
    output_format: OutputFormat = "table",
) -> None:
    """Train, encode, search, score and report a benchmark; goes on where an earlier run stopped."""
    from bias_bench.cli.summary import print_summary
    from bias_bench.console import say
    from bias_bench.report.index_page import write_index

    listen(verbose)
    folders = run_systems(
        benchmark, recipe, backbone, data_dir, settings, seed, out, reports, name, device, policy,
        dry_run, output_format, memory=memory,
    )  # fmt: skip
    if folders:
        say(f"all runs: {write_index(reports)}")
        print_summary(folders, output_format)


def run_systems(
    benchmark: str | None,
    recipe: list[str] | None,
    backbone: str | None,
    data_dir: Path | None,
    settings: list[str] | None,
    seed: list[int] | None,
    out: Path,
    reports: Path,
    name: str | None,
    device: str,
    policy: Any,
    dry_run: bool,
    output_format: Any,
    until: Any = None,
    memory: str | None = None,
) -> list[Path]:
    """Run every system that the options describe; returns their folders.

    A dry run prints what it would do instead, and returns none.
    """
    from bias_bench.cli.systems import make_experiments
    from bias_bench.console import let_first_speak
    from bias_bench.errors import UsageError
    from bias_bench.launch import started_rank
    from bias_bench.memory import parse_size
    from bias_bench.pipeline import run as run_experiment
    from bias_bench.stages.prepare import RunOptions

    let_first_speak(started_rank())
    experiments = make_experiments(benchmark, recipe, backbone, data_dir, settings, seed, until)
    if name is not None and len(experiments) > 1:
        raise UsageError(
            f"--name {name} names one run folder, but {len(experiments)} systems were asked for; "
            "give one --recipe and one --seed"
        )
    budget = None if memory is None else parse_size(memory)
    options = RunOptions(out, reports, device, policy, name, until, memory=budget)
    if dry_run:
        from bias_bench.cli.plan_text import print_plan
        from bias_bench.dry_run.plan import plan_runs

        print_plan(plan_runs(experiments, options), output_format)
        return []
    return [run_experiment(experiment, options) for experiment in experiments]
