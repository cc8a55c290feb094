"""`python -m benchmarks [NAME...] [--quick]`: one line per comparison, and never a verdict."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks import harness
from benchmarks.harness import Options
from benchmarks.registry import BENCHMARKS, run


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the named benchmarks and print their lines."""
    names, options = _parse(arguments)
    harness.set_threads(options.threads)
    print(harness.machine_line(options.threads), flush=True)
    print(harness.header(), flush=True)
    for name in names:
        harness.progress(f"{name} …")
        for comparison in run(name, options):
            print(harness.line(comparison), flush=True)


def _parse(arguments: Sequence[str] | None) -> tuple[list[str], Options]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it work at all?")
    parser.add_argument("--data-dir", type=Path, help="folder that holds the real xquad-r")
    parser.add_argument("--pairs", type=int, help="pairs to measure (default: by benchmark)")
    parser.add_argument("--texts", type=int, help="texts to encode, 0 for all (default 2,000)")
    parser.add_argument("--threads", type=int, default=_cores(), help="threads for both sides")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown benchmark '{unknown[0]}'; choose from {', '.join(BENCHMARKS)}")
    options = Options(given.quick, given.data_dir, given.pairs, given.texts, given.threads)
    return given.names or list(BENCHMARKS), options


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if __name__ == "__main__":
    main()
