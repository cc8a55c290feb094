"""A disk that is full at any moment: one clear line, nothing half-written, and it goes on later."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kills import Undisturbed
from tests.support.small_disks import fill_again_and_again

pytestmark = pytest.mark.slow


def test_a_run_on_a_disk_that_is_full_again_and_again_ends_with_the_same_files(
    disk: Path, undisturbed: Undisturbed
) -> None:
    assert fill_again_and_again(undisturbed, disk) > 2
