"""The command line: one file per command. Importing this loads no heavy library."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from bias_bench.system.streams import LastingStream

_INTERRUPTED = 130
_LONGEST_LINE = 2_000  # characters of an error


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `biasbench` and exit: 0 ok, 1 failure, 2 usage, 3 data missing or damaged."""
    sys.exit(run_command(list(sys.argv[1:] if arguments is None else arguments)))


def run_command(arguments: list[str]) -> int:
    """Run one command line and return its exit code; errors become one line on stderr."""
    from bias_bench.system.console import command_console
    from bias_bench.system.launch import started_number
    from bias_bench.system.streams import ended_like_ctrl_c, lasting_streams

    # torchrun ends its processes itself, also those that wait for one another
    signals = ended_like_ctrl_c() if started_number() == 1 else nullcontext()
    with lasting_streams() as stdout, signals, command_console():
        try:
            code = _run(arguments)
        except KeyboardInterrupt:  # before or after the command itself
            code = _interrupted()
        stdout.flush()
        return _told_of(stdout, code)


def _run(arguments: list[str]) -> int:
    import typer
    from typer.exceptions import TyperException

    from bias_bench.cli.app import app
    from bias_bench.errors import BiasBenchError
    from bias_bench.system.library_caches import direct_library_caches

    try:
        Path.cwd()
    except OSError as error:
        return _fail(f"the current folder: {error.strerror}; change to another", 1)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
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
    except Exception as error:
        if debug:
            raise
        return _fail(_one_line(error), error.exit_code if isinstance(error, BiasBenchError) else 1)
    if code == _INTERRUPTED:  # typer turns Ctrl-C into this code
        return _interrupted()
    return code if isinstance(code, int) else 0


def _told_of(stdout: LastingStream, code: int) -> int:
    """The exit code, once it has been said what became of the results that were printed.

    A reader that has had enough, such as `head`, and a terminal that is gone are not failures.
    """
    from bias_bench.system.console import warn

    if not stdout.is_open:
        warn("standard output is closed: results are in files alone")
    lost = stdout.error
    if lost is None or code or getattr(lost, "errno", None) in (errno.EPIPE, errno.EIO):
        return code
    reason = getattr(lost, "strerror", None) or lost
    return _fail(f"standard output: {reason}; files are whole, what was printed is not", 1)


def _interrupted() -> int:
    return _fail("interrupted; the same command goes on where it stopped", _INTERRUPTED)


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
    from bias_bench.cli.out_of_memory import out_of_memory
    from bias_bench.errors import BiasBenchError
    from bias_bench.system.files import NO_SPACE

    if memory := out_of_memory(error):
        return memory
    if isinstance(error, BiasBenchError):
        return str(error)
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return (
            f"{error.filename or 'output'}: {error.strerror}; free some, and give the command again"
        )
    if isinstance(error, OSError) and "temporary directory" in str(error):
        return f"{error.strerror}; set TMPDIR to a folder that can be written"
    if isinstance(error, OSError):
        return f"{error.filename or 'file system'}: {error.strerror or error}"
    return f"unexpected {type(error).__name__}: {error}".splitlines()[0] + (
        "; run with --debug and report it"
    )


def _fail(message: str, code: int) -> int:
    from bias_bench.system.console import harmless

    line = " ".join(message.split())
    if len(line) > _LONGEST_LINE:
        line = f"{line[: _LONGEST_LINE // 2]} … {line[-_LONGEST_LINE // 2 :]}"
    sys.stderr.write(f"biasbench: error: {harmless(line)}\n")
    return code
