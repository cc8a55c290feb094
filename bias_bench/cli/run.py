"""`biasbench run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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

if TYPE_CHECKING:
    from bias_bench.experiment import Experiment

# what a stage is run for where neither a recipe nor an experiment file is given
STAGE_RECIPES = {"mine": "hybrid-hard", "train": "hybrid"}
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
    from bias_bench.console import set_follower
    from bias_bench.errors import UsageError
    from bias_bench.launch import started_rank
    from bias_bench.memory import parse_size
    from bias_bench.pipeline import run as run_experiment
    from bias_bench.stages.prepare import RunOptions

    set_follower(started_rank() > 0)  # these commands share their work
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


def make_experiments(
    benchmark: str | None,
    recipe: list[str] | None,
    backbone: str | None = None,
    data_dir: Path | None = None,
    settings: list[str] | None = None,
    seed: list[int] | None = None,
    until: Any = None,
) -> list[Experiment]:
    """What the options describe: an experiment for each recipe and seed."""
    from bias_bench.experiment import make_experiment, read_yaml

    base: dict[str, Any] = {}
    if benchmark and Path(benchmark).suffix in (".yaml", ".yml"):
        base = read_yaml(Path(benchmark))
    elif benchmark:
        base = {"benchmark": benchmark}
    if not recipe and not base.get("recipe") and until in STAGE_RECIPES:
        recipe = [STAGE_RECIPES[until]]
    options_given: dict[str, Any] = {"backbone": backbone} if backbone else {}
    if data_dir:
        options_given["data_dir"] = str(data_dir.resolve())
    overrides = [_checked_override(text) for text in settings or []]
    seeds = [layer["seed"] for layer in (base, *overrides) if "seed" in layer]
    return [
        make_experiment(*layers, options_given, *overrides, {"seed": number})
        for layers in _recipe_layers(base, recipe)
        for number in seed or seeds[-1:] or [0]
    ]


def _checked_override(text: str) -> dict[str, Any]:
    """One --set; refuses what decides other settings too, which it would come too late for."""
    from bias_bench.errors import UsageError
    from bias_bench.experiment import parse_override

    override = parse_override(text)
    instead = {"benchmark": "as the argument", "recipe": "with --recipe"}
    for key in override.keys() & instead.keys():
        raise UsageError(f"--set {text}: give the {key} {instead[key]}, it brings other settings")
    return override


def _recipe_layers(base: dict[str, Any], recipes: list[str] | None) -> list[list[dict[str, Any]]]:
    """Settings of each recipe asked for, in rising rank, with those of the file or benchmark.

    A recipe named on the command line outranks what a file says of training; a file's own recipe
    is what the file refines, and need not be known where the file says everything itself.
    """
    from bias_bench.datasets.registry import benchmarks
    from bias_bench.experiment import (
        DEFAULT_BENCHMARK,
        DEFAULT_RECIPE,
        Recipe,
        load_recipe,
    )
    from bias_bench.recipes import recipe_names

    spec = benchmarks().get(base.get("benchmark", DEFAULT_BENCHMARK))

    def layers(recipe: Recipe) -> list[dict[str, Any]]:
        trains = spec is not None and "training" in recipe.settings
        fitting: dict[str, Any] = {"training": spec.training} if spec and trains else {}
        if spec and spec.robustness:
            fitting["robustness"] = spec.robustness
        return [recipe.settings, fitting, {"recipe": recipe.name}]

    if not recipes and "recipe" not in base and "training" not in base:
        recipes = list(spec.recipes) if spec else [DEFAULT_RECIPE]
    if recipes:
        rest = {key: value for key, value in base.items() if key != "training"}
        return [[rest, *layers(load_recipe(name))] for name in recipes]
    own = base.get("recipe", DEFAULT_RECIPE)
    resolved = "training" in base and own not in recipe_names()
    return [[*layers(Recipe(own, {}) if resolved else load_recipe(own)), base]]
