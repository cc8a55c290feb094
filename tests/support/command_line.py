"""One command line, called in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Outcome(NamedTuple):
    """What one command line did."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]
