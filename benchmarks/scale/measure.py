"""Store, encode and search made-up corpora through the package, one size in a process of its own.

Times are those of the process (all its threads), which other work on the machine disturbs less than
the clock. Everything is loaded and tried on a small corpus before it is measured.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, NamedTuple

LANGUAGE = "sw"
WORDS = (6, 12)  # of a passage: short, so that encoding does not dominate
_WARM = 2_000  # passages


class Size(NamedTuple):
    """How much to measure, and in which memory."""

    passages: int
    queries: int
    memory: str


def measure(size: Size, folder: Path) -> dict[str, Any]:
    """Seconds, and peak memory in bytes, of one size; in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale.measure", json.dumps(size), str(folder)]
    variables = {"OMP_NUM_THREADS": "1", "BIASBENCH_CACHE": str(folder / "cache")}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **variables}
    )
    return json.loads(done.stdout.splitlines()[-1])


def _measure(size: Size, folder: Path) -> dict[str, Any]:
    from bias_bench.system.provenance import peak_memory

    shutil.rmtree(folder, ignore_errors=True)
    _work(Size(_WARM, 50, size.memory), folder / "warm")
    loaded = peak_memory()
    found = _work(size, folder / "measured")
    shutil.rmtree(folder)
    return {**size._asdict(), **found, "loaded_bytes": loaded, "peak_bytes": peak_memory()}


def _work(size: Size, folder: Path) -> dict[str, Any]:
    from bias_bench.config.experiment import make_experiment
    from bias_bench.runs.folder import RunOptions
    from bias_bench.runs.pipeline import run
    from bias_bench.runs.prepare import Given, open_benchmark
    from bias_bench.system.memory import parse_size
    from tests.support.generated_miracl import Plan, generate

    plan = Plan(size.passages, [LANGUAGE], topics=size.queries, words=WORDS)
    generate(plan, folder / "data" / "miracl")
    found: dict[str, Any] = {}
    with _timed(found, "store"):
        benchmark = open_benchmark("miracl", folder / "data")
    experiment = make_experiment(
        {
            "benchmark": "miracl",
            "backbone": "scratch:tiny",
            "data_dir": str(folder / "data"),
            "encoding": {"batch_tokens": 8_192},
        }
    )
    options = RunOptions(folder / "runs", None, "cpu", memory=parse_size(size.memory))
    for stage in ("encode", "search"):
        with _timed(found, stage):
            run(experiment, options._replace(until=stage), Given(benchmark))
    return found


@contextmanager
def _timed(found: dict[str, Any], name: str) -> Iterator[None]:
    own, clock = process_time(), perf_counter()
    yield
    found[f"{name}_seconds"] = round(process_time() - own, 3)
    found[f"{name}_clock"] = round(perf_counter() - clock, 3)


if __name__ == "__main__":
    print(json.dumps(_measure(Size(*json.loads(sys.argv[1])), Path(sys.argv[2]))))
