"""Tables of the command line: figures are never cut, whatever the terminal's width."""

from __future__ import annotations

import os
import pty
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.report.tables import Column, Table, render
from tests.cli.test_cli_failures import PROGRAM
from tests.support.helpers import unhurried

FIGURES = ["AP mono", "AP cross", "AP pool", "rank distance", "same language top 1"]
VALUES = ["0.2456", "0.0123", "0.0290", "1213.5", "0.656"]


def table(names: list[str], figures: int = len(FIGURES)) -> Table:
    made = Table([Column("run", "name"), *map(Column, FIGURES[:figures])], "A title of four words")
    for name in names:
        made.add_row(name, *VALUES[:figures])
    return made


def parts(text: str) -> list[str]:
    return text.split("\n\n")


def test_without_a_terminal_nothing_is_wrapped_and_all_is_one_table() -> None:
    name = "n" * 300
    lines = render(table([name]), None).splitlines()
    assert lines[0] == "A title of four words"
    assert re.split(r"\s{2,}", lines[1])[-5:] == FIGURES
    assert lines[3].split() == [name, *VALUES]
    assert len(lines) == 4


@pytest.mark.parametrize("width", [200, 100, 80, 70, 60, 50, 40])
def test_every_figure_is_whole_and_every_name_is_there(width: int) -> None:
    name = "xquad-r-hybrid-adversarial-leace-0"
    text = render(table([name]), width)
    assert max(map(len, text.splitlines())) <= width
    assert [value for value in VALUES if value not in text.split()] == []
    for part in parts(text):
        assert name in "".join(line[:34].strip().split("  ")[0] for line in part.splitlines()[1:])


def test_a_narrow_terminal_gets_two_tables_with_the_names_in_both() -> None:
    first, second = parts(render(table(["mini-zero-shot-0"]), 50))
    assert "mini-zero-shot-0  0.2456" in first
    assert second.splitlines()[-1].split() == ["mini-zero-shot-0", "0.656"]


@unhurried
@given(
    st.lists(st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=60),
             min_size=1, max_size=3),
    st.integers(20, 140),
)  # fmt: skip
def test_no_width_cuts_a_figure(names: list[str], width: int) -> None:
    shown = render(table(names), width).split()
    assert [value for value in VALUES if shown.count(value) != len(names)] == []


def test_long_texts_are_wrapped_beside_whole_figures() -> None:
    made = Table([Column("stage", "name"), Column("why", "text"), Column("time")])
    made.add_row("search", "an input changed " * 10, "2 h 10 min")
    lines = render(made, 60).splitlines()
    assert max(map(len, lines)) <= 60
    assert "2 h 10 min" in lines[2]
    assert " ".join(lines[2:]).count("changed") == 10


def test_a_stream_without_lines_gets_dashes() -> None:
    assert render(table(["run"]), 100, "ascii").isascii()


@pytest.mark.parametrize("width", [80, 60])
def test_a_run_on_a_narrow_terminal_shows_all_of_its_figures(native: Path, width: int) -> None:
    arguments = ["run", "--backbone", "scratch:tiny", "--recipe", "zero-shot", "-q"]
    places = ["--out", str(native.parent), "--reports", str(native.parents[1] / "reports")]
    wanted = printed([*arguments, *places], None).split()[-6:]
    shown = printed([*arguments, *places], width)
    assert "…" not in shown
    assert [figure for figure in wanted if figure not in shown.split()] == []
    assert max(map(len, shown.splitlines())) <= width


def printed(arguments: list[str], width: int | None) -> str:
    """What a command shows on a terminal of that width; without one, what it writes to a pipe."""
    reading, writing = pty.openpty() if width else os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 1)
        environment = {**os.environ, **({"COLUMNS": str(width)} if width else {})}
        os.execve(sys.executable, [*PROGRAM, *arguments], environment)  # noqa: S606
    os.close(writing)
    found = b""
    while True:
        try:
            data = os.read(reading, 65_536)
        except OSError:  # how a terminal ends
            break
        if not data:
            break
        found += data
    os.close(reading)
    assert os.waitpid(child, 0)[1] == 0
    return re.sub("\x1b\\[[0-9;]*m", "", found.decode("utf-8").replace("\r\n", "\n"))
