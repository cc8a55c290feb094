"""The examples of docs/python.md and of the API's docstrings are run as they stand."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
MODULES = ["api.comparison", "api.distance", "api.evaluate", "api.run", "api.score"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples write to ``runs`` where they are run."""
    monkeypatch.chdir(tmp_path)


def test_the_page_shows_what_its_code_prints() -> None:
    found = doctest.testfile(
        str(PAGE),
        module_relative=False,
        encoding="utf-8",
        optionflags=doctest.NORMALIZE_WHITESPACE,  # frames end lines with blanks
    )
    assert found.attempted > 25
    assert not found.failed


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_hold(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"bias_bench.{name}"))
    assert found.attempted > 0
    assert not found.failed
