"""What the documentation takes from the program itself: the page of commands."""

from __future__ import annotations

import re
from typing import Any

from mkdocs.structure.files import File, Files

_CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add ``commands.md``, written from the help of every command."""
    files.append(File.generated(config, "commands.md", content=commands_page()))
    return files


def commands_page() -> str:
    """The help of all commands as Markdown; the lines of examples stand as code."""
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from bias_bench.cli.app import app

    command = get_command(app)
    with command.make_context("biasbench", [], resilient_parsing=True) as context:
        text = get_docs_for_click(obj=command, ctx=context, name="biasbench", title="Commands")
    parts = _CODE.split(text)
    # a placeholder such as <language> is no tag
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return re.sub(r"^(biasbench .*)$", r"    \1", "".join(parts), flags=re.MULTILINE)
