"""The console layer: results go to stdout, everything else to stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """Call with the number of units just finished."""

    def __call__(self, amount: float, /) -> None: ...


def say(message: str) -> None:
    """A line of progress, on stderr; of several processes only the first speaks."""
    if os.environ.get("RANK", "0") != "0":
        return
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def warn(message: str) -> None:
    say(f"warning: {message}")


def result(text: str) -> None:
    """A result, on stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextmanager
def progress(description: str, total: float, unit: str) -> Iterator[Advance]:
    """A bar with rate and time left on a terminal; elsewhere one line when the work is done."""
    start = time.perf_counter()
    done = 0.0
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        with bar:
            task = bar.add_task(description, total=total, rate="")

            def advance(amount: float, /) -> None:
                nonlocal done
                done += amount
                rate = done / max(time.perf_counter() - start, 1e-9)
                bar.update(task, advance=amount, rate=f"{rate:,.0f} {unit}/s")

            yield advance
    else:

        def advance(amount: float, /) -> None:
            nonlocal done
            done += amount

        yield advance
    seconds = time.perf_counter() - start
    say(f"{description}: {done:,.0f} {unit} in {seconds:.1f} s")
