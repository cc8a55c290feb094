"""How commands print results: JSON with a schema number, and tables as wide as the terminal."""

from __future__ import annotations

import sys
from typing import Any

from bias_bench.report.tables import Table, render
from bias_bench.system.console import harmless, result
from bias_bench.system.files import json_text


def print_json(content: dict[str, Any], schema: int = 1) -> None:
    """An object on stdout; its own `schema`, where it has one, is what counts."""
    every_sign = stdout_encoding().lower().startswith("utf")
    result(json_text({"schema": schema, **content}, indent=1, ascii_alone=not every_sign))


def print_table(table: Table) -> None:
    """A table on stdout, as wide as the terminal, or as it is where there is none."""
    result(harmless(render(table, table_width(), stdout_encoding())))


def table_width() -> int | None:
    """Characters for a table; None where nothing bounds them."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def stdout_encoding() -> str:
    """That of standard output."""
    return getattr(sys.stdout, "encoding", None) or "utf-8"
