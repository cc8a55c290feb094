"""SIGTERM as a question asked after each step, so that a checkpoint is saved first."""

from __future__ import annotations

import signal
import threading
from typing import Any


class Termination:
    """Inside the block, SIGTERM sets `asked` and does no more."""

    def __init__(self) -> None:
        self.asked = False
        self._previous: Any = None

    def __enter__(self) -> Termination:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _ask(self, *_: object) -> None:
        self.asked = True
