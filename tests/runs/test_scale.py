"""The page on large corpora shows what its files hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scale.__main__ import read_rows, table
from benchmarks.scale.figure import cost_figure
from benchmarks.scale.measure import Size, measure

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_has_the_table_and_the_figure_of_the_file() -> None:
    rows = read_rows(DOCS / "scale" / "scale.tsv")
    page = (DOCS / "scale.md").read_text(encoding="utf-8")
    assert "\n".join(table(rows)) in page
    assert cost_figure(rows) == (DOCS / "scale" / "cost.svg").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_small_size_is_measured(tmp_path: Path) -> None:
    found = measure(Size(1_000, 20, "2G"), tmp_path / "work")
    assert (found["passages"], found["queries"]) == (1_000, 20)
    assert all(found[f"{step}_seconds"] > 0 for step in ("store", "encode", "search"))
    assert 10**8 < found["loaded_bytes"] <= found["peak_bytes"]
    assert not (tmp_path / "work").exists()
