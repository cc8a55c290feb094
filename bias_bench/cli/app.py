"""The application: names and help of all commands."""

from __future__ import annotations

import typer

from bias_bench import __version__
from bias_bench.cli import compare, data, doctor, report, reproduce, run, score, stages
from bias_bench.system.console import result

app = typer.Typer(
    name="biasbench",
    help="Benchmark multilingual dense retrieval in one language, across languages and from "
    "multilingual pools, and measure language bias.",
    epilog="Errors are one line; add --debug to any command for the traceback.\n\n"
    "Examples:\n\n"
    "biasbench run\n\n"
    "biasbench compare runs/mini-mono-0 runs/mini-hybrid-0 --significance\n\n"
    "biasbench --install-completion",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=True,
)
app.command("run", epilog=run.EXAMPLES)(run.run)
app.command("compare", epilog=compare.EXAMPLES)(compare.compare_command)
app.command("score", epilog=score.EXAMPLES)(score.score_command)
for _name, _command in stages.COMMANDS.items():
    app.command(_name, epilog=_command.examples)(stages.stage_command(_name))
app.command("report", epilog=report.EXAMPLES)(report.report)
app.command("reproduce", epilog=reproduce.EXAMPLES)(reproduce.reproduce)
app.add_typer(data.app, name="data")
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        result(f"biasbench {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass
