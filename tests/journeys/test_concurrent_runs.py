"""Two processes at once on one folder, one cache, one index: nothing is lost or mixed up."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.test_cli_failures import assert_one_error
from tests.support import faults
from tests.support.kills import NAME, RUN, Undisturbed

pytestmark = pytest.mark.slow


def test_of_two_runs_in_one_folder_one_works_and_one_says_why_it_does_not(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    both = [faults.start(RUN, tmp_path) for _ in range(2)]
    ended = [faults.end(process, tmp_path) for process in both]
    assert 0 in {found.code for found in ended}
    for found in ended:
        if found.code:  # the other was not done yet
            assert found.code == 1
            assert_one_error(found.err, "in use by another biasbench process", "--name")
    assert undisturbed.differences(tmp_path) == []


def test_two_runs_that_encode_the_same_texts_at_once_share_a_cache_and_an_index(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    names = ("first", "second")
    both = [faults.start([*RUN, "--name", name], tmp_path) for name in names]
    for process in both:
        ended = faults.end(process, tmp_path)
        assert ended.code == 0, ended.err
        assert "damaged" not in ended.err
    index = (tmp_path / "reports" / "index.html").read_text("utf-8")
    wanted = {key: value for key, value in undisturbed.files.items() if "/" in key}
    for name in names:
        files = faults.fingerprint(tmp_path / "runs" / name, tmp_path / "reports" / f"{name}.html")
        assert [key for key in wanted if files[key] != wanted[key]] == []
        assert f'href="{name}.html"' in index


def test_the_index_of_pages_written_at_once_has_them_all(native: Path, tmp_path: Path) -> None:
    names = [f"run-{number}" for number in range(6)]
    for name in names:
        shutil.copytree(native, tmp_path / "runs" / name)
    processes = [faults.start(["report", f"runs/{name}"], tmp_path) for name in names]
    for process in processes:
        ended = faults.end(process, tmp_path)
        assert ended.code == 0, ended.err
    index = (tmp_path / "reports" / "index.html").read_text("utf-8")
    assert [name for name in names if f'href="{name}.html"' not in index] == []


def test_a_killed_process_leaves_no_lock_behind(undisturbed: Undisturbed, tmp_path: Path) -> None:
    ended = faults.run(RUN, tmp_path, kill_at=len(undisturbed.events) // 4)
    assert ended.code == -9
    assert (tmp_path / "runs" / NAME / ".lock").exists()
    assert faults.run([*RUN, "--policy", "only-cache"], tmp_path).code == 1  # not "in use"
    ended = faults.run(["report", f"runs/{NAME}"], tmp_path)
    assert_one_error(ended.err, "metrics.json")
