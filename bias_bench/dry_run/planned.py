"""What a dry run found, as data: what happens to each stage, and what all of it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

SCHEMA = 1
Action = Literal["compute", "keep", "refuse"]


class Step(NamedTuple):
    """What happens to a stage, and why.

    `texts` need a vector, of which `cached` are there. `seconds`, and `files` and `vectors` in
    bytes, are None where nothing is known of them.
    """

    stage: str
    action: Action
    reason: str
    texts: int
    cached: int
    seconds: float | None
    files: int | None
    vectors: int | None


class SystemPlan(NamedTuple):
    """What one system of a run would take; `steps` of training are left to do."""

    run: str
    folder: Path
    system: str
    steps: int
    stages: tuple[Step, ...]
    notes: tuple[str, ...]


class Free(NamedTuple):
    """Bytes that are free where run folders and the cache lie, and whether that is one disk."""

    runs: int
    cache: int
    one_disk: bool


class Plan(NamedTuple):
    """All systems that a command asks for; `earlier` names the runs that estimates come from."""

    systems: tuple[SystemPlan, ...]
    free: Free
    earlier: tuple[str, ...]


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data, with totals."""
    return {
        "schema": SCHEMA,
        "systems": [
            {
                **system._asdict(),
                "folder": str(system.folder),
                "stages": [step._asdict() for step in system.stages],
            }
            for system in plan.systems
        ],
        "total": totals(plan),
        "free": plan.free._asdict(),
        "earlier_runs": list(plan.earlier),
    }


def totals(plan: Plan) -> dict[str, Any]:
    """Sums over all stages to compute; `unknown` names those that lack a figure, per sum."""
    steps = [(system.run, step) for system in plan.systems for step in system.stages
             if step.action == "compute"]  # fmt: skip
    found: dict[str, Any] = {"steps": sum(system.steps for system in plan.systems)}
    found["texts"] = sum(step.texts for _, step in steps)
    found["cached"] = sum(step.cached for _, step in steps)
    unknown: dict[str, list[str]] = {}
    for what in ("seconds", "files", "vectors"):
        values = [(f"{run}: {step.stage}", getattr(step, what)) for run, step in steps]
        found[what] = sum(value for _, value in values if value is not None)
        unknown[what] = [name for name, value in values if value is None]
    return {**found, "unknown": unknown}
