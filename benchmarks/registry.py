"""The benchmarks by name. A module has `compare(options) -> list[Comparison]`."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context

from benchmarks.harness import Comparison, Options

BENCHMARKS = {
    "encode": "benchmarks.encode",
    "train": "benchmarks.train",
    "terms": "benchmarks.terms",
    "search": "benchmarks.search",
    "index": "benchmarks.index",
    "score": "benchmarks.score",
    "mining": "benchmarks.mining",
    "significance": "benchmarks.significance",
    "help": "benchmarks.startup",
}


def run(name: str, options: Options) -> list[Comparison]:
    """Run one benchmark in a process of its own, so that none inherits another's threads."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_compare, name, options).result()


def _compare(name: str, options: Options) -> list[Comparison]:
    return import_module(BENCHMARKS[name]).compare(options)
