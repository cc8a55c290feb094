"""How commands print results: JSON with a schema number, and tables as wide as the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from bias_bench.console import result
from bias_bench.files import json_text

if TYPE_CHECKING:
    from rich.console import Console

_FILE_WIDTH = 160  # of a table that goes to a file


def print_json(content: dict[str, Any], schema: int = 1) -> None:
    """An object on stdout; its own `schema`, where it has one, is what counts."""
    result(json_text({"schema": schema, **content}, indent=1))


def table_width() -> int | None:
    """Characters for a table; None where the terminal decides."""
    return None if sys.stdout.isatty() else _FILE_WIDTH


def table_console() -> Console:
    """Where tables are printed."""
    from rich.console import Console

    return Console(width=table_width(), highlight=False)
