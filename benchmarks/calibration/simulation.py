"""All scenarios, one after the other or in several processes, and the record of what was done."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks.calibration.coverage import interval_coverage
from benchmarks.calibration.errors import Size, null_errors, shifted_power
from benchmarks.calibration.estimates import LEVEL, Row
from benchmarks.calibration.worlds import UNITS, WORLDS, Source, structure
from benchmarks.harness import progress
from bias_bench.significance.systems import read_finished
from bias_bench.system.files import sha256_file
from bias_bench.system.provenance import versions

LIBRARIES = ("biasbench", "python", "numpy", "scipy")

Part = Callable[[Source], list[Row]]


class Calibration(NamedTuple):
    """What to simulate: `power` has a size of its own, as it has many more scenarios."""

    runs: tuple[Path, ...]
    metric: str
    errors: Size
    power: Size


def simulate(source: Source, chosen: Calibration, jobs: int = 1) -> list[Row]:
    """All rates, in an order that does not depend on `jobs`, the number of processes."""
    parts = _parts(chosen, source.values.shape[1])
    if jobs == 1:
        done = [_run(part, source) for part in parts]
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as processes:
            done = list(processes.map(_run, parts, [source] * len(parts)))
    return [row for rows in done for row in rows]


def _parts(chosen: Calibration, settings: int) -> list[Part]:
    """Independent pieces of work: all settings shifted, a tenth of them, one."""
    some = max(1, settings // 10)
    errors = [
        partial(null_errors, size=chosen.errors, world=world, unit=unit)
        for world in WORLDS
        for unit in UNITS
    ]
    power = [
        partial(shifted_power, size=chosen.power, unit="article", clusters=["article"], shifted=k)
        for k in sorted({settings, some, 1}, reverse=True)
    ]
    cost = partial(shifted_power, size=chosen.power, unit="topic", clusters=UNITS, shifted=some)
    coverage = [partial(interval_coverage, size=chosen.errors, unit=unit) for unit in UNITS]
    return [*errors, *power, cost, *coverage]


def _run(part: Any, source: Source) -> list[Row]:
    from threadpoolctl import threadpool_limits

    start = perf_counter()
    with threadpool_limits(1):
        found = part(source)
    about = ", ".join(f"{key} {value}" for key, value in part.keywords.items() if key != "size")
    progress(f"{part.func.__name__}: {about}: {perf_counter() - start:.0f} s")
    return found


def provenance(source: Source, chosen: Calibration) -> dict[str, Any]:
    """From what, how much and with what; nothing that differs when it is repeated."""
    found = versions()
    return {
        "schema": 1,
        "runs": [run_identity(path) for path in chosen.runs],
        "metric": chosen.metric,
        "level": LEVEL,
        "errors and coverage": chosen.errors._asdict(),
        "power": chosen.power._asdict(),
        "structure": structure(source),
        "versions": {name: found[name] for name in LIBRARIES},
    }


def run_identity(folder: Path) -> dict[str, str]:
    """What a run folder is, and of what scores."""
    run = read_finished(folder)
    return {
        "name": run.name,
        "system": run.record.system,
        "benchmark": run.record.benchmark,
        "collection": run.record.collection,
        "scores sha256": sha256_file(folder / "scores.parquet"),
    }
