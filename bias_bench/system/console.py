"""What the library says: lines of progress through `logging`, warnings through `warnings`.

The logger is ``bias_bench``: INFO for progress, DEBUG for details. A console on stderr shows them,
with progress bars on a terminal, where it was asked for: by every command (`command_console`), in
a script or notebook by `show_progress`. Results go to stdout.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from time import perf_counter
from types import FrameType
from typing import Literal, Protocol

from bias_bench.errors import BiasBenchWarning

Verbosity = Literal["quiet", "normal", "verbose"]
_LEVELS = {"quiet": logging.CRITICAL, "normal": logging.INFO, "verbose": logging.DEBUG}
_LINE_EVERY = 30.0  # seconds between lines of progress where there is no terminal
# control characters but for tab and line feed, and those that turn the direction of text
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_PACKAGE = "bias_bench"
_LOGGER = logging.getLogger(_PACKAGE)
_command = False
_follows = False


class _Stderr(logging.Handler):
    """Lines on what stderr is at the time; where nobody listens any more, work goes on."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message, as it is."""
        if sys.stderr is not None:
            with suppress(OSError, ValueError):
                sys.stderr.write(record.getMessage() + "\n")
                sys.stderr.flush()


_CONSOLE = _Stderr()


class Advance(Protocol):
    """Call with the number of units just finished."""

    def __call__(self, amount: float, /) -> None: ...


Show = Callable[[float, float], None]  # hears of the units done and of the seconds they took


@contextmanager
def command_console() -> Iterator[None]:
    """Inside the block stderr is that of a command: progress, and warnings as lines of it."""
    global _command  # noqa: PLW0603 - a process has one terminal
    before = _command, _LOGGER.level, _LOGGER.propagate, list(_LOGGER.handlers)
    _command = True
    set_verbosity("normal")
    let_first_speak(0)
    try:
        yield
    finally:
        _command, level, _LOGGER.propagate, _LOGGER.handlers[:] = before
        _LOGGER.setLevel(level)
        let_first_speak(0)


def set_verbosity(verbosity: Verbosity) -> None:
    """Turn the console on, and say what it shows: nothing, progress, or details as well."""
    _LOGGER.addHandler(_CONSOLE)
    _LOGGER.propagate = False
    _LOGGER.setLevel(_LEVELS[verbosity])


def show_progress(shown: bool = True) -> None:
    """Show on stderr, from now on, the lines and progress bars that `biasbench` shows.

    With False they go to the logger ``bias_bench`` alone, as at the start. Warnings go through
    `warnings` in either case, as `BiasBenchWarning`.
    """
    if shown:
        set_verbosity("normal")
    else:
        _LOGGER.removeHandler(_CONSOLE)
        _LOGGER.propagate = True
        _LOGGER.setLevel(logging.NOTSET)


def let_first_speak(rank: int) -> None:
    """From now on, of several processes that share work, all but the one of rank 0 are silent."""
    global _follows  # noqa: PLW0603 - a process has one terminal
    _follows = rank > 0


def say(message: str) -> None:
    """A line of progress; of several processes only the first speaks."""
    _log(logging.INFO, message)


def detail(message: str) -> None:
    """A line that of commands only those with --verbose show."""
    _log(logging.DEBUG, message)


def warn(message: str) -> None:
    """A `BiasBenchWarning` at the line that called this package; of a command, a line on stderr."""
    if _command:
        _log(logging.WARNING, f"warning: {message}")
    elif not _follows:
        warnings.warn(harmless(message), BiasBenchWarning, stacklevel=_caller_level())


def harmless(text: str) -> str:
    """A text for a terminal: what a file holds may come up in it, but must not command it."""
    return _COMMANDS.sub("\N{REPLACEMENT CHARACTER}", text)


def result(text: str) -> None:
    """A result, on stdout; of several processes only the first has one."""
    if _follows:
        return
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _log(level: int, message: str) -> None:
    if not _follows:
        _LOGGER.log(level, "%s", harmless(message))


def _caller_level() -> int:
    """The stack level, as `warn` counts, of who called into this package."""
    frame: FrameType | None = sys._getframe(1)
    level, outside = 1, 2
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
            outside = level + 1
        frame, level = frame.f_back, level + 1
    return outside


@contextmanager
def progress(description: str, total: float, unit: str, after: float = 0.0) -> Iterator[Advance]:
    """Rate and time left: a bar on a terminal, elsewhere a line twice a minute; a line at the end.

    Work that is done within `after` seconds shows nothing.
    """
    if _follows or not _LOGGER.isEnabledFor(logging.INFO):
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
                on_terminal = _CONSOLE in _LOGGER.handlers and sys.stderr and sys.stderr.isatty()
                way = _bar if on_terminal else _lines
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
