"""Errors a user can meet: one line that says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class BiasBenchError(Exception):
    """A failure with a message fit for the user; shown without a traceback. Exit code 1."""

    exit_code = 1


class UsageError(BiasBenchError):
    """The command or the configuration asks for something that does not exist. Exit code 2."""

    exit_code = 2


class DataError(BiasBenchError):
    """Data or weights are missing or damaged. Exit code 3."""

    exit_code = 3


class BiasBenchWarning(UserWarning):
    """Something that a reader must know before believing, or repeating, what was computed."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an "unknown X" message: the nearest known name, or all of them."""
    names = sorted(known)
    folded = {candidate.casefold(): candidate for candidate in reversed(names)}
    matches = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    if matches:
        return f"did you mean '{folded[matches[0]]}'?"
    return f"known: {', '.join(names)}" if names else "none are known"


def first_few(names: Sequence[str], most: int = 3) -> str:
    """Names in a message: the first `most`, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def first_line(error: Exception) -> str:
    """What another library's error says, in one line of at most 300 characters."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if len(text) <= 300 else f"{text[:300]}…"
