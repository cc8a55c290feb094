"""Runs to compare, and what a comparison of them gives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bias_bench.cli import run_command
from bias_bench.significance.document import Cell, ComparedSystem, ComparisonDocument, load
from bias_bench.significance.options import CompareOptions
from tests.support.comparisons import make_run

FEW = CompareOptions(permutations=199)


def make_runs(out: Path) -> Path:
    """Run folders to read: three recipes, and two more seeds of one."""
    make_run(out / "zero")
    make_run(out / "hybrid-0", "hybrid", quality=0.5)
    make_run(out / "hybrid-1", "hybrid", 1, quality=0.4, noise=2)
    make_run(out / "hybrid-2", "hybrid", 2, quality=0.45, noise=3)
    make_run(out / "mono", "mono", quality=0.2, noise=4)
    return out


def make_pair(runs: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Copies of two runs to change."""
    for name in ("zero", "hybrid-0"):
        shutil.copytree(runs / name, tmp_path / name)
    return tmp_path / "zero", tmp_path / "hybrid-0"


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> ComparisonDocument:
    """What the command prints, read back."""
    return load(printed(capsys, *arguments))


def printed(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The JSON that the command prints."""
    few = ("--permutations", "199") if "--significance" in arguments else ()
    assert run_command(["compare", *map(str, arguments), *few, "--format", "json"]) == 0
    return capsys.readouterr().out


def changed(found: ComparisonDocument, change: Callable[[Any], object]) -> ComparisonDocument:
    """The comparison with another content, which `change` makes of its JSON."""
    content = found.as_json()
    change(content)
    return load(json.dumps(content))


def cells(entry: ComparedSystem) -> list[Cell]:
    return [*entry.groups.values(), *entry.settings.values()]
