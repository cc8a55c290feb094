"""Benchmarks that other installed packages declare by an entry point (``docs/benchmarks.md``)."""

from __future__ import annotations

from collections.abc import Container
from importlib.metadata import EntryPoint, entry_points

from bias_bench.console import warn
from bias_bench.datasets.benchmark import BenchmarkSpec

GROUP = "biasbench.benchmarks"


def installed_benchmarks(taken: Container[str]) -> dict[str, BenchmarkSpec]:
    """Every benchmark of the entry points of `GROUP`, by name.

    One that cannot be used, or whose name is among `taken` or another's, is left out with a
    warning: a broken package must not keep the others from running.
    """
    found: dict[str, BenchmarkSpec] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        problem = None
        if point.name in taken or point.name in found:
            problem = "the name is taken"
        else:
            try:
                found[point.name] = _declared(point)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
        if problem:
            line = " ".join(problem.split())
            warn(f"benchmark '{point.name}' of {point.value} is left out: {line}")
    return found


def _declared(point: EntryPoint) -> BenchmarkSpec:
    spec = point.load()()
    if not isinstance(spec, BenchmarkSpec):
        raise TypeError(f"returned {type(spec).__name__}, expected a BenchmarkSpec")
    return spec
