"""The console layer: what stderr shows at which verbosity, and how progress is told."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from bias_bench import console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    console.set_verbosity("normal")
    console.let_first_speak(0)


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
