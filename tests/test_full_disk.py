"""A disk that is full at any moment: one clear line, nothing half-written, and it goes on later."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import faults
from tests.kills import MANY, NAME, RUN, Undisturbed
from tests.test_cli_failures import assert_one_error

pytestmark = pytest.mark.slow
PLENTY = "64m"
STEP = 40 if MANY else 120  # pages of memory that there are more after each failure


def _mount(folder: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory, whose size a test changes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or not _mount(folder, f"size={PLENTY}"):
        pytest.skip("only root may mount a small file system, where it may at all")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def used(folder: Path) -> int:
    status = os.statvfs(folder)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def resize(folder: Path, size: int | str) -> None:
    assert _mount(folder, f"remount,size={size}")


def test_a_run_on_a_disk_that_is_full_again_and_again_ends_with_the_same_files(
    disk: Path, undisturbed: Undisturbed
) -> None:
    """Each time there is a little more space: full while training, encoding, scoring, …."""
    failures = 0
    while failures < 40:
        page = os.sysconf("SC_PAGE_SIZE")
        resize(disk, used(disk) + (20 + STEP * failures) * page)
        ended = faults.run(RUN, disk)
        if ended.code == 0:
            break
        failures += 1
        assert ended.code == 1, ended.err
        assert_one_error(ended.err, "No space left on device")
        assert not faults.leftovers(disk / "runs")
    assert failures > 2
    resize(disk, PLENTY)
    assert faults.run(RUN, disk).code == 0
    assert undisturbed.differences(disk) == []
    assert (disk / "runs" / NAME / "manifest.json").is_file()
