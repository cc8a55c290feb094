"""Files and folders are replaced whole, whenever a process ends, with the umask's permissions."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.trec import write_gzip
from bias_bench.system import files
from tests.support.command_line import Command

_CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "shutil.rmtree"}


def write_folder(path: Path, text: str) -> None:
    with files.atomic_folder(path) as temporary:
        (temporary / "below").mkdir()
        for name in ("a", "below/b"):
            (temporary / name).write_text(text, encoding="utf-8")


def content(path: Path) -> dict[str, str]:
    found = (file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_text("utf-8") for file in found}


def killed(path: Path, before: int) -> bool:
    """Replace the folder in a process that is killed before a change of the file system."""
    child = os.fork()
    if child == 0:
        left = before

        def watch(what: str, _: tuple[Any, ...]) -> None:
            nonlocal left
            if what in _CHANGES:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        write_folder(path, "new")
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def test_a_folder_replaced_by_a_process_that_is_killed_is_the_old_or_the_new_one_whole(
    tmp_path: Path,
) -> None:
    path = tmp_path / "folder"
    whole = [dict.fromkeys(("a", "below/b"), text) for text in ("old", "new")]
    found = []
    for before in range(100):
        write_folder(path, "old")
        if not killed(path, before):
            break
        places = [path, tmp_path / ".replaced-folder"]
        assert any(content(place) in whole for place in places if place.is_dir()), before
        files.remove_temporary_files(tmp_path)
        assert [entry.name for entry in tmp_path.iterdir()] == ["folder"], before
        found.append(whole.index(content(path)))
    assert found == sorted(found)  # once it is the new one, it stays so
    assert set(found) == {0, 1}
    assert content(path) == whole[1]


def test_what_a_killed_process_left_is_gone_after_the_next_replacement(tmp_path: Path) -> None:
    for name in (".writing-folder", ".replaced-folder", ".writing-.replaced-folder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stray").touch()
    write_folder(tmp_path / "folder", "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
    assert sorted(content(tmp_path / "folder")) == ["a", "below/b"]


def test_a_failure_leaves_the_old_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", "old")
    with pytest.raises(UnicodeEncodeError):
        write_folder(tmp_path / "folder", "\udc80")
    assert set(content(tmp_path / "folder").values()) == {"old"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    write_folder(tmp_path / "elsewhere" / "folder", "old")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "folder")
    write_folder(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert set(content(tmp_path / "elsewhere" / "folder").values()) == {"new"}


def test_a_file_in_place_of_a_folder_is_named_and_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("precious", encoding="utf-8")
    with pytest.raises(BiasBenchError, match="folder: is a file where a folder belongs"):
        write_folder(tmp_path / "folder", "new")
    with pytest.raises(BiasBenchError, match=r"folder: cannot create this folder .it is a file.;"):
        files.make_folder(tmp_path / "folder")
    assert (tmp_path / "folder").read_text("utf-8") == "precious"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_decides_the_permissions_of_every_kind_of_file(
    tmp_path: Path, umask: int, mode: int
) -> None:
    from safetensors.numpy import save_file

    before = os.umask(umask)
    try:
        files.write_text(tmp_path / "page.html", "")
        files.write_checked(tmp_path / "index.npz", b"", {})
        write_gzip(tmp_path / "en.run.gz", b"")
        with files.atomic_path(tmp_path / "model.safetensors") as path:
            save_file({"weight": np.zeros(1)}, path)
        with files.atomic_folder(tmp_path / "model") as folder:
            (folder / "below").mkdir()
            save_file({"weight": np.zeros(1)}, folder / "below" / "model.safetensors")
    finally:
        os.umask(before)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 6
    assert {path.name: path.stat().st_mode & 0o777 for path in written if path.is_file()} == {
        path.name: mode for path in written
    }


def test_files_of_a_command_have_the_permissions_that_the_umask_leaves(
    biasbench: Command, tmp_path: Path
) -> None:
    (tmp_path / "a.run").write_text("en:1 Q0 de:1-1-1 1 2.0 t\n", encoding="utf-8")
    (tmp_path / "a.qrels").write_text("en:1 0 de:1-1-1 1\n", encoding="utf-8")
    given = ["--run", f"en-de={tmp_path}/a.run", "--qrels", tmp_path / "a.qrels"]
    before = os.umask(0o077)
    try:
        done = biasbench("score", *given, "--out", tmp_path / "runs", "--name", "scored")
    finally:
        os.umask(before)
    assert done.code == 0, done.err
    entries = list((tmp_path / "runs" / "scored").rglob("*"))
    assert {"ranks.parquet", "scores.parquet", "manifest.json"} <= {path.name for path in entries}
    assert {path.name for path in entries if path.stat().st_mode & 0o077} == set()
