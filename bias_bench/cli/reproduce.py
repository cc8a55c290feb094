"""`biasbench reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bias_bench.cli.complete import complete_reproduction
from bias_bench.cli.options import (
    DataDir,
    Device,
    DryRun,
    Out,
    OutputFormat,
    Reports,
    Verbose,
    listen,
)

if TYPE_CHECKING:
    from bias_bench.config.experiment import Experiment
    from bias_bench.runs.folder import RunOptions
    from bias_bench.runs.reproduction import Checked, Reproductions

EXAMPLES = """Examples:

biasbench reproduce

biasbench reproduce mini-zero-shot

biasbench reproduce xquad-r-zero-shot xquad-r-bm25 --data-dir data

biasbench reproduce --all --data-dir data --dry-run"""


def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Figures to measure again. Without any: list what there is, and run nothing.",
            show_default=False,
            autocompletion=complete_reproduction,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All of them; those that train take hours.")
    ] = False,
    data_dir: DataDir = None,
    out: Out = Path("runs"),
    reports: Reports = Path("reports"),
    device: Device = "auto",
    dry_run: DryRun = False,
    verbose: Verbose = None,
    output_format: OutputFormat = "table",
) -> None:
    """Measure figures of the documents again, and say which are off; without names, list them.

    Each is an ordinary run: it goes on where it was stopped, and leaves a folder, reproduce-NAME,
    and a page.
    The exit code is 1 where a metric is further from the documents than its tolerance.
    """
    from bias_bench.errors import UsageError
    from bias_bench.runs.folder import RunOptions
    from bias_bench.runs.reproduction import PREFIX, reproductions

    listen(verbose)
    known = reproductions()
    if everything and names:
        raise UsageError("give names or --all, not both")
    wanted = list(known.rows) if everything else list(dict.fromkeys(names or []))
    experiments = [_experiment(known, name, data_dir) for name in wanted]
    options = RunOptions(out, reports, device)
    if not wanted:
        if dry_run:
            raise UsageError("--dry-run: name the figures, or give --all")
        _list(known, output_format)
    elif dry_run:
        from bias_bench.cli.run import print_plan
        from bias_bench.runs.pipeline import plan_run

        plans = [
            plan_run(experiment, options._replace(name=PREFIX + name))
            for name, experiment in zip(wanted, experiments, strict=True)
        ]
        print_plan(plans, output_format)
    else:
        _check(known, dict(zip(wanted, experiments, strict=True)), options, output_format)


def _experiment(known: Reproductions, name: str, data_dir: Path | None) -> Experiment:
    from bias_bench.runs.experiments import make_experiments

    row = known.row(name)
    (experiment,) = make_experiments(
        row.benchmark, [row.recipe], data_dir=data_dir, settings=row.settings
    )
    return experiment


def _check(
    known: Reproductions,
    experiments: dict[str, Experiment],
    options: RunOptions,
    output_format: str,
) -> None:
    """Run and compare one after the other; each is printed as soon as it is known."""
    from bias_bench.cli.output import print_json
    from bias_bench.errors import BiasBenchError
    from bias_bench.evaluation.metrics_document import Metrics
    from bias_bench.report.index_page import write_index
    from bias_bench.runs.pipeline import run
    from bias_bench.runs.reproduction import PREFIX, check

    found: list[dict[str, Any]] = []
    off = []
    for name, experiment in experiments.items():
        row = known.row(name)
        folder = run(experiment, options._replace(name=PREFIX + name))
        checked = check(row, Metrics.load(folder), known.tolerances[row.tolerance])
        wrong = [metric.metric for metric in checked if not metric.ok]
        if wrong:
            off.append(f"{name} ({', '.join(wrong)})")
        found.append(
            {
                "name": name,
                "ok": not wrong,
                "folder": str(folder),
                "metrics": [metric._asdict() for metric in checked],
            }
        )
        if output_format == "table":
            _print_checked(known, name, checked)
    if options.reports:
        write_index(options.reports)
    if output_format == "json":
        print_json({"reproductions": found})
    if off:
        raise BiasBenchError(f"{len(off)} of {len(found)} off: {'; '.join(off)}")


def _print_checked(known: Reproductions, name: str, checked: list[Checked]) -> None:
    from bias_bench.cli.output import print_table
    from bias_bench.report.tables import Column, Table
    from bias_bench.system.console import result

    row = known.row(name)
    tolerance = known.tolerances[row.tolerance]
    good = f"{sum(metric.ok for metric in checked)} of {len(checked)} metrics ok"
    columns = [Column("metric", "name"), Column("", "name")]
    columns += map(Column, ("expected", "measured", "difference", "tolerance"))
    table = Table(columns, f"{name}: {good}, beside {_place(known, name)}")
    for metric in checked:
        digits = 1 if metric.expected >= 10 else 4  # ranks, or shares
        numbers = (metric.expected, metric.measured)
        table.add_row(
            metric.metric,
            "ok" if metric.ok else "off",
            *(f"{number:.{digits}f}" for number in numbers),
            f"{metric.difference:+.{digits}f}",
            f"± {metric.tolerance:g}",
        )
    print_table(table)
    result(f"measured there on {known.machines[row.machine]}; tolerance: {tolerance.why}\n")


def _place(known: Reproductions, name: str) -> str:
    figures = known.row(name).figures
    return f"{figures.page}, {figures.row.replace('`', '')}"


def _list(known: Reproductions, output_format: str) -> None:
    from bias_bench.cli.output import print_json, print_table
    from bias_bench.report.tables import Column, Table

    if output_format == "json":
        rows = [
            {
                "name": name,
                "command": row.command,
                **row.model_dump(include={"figures", "minutes", "expected"}),
                "machine": known.machines[row.machine],
                "tolerance": known.tolerances[row.tolerance].model_dump(),
            }
            for name, row in known.rows.items()
        ]
        print_json({"rows": rows})
        return
    columns = [Column("name", "name"), Column("about"), Column("figures in", "text")]
    table = Table([*columns, Column("command", "text")])
    for name, row in known.rows.items():
        table.add_row(name, f"{row.minutes:g} min", _place(known, name), row.command)
    print_table(table)
