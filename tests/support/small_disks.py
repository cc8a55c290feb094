"""File systems in memory whose size a test changes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_cli_failures import assert_one_error
from tests.support import faults
from tests.support.kills import MANY, Undisturbed

PLENTY = "64m"
STEP = 40 if MANY else 120


def mounted(folder: Path) -> Iterator[Path]:
    """`folder` as a file system of its own; skips where that may not be."""
    folder.mkdir()
    if os.geteuid() != 0 or not _mount(folder, f"size={PLENTY}"):
        pytest.skip("only root may mount a small file system, where it may at all")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(folder: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _resize(folder: Path, size: int | str) -> None:
    assert _mount(folder, f"remount,size={size}")


def _used(folder: Path) -> int:
    status = os.statvfs(folder)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def fill_again_and_again(undisturbed: Undisturbed, disk: Path, step: int = STEP) -> int:
    """Run with more space each time until it ends; returns how often the disk was full.

    Each time there are `step` pages of memory more than the last. AssertionError unless it was said
    in one line, and unless the files are those of `undisturbed` in the end.
    """
    command, failures, page = undisturbed.command, 0, os.sysconf("SC_PAGE_SIZE")
    while failures < 40:
        _resize(disk, _used(disk) + (20 + step * failures) * page)
        ended = command.run(disk)
        if ended.code == 0:
            break
        failures += 1
        assert ended.code == 1, ended.err
        assert_one_error(ended.err, "No space left on device")
        assert not faults.leftovers(disk / "runs")
    _resize(disk, PLENTY)
    assert command.run(disk).code == 0
    assert undisturbed.differences(disk) == []
    return failures
