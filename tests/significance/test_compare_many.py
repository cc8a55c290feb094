"""Thirty systems in one comparison: every form holds all of them, and a person can read it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

from bias_bench.report.comparison_forms import as_latex, as_table, as_tsv
from bias_bench.report.comparison_page import render_comparison_page
from bias_bench.significance.comparison import compare
from bias_bench.significance.document import ComparisonDocument, load
from bias_bench.significance.options import CompareOptions
from tests.support.comparisons import make_run, rewrite

NUMBER = 30
GAINS = {f"recipe-{number:02}": number / 100 for number in range(1, NUMBER)}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> ComparisonDocument:
    """One generated run, and 29 that raise its scores by 0.01, 0.02, … with a little noise."""
    out = tmp_path_factory.mktemp("many")
    base = make_run(out / "base")
    for number, (recipe, gain) in enumerate(GAINS.items()):
        folder = shutil.copytree(base, out / recipe)

        def raised(table: pa.Table, gain: float = gain, seed: int = number) -> pa.Table:
            noise = np.random.default_rng(seed).normal(gain, 0.01, len(table))
            values = pa.array(table["value"].to_numpy() + noise)
            return table.set_column(table.schema.get_field_index("value"), "value", values)

        rewrite(folder, "scores.parquet", raised)
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        manifest["system"] = f"{recipe}@scratch:tiny#0"
        (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
        experiment = (folder / "experiment.yaml").read_text("utf-8")
        (folder / "experiment.yaml").write_text(experiment.replace("zero-shot", recipe), "utf-8")
    return compare([base, *(out / recipe for recipe in GAINS)], CompareOptions(permutations=199))


def test_every_system_and_every_pair_is_compared(found: ComparisonDocument) -> None:
    assert [entry.label for entry in found.systems] == list(GAINS)
    for entry in found.systems:
        gain = GAINS[entry.label]
        for cell in entry.groups.values():
            assert cell.difference == pytest.approx(gain, abs=0.005)
            assert cell.interval[0] < cell.difference < cell.interval[1]
    assert all(len(pairs) == NUMBER * (NUMBER - 1) // 2 for pairs in found.tukey.groups.values())
    assert load(json.dumps(found.as_json())) == found


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_has_a_row_for_each_that_fits(found: ComparisonDocument, width: int) -> None:
    lines = as_table(found, False, width).splitlines()
    assert max(map(len, lines)) <= width
    for entry in found.systems:
        (line,) = [row for row in lines if row.startswith(f"{entry.label} ") and
                   f"+{entry.groups['monolingual'].difference:.4f}" in row and
                   "monolingual" in row and "[" in row]  # fmt: skip
        assert f"{entry.groups['monolingual'].baseline:.4f}" in line
    assert sum(" − " in row for row in lines) >= NUMBER * (NUMBER - 1) // 2
    assert "Each of these 116 families errs" in " ".join(lines)


def test_tsv_and_latex_have_a_row_for_each(found: ComparisonDocument) -> None:
    head, *rows = (line.split("\t") for line in as_tsv(found).splitlines())
    assert len(rows) == (NUMBER - 1) * (3 + 12)
    macro = {row[0]: float(row[head.index("difference")]) for row in rows
             if row[1:3] == ["monolingual", "macro"]}  # fmt: skip
    assert macro == {
        entry.system: entry.groups["monolingual"].difference for entry in found.systems
    }
    text = as_latex(found, False)
    assert [text.count(f"\n{label} & monolingual & ") for label in GAINS] == [1] * (NUMBER - 1)


def test_the_page_has_all_of_them_and_stays_small(found: ComparisonDocument) -> None:
    page = render_comparison_page(found)
    assert all(f">{label}<" in page for label in GAINS)
    assert len(page.encode()) < 2_000_000
