"""Provenance: which state of the code made a result."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import bias_bench
from bias_bench.system.provenance import git_state


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a package in it, taken for this one."""
    folder = tmp_path / "bias_bench"
    (folder / "system").mkdir(parents=True)
    (folder / "__init__.py").touch()
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    monkeypatch.setattr(bias_bench, "__file__", str(folder / "__init__.py"))
    return folder


def test_a_change_anywhere_in_the_package_makes_the_checkout_dirty(package: Path) -> None:
    commit = git(package, "rev-parse", "HEAD")
    assert git_state() == {"commit": commit, "dirty": False}
    (package / "__init__.py").write_text("changed = True\n", encoding="utf-8")
    assert git_state() == {"commit": commit, "dirty": True}


def test_a_change_outside_of_the_package_does_not(package: Path) -> None:
    (package.parent / "notes.txt").touch()
    assert git_state()["dirty"] is False


def test_a_package_that_no_checkout_tracks_has_no_state(package: Path) -> None:
    git(package, "rm", "-q", "--cached", "__init__.py")
    assert git_state() == {"commit": None, "dirty": None}
