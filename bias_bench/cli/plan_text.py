"""What `--dry-run` prints: each system's stages, then what all of it takes."""

from __future__ import annotations

from typing import Literal

from bias_bench.cli.output import print_json, print_table
from bias_bench.console import duration, result
from bias_bench.dry_run.planned import Plan, Step, SystemPlan, plan_json, totals
from bias_bench.report.tables import Column, Table

_UNKNOWN = "unknown"


def print_plan(plan: Plan, output_format: Literal["table", "json"]) -> None:
    """The plan on stdout."""
    if output_format == "json":
        print_json(plan_json(plan))
        return
    for system in plan.systems:
        print_table(_table(system))
        for line in (*system.notes, ""):
            result(line)
    for line in _summary(plan):
        result(line)


def _table(system: SystemPlan) -> Table:
    columns = [Column("stage", "name"), Column("", "name"), Column("why", "text")]
    columns += map(Column, ("texts", "cached", "time"))
    table = Table(columns, f"{system.run}: {system.system}, in {system.folder}")
    for step in system.stages:
        computed = step.action == "compute"
        numbers = (f"{step.texts:,}", f"{step.cached:,}") if step.texts else ("", "")
        time = _time(step) if computed else ""
        why = f"{step.reason}; {system.steps:,} steps" if step.stage == "train" and computed else (
            step.reason
        )  # fmt: skip
        table.add_row(step.stage, step.action, why, *numbers, time)
    return table


def _time(step: Step) -> str:
    return _UNKNOWN if step.seconds is None else duration(step.seconds)


def _summary(plan: Plan) -> list[str]:
    """Texts, time and disk of everything together."""
    if all(step.action == "keep" for system in plan.systems for step in system.stages):
        return ["nothing to compute: everything is there"]
    total = totals(plan)
    unknown = total["unknown"]
    encode = total["texts"] - total["cached"]
    lines = [
        f"texts: {encode:,} to encode, {total['cached']:,} cached (some by a stage before)",
        f"training: {total['steps']:,} steps",
        f"time: {_sum(duration(total['seconds']), total['seconds'], unknown['seconds'])}",
    ]
    if plan.earlier and total["seconds"]:
        lines[-1] += f", as earlier runs here took ({', '.join(plan.earlier[:3])}"
        lines[-1] += ", …)" if len(plan.earlier) > 3 else ")"
    free = plan.free
    for what, label, there in (
        ("files", "run folders", free.runs),
        ("vectors", "cache", free.cache),
    ):
        need = _sum(_megabytes(total[what]), total[what], unknown[what])
        lines.append(f"disk, {label}: {need}; {_megabytes(there)} free")
    both = total["files"] + total["vectors"]
    short = both > free.runs if free.one_disk else (
        total["files"] > free.runs or total["vectors"] > free.cache
    )  # fmt: skip
    if short:
        lines.append("disk: NOT ENOUGH is free")
    return lines


def _sum(text: str, known: float, unknown: list[str]) -> str:
    """A sum of what is known, and how much of it is not."""
    if not unknown:
        return f"about {text}"
    if not known:
        return _UNKNOWN
    return f"at least {text} ({len(unknown)} stages unknown)"


def _megabytes(number: float) -> str:
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{number / 1e6:,.1f} MB"
