"""Help, examples and completion: what they show exists."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from bias_bench.cli import complete, run_command
from bias_bench.cli.app import app
from bias_bench.data.registry import benchmarks
from bias_bench.encoders.backbone import BUNDLED
from bias_bench.encoders.scratch import SIZES
from bias_bench.encoders.sources import KINDS
from tests.test_architecture import HEAVY

ROOT: Any = typer.main.get_command(app)


def commands(
    command: Any = ROOT, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and sub-command, with what is typed for it."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


def examples(command: Any) -> list[str]:
    """The command lines in the end of its help."""
    _, found, lines = (command.epilog or "").partition("Examples:")
    assert found, f"{command.name}: its help has no examples"
    return [line.strip() for line in lines.splitlines() if line.strip()]


EVERY = dict(commands())
EXAMPLES = [(path, line) for path, command in EVERY.items() for line in examples(command)]


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_help_explains_and_shows_examples(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Usage: biasbench" in shown
    first = shown.partition("Examples:")[2]
    assert " ".join(("biasbench", *path)) in " ".join(first.split())
    assert EVERY[path].help


@pytest.mark.parametrize(("path", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_every_example_parses(path: tuple[str, ...], line: str) -> None:
    program, *arguments = shlex.split(line.partition(" >> ")[0])
    assert program == "biasbench"
    if arguments == ["--install-completion"]:  # it would write into the user's shell
        assert any("--install-completion" in option.opts for option in ROOT.params)
        return
    command = ROOT
    while hasattr(command, "commands"):
        command = command.commands[arguments.pop(0)]
    assert not path or command is EVERY[path] or hasattr(EVERY[path], "commands")
    command.make_context(command.name, arguments)  # fails for an unknown option or a bad value


def completed(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """What bash offers for the last of these words."""
    monkeypatch.setenv("_BIASBENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    with pytest.raises(SystemExit):
        run_command([])
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["co"], "compare"),
        (["run", "xq"], "xquad-r"),
        (["run", "--recipe", "hyb"], "hybrid-adversarial"),
        (["train", "--recipe", "hyb"], "hybrid"),
        (["run", "--backbone", "scr"], "scratch:tiny"),
        (["run", "--set", "retrieval.d"], "retrieval.depth="),
        (["run", "--policy", "a"], "always"),
        (["run", "--dr"], "--dry-run"),
        (["compare", "--metric", "nD"], "nDCG@10"),
        (["compare", "--metric", "rank"], "rank_distance"),
        (["data", "fetch", "mlqa"], "mlqa-r"),
        (["data", "audit", "ntr"], "ntrex-128"),
        (["run", "own"], "own-data/"),
    ],
)
def test_names_complete(
    words: list[str],
    offered: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own-data").mkdir()
    found = completed(["biasbench", *words], monkeypatch, capsys)
    assert offered in found
    assert all(name.startswith(words[-1]) for name in found)


def test_names_that_complete_are_those_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(complete, "_hub_ids", list)
    assert complete.complete_benchmark("") == sorted(benchmarks())
    assert complete.complete_backbone("") == sorted(
        [
            *(f"bundled:{name}" for name in BUNDLED),
            *(f"scratch:{size}" for size in SIZES),
            *(f"{kind}:" for kind in KINDS),
        ]
    )


def test_completing_loads_no_heavy_library() -> None:
    names = [name for name in vars(complete) if name.startswith("complete_")]
    assert len(names) >= 6
    script = (
        f"import sys\nfrom bias_bench.cli import complete\nfor name in {names}:\n"
        "    assert getattr(complete, name)('') is not None\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_the_shell_is_shown(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_BIASBENCH_COMPLETE", f"source_{shell}")
    with pytest.raises(SystemExit):
        run_command([])
    assert "_BIASBENCH_COMPLETE" in capsys.readouterr().out
