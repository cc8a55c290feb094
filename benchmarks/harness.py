"""What all benchmarks share: options, interleaved timing, and the lines that are printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

Work = Callable[[], object]

# Libraries with threads of their own; each reads its variable when it is first imported.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
)  # fmt: skip


class Options(NamedTuple):
    """How to measure. `texts` 0 means all; `pairs` None means each benchmark's own default."""

    quick: bool = False
    data_dir: Path | None = None
    pairs: int | None = None
    texts: int | None = None
    threads: int = 1

    def pairs_or(self, default: int) -> int:
        return self.pairs or (2 if self.quick else default)


class Times(NamedTuple):
    """Seconds of each pair, in the order measured."""

    ours: list[float]
    peer: list[float]

    def scaled_peer(self, factor: float) -> Times:
        """For a peer that did 1/factor of the work, whose time grows in proportion."""
        return Times(self.ours, [seconds * factor for seconds in self.peer])


class Comparison(NamedTuple):
    """One printed line. `goal` is what the project aims at; nothing here checks it."""

    name: str
    times: Times
    goal: str
    note: str
    difference: bool = False  # compare by ours - peer in seconds, not by peer / ours


def interleave(ours: Work, peer: Work, pairs: int) -> Times:
    """Time ours, peer, ours, peer, …, so that a slow spell of the machine meets both."""
    times = Times([], [])
    for pair in range(pairs):
        for work, seconds in ((ours, times.ours), (peer, times.peer)):
            start = perf_counter()
            work()
            seconds.append(perf_counter() - start)
        progress(f"pair {pair + 1} of {pairs}: {times.ours[-1]:.2f} s, {times.peer[-1]:.2f} s")
    return times


def progress(message: str) -> None:
    print(f"  {message}", file=sys.stderr, flush=True)


def header() -> str:
    """The titles of the columns that `line` prints."""
    return _columns("benchmark", "ours", "peer", "peer/ours (min-max)", "goal", "note")


def line(comparison: Comparison) -> str:
    """Medians in seconds; the ratio is the median of the pairs' ratios, with their extremes."""
    ours, peer = comparison.times
    if comparison.difference:
        values, unit, digits = [a - b for a, b in zip(ours, peer, strict=True)], " s more", 3
    else:
        values, unit, digits = [b / a for a, b in zip(ours, peer, strict=True)], "×", 2
    low, middle, high = (
        f"{value:.{digits}f}" for value in (min(values), median(values), max(values))
    )
    return _columns(
        comparison.name,
        f"{median(ours):.3g} s",
        f"{median(peer):.3g} s",
        f"{middle}{unit} ({low}-{high})",
        comparison.goal,
        comparison.note,
    )


def _columns(name: str, ours: str, peer: str, ratio: str, goal: str, note: str) -> str:
    return f"{name:<20} {ours:>8} {peer:>8}  {ratio:<28} {goal:<14} {note}"


def set_threads(threads: int) -> None:
    """Ask every library for the same number of threads; call before importing them."""
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def machine_line(threads: int) -> str:
    """Processor, cores, the library versions that decide speed, and what else the machine does."""
    from bias_bench.system.provenance import host, versions

    found, libraries = host(), versions()
    features = " ".join(found["features"])
    return (
        f"machine: {found['processor']} ({features}), {found['cores']} cores, {threads} threads "
        f"on both sides, load {os.getloadavg()[0]:.1f}; python {libraries['python']}, "
        f"torch {libraries['torch']}, numpy {libraries['numpy']}"
    )
