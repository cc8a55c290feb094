"""Start-up: `biasbench --help` against a Python that does nothing."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.harness import Comparison, Options, interleave


def compare(options: Options) -> list[Comparison]:
    """The difference in seconds; the first start of each, with cold files, is not timed."""
    ours = [sys.executable, "-m", "bias_bench", "--help"]
    peer = [sys.executable, "-c", ""]
    _start(ours)
    _start(peer)
    times = interleave(lambda: _start(ours), lambda: _start(peer), options.pairs_or(10))
    return [
        Comparison(
            "help", times, "≤ 0.25 s more", "biasbench --help; peer: python -c ''", difference=True
        )
    ]


def _start(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
