"""Runs that are killed anywhere, any number of times, end with the files of an undisturbed run.

`BIASBENCH_FAULTS` is the number of kills, a few by default; `nox -s faults` does hundreds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kills import MANY, Undisturbed, kill_again_and_again

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0 if MANY else 900)]


def test_killed_runs_end_with_the_files_of_an_undisturbed_one(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    kill_again_and_again(undisturbed, tmp_path / "run")


def test_a_run_killed_while_it_removes_its_checkpoints_keeps_what_it_trained(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    removed = [
        number
        for number, event in enumerate(undisturbed.events)
        if event.what in ("os.remove", "os.rmdir") and event.finished == 3  # audit, mine, train
        and "checkpoints" in undisturbed.events[number - 1].path
    ]  # fmt: skip
    command = undisturbed.command
    assert command.run(tmp_path, kill_at=removed[len(removed) // 2]).code == -9
    assert (tmp_path / "runs" / command.name / "checkpoints").is_dir()
    ended = command.run(tmp_path)
    assert ended.code == 0, ended.err
    assert "train: unchanged, kept" in ended.err
    assert undisturbed.differences(tmp_path) == []
