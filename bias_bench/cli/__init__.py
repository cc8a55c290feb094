"""The command line: one file per command. Importing this loads no heavy library."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

_INTERRUPTED = 130
_LONGEST_LINE = 2_000  # characters of an error


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `biasbench` and exit: 0 ok, 1 failure, 2 usage, 3 data missing or damaged."""
    sys.exit(run_command(list(sys.argv[1:] if arguments is None else arguments)))


def run_command(arguments: list[str]) -> int:
    """Run one command line and return its exit code; errors become one line on stderr."""
    import typer
    from typer.exceptions import TyperException

    from bias_bench.cli.app import app
    from bias_bench.console import set_verbosity
    from bias_bench.errors import BiasBenchError
    from bias_bench.files import NO_SPACE
    from bias_bench.library_caches import direct_library_caches

    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    set_verbosity("normal")
    with suppress(BiasBenchError):  # what needs them says so
        direct_library_caches()
    try:
        code = typer.main.get_command(app).main(
            arguments, prog_name="biasbench", standalone_mode=False
        )
    except TyperException as error:
        return _usage(error)
    except typer.Abort:
        code = _INTERRUPTED
    except BrokenPipeError:  # who read the results, such as `head`, has had enough
        _drop_stdout()
        return 1
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            _drop_stdout()  # what is left to flush would fail once more
        return _fail(_one_line(error), error.exit_code if isinstance(error, BiasBenchError) else 1)
    if code == _INTERRUPTED:  # typer turns Ctrl-C into this code
        return _fail("interrupted; the same command goes on where it stopped", _INTERRUPTED)
    return code if isinstance(code, int) else 0


def _usage(error: Any) -> int:
    """What is wrong with the command line, and the help that says what is right."""
    message = error.format_message().replace("Value error, ", "")
    if not message:  # a bare command group, which printed its help
        return 2
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "biasbench"
    end = "" if message[-1] in ".?)" else "."
    return _fail(f"{message}{end} See `{command} --help`.", error.exit_code)


def _one_line(error: Exception) -> str:
    """What went wrong, where, and what to do about it."""
    from bias_bench.errors import BiasBenchError
    from bias_bench.files import NO_SPACE

    if isinstance(error, BiasBenchError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory; try a smaller --set encoding.batch_tokens"
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return (
            f"{error.filename or 'output'}: {error.strerror}; free some, and give the command again"
        )
    if isinstance(error, OSError):
        return f"{error.filename or 'file system'}: {error.strerror or error}"
    return f"unexpected {type(error).__name__}: {error}".splitlines()[0] + (
        "; run with --debug and report it"
    )


def _drop_stdout() -> None:
    """Send what is still to be written to stdout nowhere, so that Python ends in silence."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return  # not a file
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _fail(message: str, code: int) -> int:
    from bias_bench.console import harmless

    line = " ".join(message.split())
    if len(line) > _LONGEST_LINE:
        line = f"{line[: _LONGEST_LINE // 2]} … {line[-_LONGEST_LINE // 2 :]}"
    sys.stderr.write(f"biasbench: error: {harmless(line)}\n")
    return code
