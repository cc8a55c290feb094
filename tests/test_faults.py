"""Runs that are killed anywhere, any number of times, end with the files of an undisturbed run.

`BIASBENCH_FAULTS` is the number of kills, a few by default; `nox -s faults` does hundreds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kills import MANY, Undisturbed, kill_again_and_again

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0 if MANY else 900)]


def test_killed_runs_end_with_the_files_of_an_undisturbed_one(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    kill_again_and_again(undisturbed, tmp_path / "run")
