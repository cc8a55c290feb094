"""A budget of memory: parsed, shown, and compared with what work takes."""

from __future__ import annotations

import re

from bias_bench.errors import UsageError
from bias_bench.system.provenance import resident_memory

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_size(text: str) -> int:
    """Bytes of ``512M``, ``4G``, ``1.5GiB``, …; K, M, G and T are powers of 1024."""
    match = _SIZE.fullmatch(text.strip())
    size = int(float(match[1]) * 1024 ** _POWERS[match[2].upper()]) if match else 0
    if not size:
        raise UsageError(f"'{text}' is not a size of memory; give for example 512M or 4G")
    return size


def size_text(size: int) -> str:
    """A size that `parse_size` reads, rounded up to whole megabytes."""
    return f"{-(-size // 1024**2)}M"


def require_memory(budget: int | None, more: int, work: str) -> None:
    """UsageError where `more` bytes beside what is resident now exceed the budget."""
    least = resident_memory() + more
    if budget is not None and least > budget:
        raise UsageError(
            f"--memory {size_text(budget)} is too small to {work}; the least that works here is "
            f"{size_text(least)}"
        )
