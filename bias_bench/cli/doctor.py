"""`biasbench doctor`."""

from __future__ import annotations

import typer

from bias_bench.cli.options import OutputFormat

EXAMPLES = """Examples:

biasbench doctor

biasbench doctor --format json"""


def doctor(output_format: OutputFormat = "table") -> None:
    """Check what a run needs: a line each, with the fix where something is wrong."""
    from bias_bench.cli.health import checks
    from bias_bench.cli.output import print_json
    from bias_bench.system.console import result

    done = []
    for check in checks():
        done.append(check)
        fix = f" -> {check.fix}" if check.state != "ok" else ""
        if output_format == "table":
            result(f"{check.state:<5} {check.name}: {check.finding}{fix}")
    failed = any(check.state == "fail" for check in done)
    if output_format == "json":
        print_json({"ok": not failed, "checks": [check._asdict() for check in done]})
    if failed:
        raise typer.Exit(1)
