"""The streams and signals of a command: work is not lost because nobody reads what it prints."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_ENDED = ("SIGTERM", "SIGHUP")  # by the system or its administrator, and by a terminal that closes


class LastingStream:
    """A text stream that drops what cannot be written; `error` says why, once that has happened.

    Signs that the stream's encoding lacks are written as escapes.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.is_open = stream is not None
        self.error: Exception | None = None
        self._stream: Any = stream or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - as long as the process

    def write(self, text: str) -> int:
        """Write what can be written; the number of characters of all of it."""
        try:
            self._stream.write(text)
        except UnicodeEncodeError as error:
            known = text.encode(error.encoding, "backslashreplace").decode(error.encoding)
            self.write(known)
        except (OSError, ValueError) as error:
            self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Hand over what was written."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._lose(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self, error: Exception) -> None:
        """Send all that follows nowhere, and what Python flushes at its end too."""
        self.error = self.error or error
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError):
            return  # not a file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


@contextmanager
def lasting_streams() -> Iterator[LastingStream]:
    """Standard output and error that fail nobody inside the block; yields the former."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # else a file of ours would get this number, and what is printed to it
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    before: Any = sys.stdout, sys.stderr
    output = LastingStream(sys.stdout)
    sys.stdout, sys.stderr = output, LastingStream(sys.stderr)
    try:
        yield output
    finally:
        sys.stdout, sys.stderr = before


@contextmanager
def ended_like_ctrl_c() -> Iterator[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt inside the block, as Ctrl-C does.

    Not where they are ignored (`nohup`) or somebody else's, nor outside of the main thread.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in _ENDED:
            number = getattr(signal, name, None)  # not every system has all
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, _: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one would disturb the end
    raise KeyboardInterrupt
