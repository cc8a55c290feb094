"""`biasbench doctor`."""

from __future__ import annotations

import typer

EXAMPLES = """Example:

biasbench doctor"""


def doctor() -> None:
    """Check what a run needs: a line each, with the mend where something is wrong."""
    from bias_bench.console import result
    from bias_bench.health import checks

    worst = "ok"
    for check in checks():
        mend = f" -> {check.mend}" if check.state != "ok" else ""
        result(f"{check.state:<5} {check.name}: {check.finding}{mend}")
        if check.state == "fail":
            worst = "fail"
    if worst == "fail":
        raise typer.Exit(1)
