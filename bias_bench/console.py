"""The console layer: results go to stdout, everything else to stderr."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from time import perf_counter
from typing import Literal, Protocol

Verbosity = Literal["quiet", "normal", "verbose"]
_LINE_EVERY = 30.0  # seconds between lines of progress where there is no terminal
# control characters but for tab and line feed, and those that turn the direction of text
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_verbosity: Verbosity = "normal"
_follows = False


class Advance(Protocol):
    """Call with the number of units just finished."""

    def __call__(self, amount: float, /) -> None: ...


Show = Callable[[float, float], None]  # hears of the units done and of the seconds they took


def set_verbosity(verbosity: Verbosity) -> None:
    """What stderr shows from now on: errors alone, progress and warnings, or details as well."""
    global _verbosity  # noqa: PLW0603 - a process has one terminal
    _verbosity = verbosity


def let_first_speak(rank: int) -> None:
    """From now on, of several processes that share work, all but the one of rank 0 are silent."""
    global _follows  # noqa: PLW0603 - a process has one terminal
    _follows = rank > 0


def say(message: str) -> None:
    """A line of progress on stderr, unless quiet; of several processes only the first speaks.

    Where nobody listens any more, work goes on.
    """
    if _silent():
        return
    with suppress(OSError, ValueError):
        sys.stderr.write(harmless(message) + "\n")
        sys.stderr.flush()


def harmless(text: str) -> str:
    """A text for a terminal: what a file holds may come up in it, but must not command it."""
    return _COMMANDS.sub("\N{REPLACEMENT CHARACTER}", text)


def detail(message: str) -> None:
    """A line on stderr that --verbose alone shows."""
    if _verbosity == "verbose":
        say(message)


def warn(message: str) -> None:
    say(f"warning: {message}")


def result(text: str) -> None:
    """A result, on stdout; of several processes only the first has one."""
    if _follows:
        return
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _silent() -> bool:
    return _verbosity == "quiet" or _follows or sys.stderr is None


@contextmanager
def progress(description: str, total: float, unit: str, after: float = 0.0) -> Iterator[Advance]:
    """Rate and time left: a bar on a terminal, elsewhere a line twice a minute; a line at the end.

    Work that is done within `after` seconds shows nothing.
    """
    if _silent():
        yield lambda _amount: None
        return
    start, done = perf_counter(), 0.0
    show: Show | None = None
    with ExitStack() as shown:

        def advance(amount: float, /) -> None:
            nonlocal done, show
            done += amount
            seconds = perf_counter() - start
            if show is None and seconds >= after:
                way = _bar if sys.stderr.isatty() else _lines
                show = shown.enter_context(way(description, total, unit))
            if show is not None:
                show(done, seconds)

        advance(0)
        yield advance
    seconds = perf_counter() - start
    if seconds >= after:
        say(f"{description}: {done:,.0f} {unit} in {seconds:.1f} s")


@contextmanager
def _bar(description: str, total: float, unit: str) -> Iterator[Show]:
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
        yield lambda done, seconds: bar.update(
            task, completed=done, rate=f"{_rate(done, seconds)} {unit}/s"
        )


@contextmanager
def _lines(description: str, total: float, unit: str) -> Iterator[Show]:
    last = perf_counter()

    def show(done: float, seconds: float) -> None:
        nonlocal last
        now = perf_counter()
        if now - last < _LINE_EVERY or not 0 < done < total:
            return
        last = now
        line = f"{description}: {done:,.0f} of {total:,.0f} {unit} ({done / total:.0%})"
        if done >= 1:  # a part of the first one, which may warm up, says nothing of the others
            left = duration(seconds / done * (total - done))
            line += f", {_rate(done, seconds)} {unit}/s, {left} left"
        say(line)

    yield show


def _rate(done: float, seconds: float) -> str:
    rate = done / max(seconds, 1e-9)
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def duration(seconds: float) -> str:
    """Seconds for people: ``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
