"""The console layer: what stderr shows at which verbosity, and how progress is told."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from bias_bench.errors import BiasBenchWarning
from bias_bench.system import console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    console.set_verbosity("normal")
    console.let_first_speak(0)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package as a script imports it: no command runs, and no console was asked for."""
    monkeypatch.setattr(console, "_command", False)
    console.show_progress(False)
    yield
    console.set_verbosity("normal")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until its only entry is changed."""
    now = [0.0]
    monkeypatch.setattr(console, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [("quiet", []), ("normal", ["a", "warning: b"]), ("verbose", ["a", "warning: b", "c"])],
)
def test_verbosity_decides_what_stderr_shows(
    verbosity: console.Verbosity, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    console.set_verbosity(verbosity)
    console.say("a")
    console.warn("b")
    console.detail("c")
    console.result("d")
    captured = capsys.readouterr()
    assert captured.err.splitlines() == shown
    assert captured.out == "d\n"


def test_only_the_first_of_several_processes_speaks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.let_first_speak(1)
    with console.progress("work", 2, "units") as advance:
        advance(2)
    console.say("a")
    console.result("b")
    assert capsys.readouterr() == ("", "")
    console.let_first_speak(0)
    console.result("c")
    assert capsys.readouterr().out == "c\n"


def test_without_a_terminal_progress_is_a_line_in_thirty_seconds(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with console.progress("work", 100, "units") as advance:
        for second in range(1, 101):
            clock[0] = float(second)
            advance(1)
    assert capsys.readouterr().err.splitlines() == [
        "work: 30 of 100 units (30%), 1 units/s, 1 min 10 s left",
        "work: 60 of 100 units (60%), 1 units/s, 40 s left",
        "work: 90 of 100 units (90%), 1 units/s, 10 s left",
        "work: 100 units in 100.0 s",
    ]


def test_no_time_left_is_told_from_a_part_of_the_first_unit(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with console.progress("work", 4, "units") as advance:
        for second, part in ((40, 0.25), (80, 1.75), (81, 2)):
            clock[0] = float(second)
            advance(part)
    assert capsys.readouterr().err.splitlines() == [
        "work: 0 of 4 units (6%)",
        "work: 2 of 4 units (50%), 0.025 units/s, 1 min 20 s left",
        "work: 4 units in 81.0 s",
    ]


def test_short_work_shows_nothing_where_asked(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for seconds, lines in ((4.0, 0), (6.0, 1)):
        clock[0] = 0.0
        with console.progress("work", 2, "units", after=5) as advance:
            advance(1)
            clock[0] = seconds
            advance(1)
        assert len(capsys.readouterr().err.splitlines()) == lines


def test_a_terminal_shows_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    with console.progress("work", 4, "units") as advance:
        advance(1)
        advance(1)
    shown = terminal.getvalue()
    assert "work" in shown
    assert "units/s" in shown
    assert ":" in shown.partition("units/s")[2][:40], "time left"
    quiet = Terminal()
    monkeypatch.setattr("sys.stderr", quiet)
    console.set_verbosity("quiet")
    with console.progress("work", 4, "units") as advance:
        advance(4)
    assert quiet.getvalue() == ""


def test_failing_work_claims_no_end(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        with console.progress("work", 4, "units") as advance:
            advance(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert console.duration(seconds) == text


SCRIPT = """
import logging, sys, warnings
import numpy as np
import bias_bench

def evaluated(system):
    vectors = (random.normal(size=(len(part), 8)) for part in (mini.queries, mini.candidates))
    made = bias_bench.Vectors(*vectors)
    return bias_bench.evaluate(made, "mini", languages=["de", "en"], system=system)

def compare_and_end():
    bias_bench.compare(["runs/mini-one-0", "runs/mini-two-0"], significance=False)
    print("--", file=sys.stderr)

random = np.random.default_rng(0)
mini = bias_bench.load_collection("mini", languages=["de", "en"])
evaluated("one")
evaluated("two")
compare_and_end()
warnings.simplefilter("ignore")
compare_and_end()
logging.basicConfig(level="INFO", format="%(name)s: %(message)s")
random = np.random.default_rng(0)
evaluated("one")
compare_and_end()
bias_bench.show_progress()
random = np.random.default_rng(0)
evaluated("one")
compare_and_end()
bias_bench.show_progress(False)
logging.disable()
random = np.random.default_rng(0)
evaluated("one")
compare_and_end()
"""


def test_a_script_hears_of_warnings_and_of_progress_where_it_asked(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    first, ignored, logged, console_lines, off, end = ran.stderr.split("--\n")
    warning = "BiasBenchWarning: mini is a demonstration: too small for any claim"
    assert first.splitlines()[::2] == [f"{tmp_path}/script.py:12: {warning}"]
    assert ignored == off == end == ""
    assert "bias_bench: search: unchanged, kept" in logged.splitlines()
    assert "search: unchanged, kept" in console_lines.splitlines()
    assert "bias_bench: " not in console_lines


@pytest.mark.usefixtures("library")
def test_a_warning_names_the_line_that_called_the_package() -> None:
    with pytest.warns(BiasBenchWarning, match="b") as caught:
        console.warn("b\x1b")
    assert [warning.filename for warning in caught] == [__file__]
    assert str(caught[0].message) == "b\N{REPLACEMENT CHARACTER}"


@pytest.mark.usefixtures("library")
def test_a_command_shows_all_and_leaves_the_process_as_it_was(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = logging.getLogger("bias_bench")
    with console.command_console():
        console.say("a")
        console.warn("b")
        console.warn("b")
    assert capsys.readouterr().err.splitlines() == ["a", "warning: b", "warning: b"]
    assert (logger.handlers, logger.propagate, logger.level) == ([], True, logging.NOTSET)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        console.say("a")
        console.warn("b")
    assert capsys.readouterr().err == ""
