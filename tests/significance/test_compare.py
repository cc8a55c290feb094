"""`biasbench compare`: what is compared with what, and tested how."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bias_bench.bias.catalogue import FIRST_RESULT, QUERY_METRICS
from bias_bench.cli import run_command
from bias_bench.errors import DataError
from bias_bench.evaluation.settings import parse_setting
from bias_bench.report.comparison_forms import as_table
from bias_bench.significance.comparison import compare
from bias_bench.significance.corrections import holm
from bias_bench.significance.measures import BIAS_MEASURES
from bias_bench.significance.options import CompareOptions
from tests.support.compared import FEW, as_json, cells, printed
from tests.support.comparisons import make_run, metrics_of, rewrite

CONTRACT = {"baseline", "system", "difference", "interval", "p", "p_adjusted", "d_z", "wins",
            "ties", "losses", "n"}  # fmt: skip


KINDS = ["monolingual", "cross_lingual", "multilingual"]


def test_json_has_the_contracts_shape(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, runs / "zero", runs / "hybrid-0", "--significance"))
    assert found["schema"] == 1
    assert found["benchmark"] == "made-up"
    assert found["metric"] == "AP"
    assert found["baseline"] == "zero-shot@scratch:tiny#0"
    assert found["cluster"] == "paragraph"
    assert (found["permutations"], found["correction"]) == (199, "maxt")
    (entry,) = found["systems"]
    assert entry["system"] == "hybrid@scratch:tiny#0"
    assert sorted(entry["groups"]) == sorted(KINDS)
    assert len(entry["settings"]) == 3 + 6 + 3
    assert "en-th" in entry["settings"]
    for cell in [*entry["groups"].values(), *entry["settings"].values()]:
        assert cell.keys() >= CONTRACT
        assert cell["difference"] == cell["system"] - cell["baseline"]
        assert cell["interval"][0] <= cell["difference"] <= cell["interval"][1]
        assert 0 < cell["p"] <= cell["p_adjusted"] <= 1
        assert (cell["n"], cell["wins"] + cell["ties"] + cell["losses"]) == (12, 24)


@pytest.mark.parametrize("metric", ["AP", "nDCG@10", "RR", "R@1"])
def test_group_means_are_those_of_metrics_json(runs: Path, metric: str) -> None:
    found = compare([runs / "zero", runs / "mono"], CompareOptions(metric, significance=False))
    macros = [metrics_of(runs / name)["retrieval"] for name in ("zero", "mono")]
    for kind, cell in found.systems[0].groups.items():
        zero, mono = (part[kind]["macro"][metric] for part in macros)
        assert cell.baseline == pytest.approx(zero, abs=1e-14)
        assert cell.difference == pytest.approx(mono - zero, abs=1e-14)
    for name, cell in found.systems[0].settings.items():
        mean = macros[1][parse_setting(name).kind]["per_setting"][name][metric]
        assert cell.system == pytest.approx(mean, abs=1e-14)


def test_group_means_are_those_of_metrics_json_for_partly_parallel_topics(tmp_path: Path) -> None:
    folders = [
        make_run(tmp_path / name, name, quality=quality, partly=True)
        for name, quality in (("a", 0.0), ("b", 0.4))
    ]
    found = compare(folders, FEW)
    assert found.omitted.missing > 0
    assert (found.omitted.cells, found.warnings[1:]) == (0, ())
    macros = [metrics_of(folder)["retrieval"] for folder in folders]
    for kind, cell in found.systems[0].groups.items():
        expected = macros[1][kind]["macro"]["AP"] - macros[0][kind]["macro"]["AP"]
        assert cell.difference == pytest.approx(expected, abs=1e-14)
        assert cell.interval[0] < cell.difference < cell.interval[1]
    assert found.systems[0].settings["en-th"].n == 8


def test_bias_metrics_are_compared_in_the_pool_alone(runs: Path) -> None:
    options = CompareOptions("rank_distance", permutations=99)
    found = compare([runs / "zero", runs / "hybrid-0"], options)
    (entry,) = found.systems
    assert list(entry.groups) == ["multilingual"]
    assert list(entry.settings) == ["ar-all", "en-all", "th-all"]
    macros = [
        metrics_of(runs / name)["bias"]["rank_distance"]["macro"] for name in ("zero", "hybrid-0")
    ]
    cell = entry.groups["multilingual"]
    assert cell.difference == pytest.approx(macros[1] - macros[0], abs=1e-12)
    assert found.direction == "lower"
    assert cell.difference < 0
    assert cell.wins > cell.losses
    assert "beside it, pooled" in as_table(found, False, 120)


@pytest.mark.parametrize("name", sorted(QUERY_METRICS))
def test_every_bias_metric_has_a_direction_and_compares(runs: Path, name: str) -> None:
    found = compare([runs / "zero", runs / "hybrid-0"], CompareOptions(name, permutations=19))
    assert set(BIAS_MEASURES) == {*QUERY_METRICS, FIRST_RESULT}
    assert found.better in as_table(found, False, 200)


def test_a_metric_without_direction_says_higher_and_lower(runs: Path) -> None:
    options = CompareOptions("target_removal", permutations=19, margin=0.1)
    found = compare([runs / "zero", runs / "hybrid-0"], options)
    cell = found.systems[0].groups["multilingual"]
    assert cell.equivalence.no_worse is None
    text = as_table(found, False, 120)
    assert "neither higher nor lower is better; without bias it is 0" in text
    assert "higher/equal/lower" in text


def test_families_are_the_settings_of_a_kind_and_the_macro_averages(runs: Path) -> None:
    options = CompareOptions(permutations=199, correction="holm")
    (entry,) = compare([runs / "zero", runs / "mono"], options).systems
    for kind in KINDS:
        family = [cell for name, cell in entry.settings.items() if parse_setting(name).kind == kind]
        expected = holm(np.array([cell.p for cell in family]))
        assert [cell.p_adjusted for cell in family] == expected.tolist()
    groups = [entry.groups[kind] for kind in KINDS]
    expected = holm(np.array([cell.p for cell in groups]))
    assert [cell.p_adjusted for cell in groups] == expected.tolist()


def test_identical_runs_have_p_one(pair: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(pair[0], tmp_path / "same")
    for folders in ([pair[0], tmp_path / "same"], [pair[0], pair[0]]):
        options = CompareOptions(cluster="topic", permutations=99, also=("t", "wilcoxon"))
        (entry,) = compare(folders, options).systems
        for cell in cells(entry):
            assert cell.p == cell.p_adjusted == 1
            assert cell.interval == cell.simultaneous == (0, 0)
            assert (cell.difference, cell.d_z, cell.ties) == (0, 0, 24)
            assert cell.t.p == cell.wilcoxon.p == 1


def test_the_same_seed_and_options_give_the_same_result(runs: Path) -> None:
    folders = [runs / "zero", runs / "mono"]
    assert compare(folders, FEW) == compare(folders, FEW)
    other = compare(folders, CompareOptions(permutations=199, seed=1))
    assert other.systems != compare(folders, FEW).systems


def test_the_baseline_is_the_first_run_or_the_one_asked_for(runs: Path) -> None:
    folders = [runs / "zero", runs / "mono", runs / "hybrid-0"]
    options = CompareOptions(significance=False)
    found = compare(folders, options, runs / "mono")
    assert found.baseline == "mono@scratch:tiny#0"
    assert [entry.label for entry in found.systems] == ["zero-shot", "hybrid"]
    apart = compare([runs / "zero"], options, runs / "mono")
    assert apart.systems[0] == found.systems[0]


@pytest.mark.parametrize(("cluster", "number"), [("topic", 24), ("paragraph", 12), ("article", 6)])
def test_whole_clusters_are_the_unit(runs: Path, cluster: Any, number: int) -> None:
    options = CompareOptions(cluster=cluster, permutations=199)
    found = compare([runs / "zero", runs / "hybrid-0"], options)
    assert found.clusters == number
    assert {cell.n for cell in cells(found.systems[0])} == {number}
    smallest = 2 / 2**6 if cluster == "article" else 1 / 200
    assert found.systems[0].groups["multilingual"].p == pytest.approx(smallest)


def _renamed(name: str) -> Callable[[pa.Table], pa.Table]:
    """A change that gives every topic this paragraph, or `topic` its own."""

    def change(table: pa.Table) -> pa.Table:
        texts = table["topic"] if name == "topic" else pa.array([name] * len(table), pa.string())
        return table.set_column(table.schema.get_field_index("paragraph"), "paragraph", texts)

    return change


@pytest.mark.parametrize("metric", ["AP", "rank_distance", "AP@50"])
def test_paragraphs_are_resampled_where_all_runs_know_them(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str], metric: str
) -> None:
    options = (*pair, "--significance", "--metric", metric)
    found = as_json(capsys, *options)
    assert (found.cluster, found.clusters) == ("paragraph", 12)
    assert found.systems == as_json(capsys, *options, "--cluster", "paragraph").systems
    assert "The unit of resampling is the paragraph (12 of them)" in " ".join(found.methods)
    assert "12 paragraphs, 199 draws" in as_table(found, False, 120)
    # not known in one run; not known in any; every topic has one of its own; all share one
    for name, changed in (("", pair[1:]), ("", pair), ("topic", pair), ("one", pair)):
        for folder in changed:
            for file in ("scores.parquet", "ranks.parquet"):
                rewrite(folder, file, _renamed(name))
        found = as_json(capsys, *options)
        assert (found.cluster, found.clusters) == ("topic", 24)
        assert found.systems == as_json(capsys, *options, "--cluster", "topic").systems


def test_runs_that_differ_in_paragraphs_are_compared_by_topic(pair: tuple[Path, Path]) -> None:
    rewrite(pair[0], "scores.parquet", _renamed("one"))
    assert compare(pair, FEW).cluster == "topic"
    with pytest.raises(DataError, match="topic t0 is in cluster one, elsewhere in paragraph0"):
        compare(pair, CompareOptions(cluster="paragraph", permutations=99))


@pytest.mark.parametrize(
    ("seeds", "cluster", "permutations", "why"),
    [
        (1, "topic", 119, "with 119 permutations; it takes 120 or more"),
        (1, "topic", 120, None),
        (2, "topic", 239, "with 239 permutations; it takes 240 or more"),
        (2, "topic", 240, None),
        (1, "article", 199, "as 6 articles have 2^6 sign flips; take smaller units"),
        (1, "paragraph", 5_000, None),
    ],
)
def test_a_correction_that_can_show_nothing_is_warned_of(
    runs: Path, seeds: int, cluster: Any, permutations: int, why: str | None
) -> None:
    folders = [runs / "zero", *(runs / f"hybrid-{seed}" for seed in range(seeds))]
    options = CompareOptions(cluster=cluster, permutations=permutations, correction="holm")
    found = compare(folders, options)
    start = "holm can bring none of the 6 cross-lingual settings below 0.05 "
    warned = [line for line in found.warnings if line.startswith("holm")]
    assert warned == ([f"{start}{why}, or maxt"] if why else [])
    for name, cell in found.systems[0].settings.items() if why else ():
        assert cell.p_adjusted >= 0.05 or parse_setting(name).kind != "cross_lingual"
    others = [replace(options, correction=name) for name in ("maxt", "bh")]
    assert not any("can bring none" in str(compare(folders, one).warnings) for one in others)


def test_seeds_of_a_recipe_are_one_system(runs: Path) -> None:
    folders = [runs / "zero", *(runs / f"hybrid-{seed}" for seed in (2, 0, 1))]
    found = compare(folders, CompareOptions(permutations=999))
    (entry,) = found.systems
    assert (entry.system, entry.seeds) == ("hybrid@scratch:tiny", (0, 1, 2))
    assert entry.test == "bootstrap of seeds and clusters"
    means = [
        metrics_of(runs / f"hybrid-{seed}")["retrieval"]["multilingual"]["macro"]["AP"]
        for seed in range(3)
    ]
    assert entry.groups["multilingual"].system == pytest.approx(np.mean(means), abs=1e-14)
    assert any("fewer than 5 seeds understate the interval" in line for line in found.warnings)
    assert any("Owen 2007" in sentence for sentence in found.methods)
    for cell in cells(entry):
        assert 0 < cell.p <= cell.p_adjusted <= 1
        assert cell.interval[0] <= cell.difference <= cell.interval[1]


def test_seeds_that_agree_have_p_one(runs: Path, tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path / f"mono-{seed}", "mono", seed)
    folders = [runs / "zero", *(tmp_path / f"mono-{seed}" for seed in range(3))]
    (entry,) = compare(folders, FEW).systems
    assert {(cell.p, cell.p_adjusted) for cell in cells(entry)} == {(1, 1)}


def test_other_settings_make_another_system(runs: Path, tmp_path: Path) -> None:
    other = make_run(
        tmp_path / "alpha", "hybrid", 1, quality=0.3, settings={"retrieval": {"depth": 50}}
    )
    found = compare([runs / "hybrid-0", other], CompareOptions(significance=False))
    assert found.systems[0].label == "alpha"
    again = make_run(tmp_path / "again", "hybrid", 0, quality=0.3)
    found = compare([runs / "zero", runs / "hybrid-0", again], CompareOptions(significance=False))
    assert [entry.system for entry in found.systems] == [
        "hybrid@scratch:tiny#0 (hybrid-0)",
        "hybrid@scratch:tiny#0 (again)",
    ]


def test_several_systems_have_tukey(runs: Path) -> None:
    found = compare([runs / "zero", runs / "mono", runs / "hybrid-0"], FEW)
    pairs = found.tukey.groups["multilingual"]
    assert [(pair.system, pair.other) for pair in pairs] == [
        ("mono@scratch:tiny#0", "zero-shot@scratch:tiny#0"),
        ("hybrid@scratch:tiny#0", "zero-shot@scratch:tiny#0"),
        ("hybrid@scratch:tiny#0", "mono@scratch:tiny#0"),
    ]
    for entry, pair in zip(found.systems, pairs, strict=False):
        assert pair.difference == pytest.approx(entry.groups["multilingual"].difference)
    assert "hybrid − mono" in as_table(found, False, 120)
    assert "tukey" not in compare([runs / "zero", runs / "mono"], FEW)


def test_further_tests_and_margin_are_there_on_request(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_json(capsys, runs / "zero", runs / "hybrid-0", "--significance", "--also",
                    "t,wilcoxon", "--margin", "0.5")  # fmt: skip
    for cell in cells(found.systems[0]):
        assert None not in (cell.t, cell.wilcoxon)
        assert cell.equivalence.equivalent == 1 / 200
    arguments = ["compare", str(runs / "zero"), str(runs / "mono"), "--significance", "--cluster",
                 "article", "--also", "t", "--permutations", "99"]  # fmt: skip
    assert run_command(arguments) == 0
    captured = capsys.readouterr()
    assert "t of mono: assumptions fail in 15 of 15 tests" in captured.err
    assert "Tests on request" in captured.out


def test_without_significance_nothing_is_tested(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_json(capsys, runs / "zero", runs / "mono")
    assert found.permutations is None
    for cell in cells(found.systems[0]):
        assert cell.p is cell.p_adjusted is None
        assert cell.interval == (None, None)
        assert cell.d_z is not None
    text = as_table(found, True, 120)
    assert "Nothing was tested" in text
    assert "interval" not in text


def test_ranks_of_a_lexical_run_are_warned_of(tmp_path: Path) -> None:
    make_run(tmp_path / "zero")
    make_run(tmp_path / "bm25", "bm25", noise=3, system="bm25@lucene#0")
    make_run(tmp_path / "mono", "mono", noise=2)
    options = CompareOptions(significance=False)

    def warned(*names: str) -> list[str]:
        found = compare([tmp_path / name for name in names], options).warnings
        return [warning for warning in found if "ranked by id" in warning]

    (warning,) = warned("zero", "bm25")
    assert warning.startswith("what bm25 does not match")
    assert not warned("zero", "mono")
