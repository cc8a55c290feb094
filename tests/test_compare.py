"""`biasbench compare`: the contract, every form, what cannot be compared, seeds, families."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from bias_bench.bias.catalogue import FIRST_RESULT, QUERY_METRICS
from bias_bench.cli import run_command
from bias_bench.cli.comparison_text import TSV_COLUMNS, as_latex, as_table, as_tsv
from bias_bench.errors import DataError
from bias_bench.evaluation.settings import parse_setting
from bias_bench.significance.comparison import compare
from bias_bench.significance.corrections import holm
from bias_bench.significance.measures import BIAS_MEASURES
from bias_bench.significance.options import CompareOptions
from tests.comparisons import make_run, metrics_of, rewrite
from tests.runs import run

CONTRACT = {"baseline", "system", "difference", "interval", "p", "p_adjusted", "d_z", "wins",
            "ties", "losses", "n"}  # fmt: skip
FEW = CompareOptions(permutations=199)
KINDS = ["monolingual", "cross_lingual", "multilingual"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folders to read: three recipes, and two more seeds of one."""
    out = tmp_path_factory.mktemp("runs")
    make_run(out / "zero")
    make_run(out / "hybrid-0", "hybrid", quality=0.5)
    make_run(out / "hybrid-1", "hybrid", 1, quality=0.4, noise=2)
    make_run(out / "hybrid-2", "hybrid", 2, quality=0.45, noise=3)
    make_run(out / "mono", "mono", quality=0.2, noise=4)
    return out


@pytest.fixture
def pair(runs: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Copies of two runs to change."""
    for name in ("zero", "hybrid-0"):
        shutil.copytree(runs / name, tmp_path / name)
    return tmp_path / "zero", tmp_path / "hybrid-0"


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    few = ("--permutations", "199") if "--significance" in arguments else ()
    assert run_command(["compare", *map(str, arguments), *few, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def one_line(capsys: pytest.CaptureFixture[str], code: int, *arguments: str | Path) -> str:
    """The error of a command that must fail with this exit code and print nothing else."""
    assert run_command(["compare", *map(str, arguments)]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    (error,) = captured.err.splitlines()
    return error


def cells(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [*entry["groups"].values(), *entry["settings"].values()]


def test_json_has_the_contracts_shape(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, runs / "zero", runs / "hybrid-0", "--significance")
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
    for cell in cells(entry):
        assert cell.keys() >= CONTRACT
        assert cell["difference"] == cell["system"] - cell["baseline"]
        assert cell["interval"][0] <= cell["difference"] <= cell["interval"][1]
        assert 0 < cell["p"] <= cell["p_adjusted"] <= 1
        assert cell["wins"] + cell["ties"] + cell["losses"] == cell["n"] == 12


@pytest.mark.parametrize("metric", ["AP", "nDCG@10", "RR", "R@1"])
def test_group_means_are_those_of_metrics_json(runs: Path, metric: str) -> None:
    found = compare([runs / "zero", runs / "mono"], CompareOptions(metric, significance=False))
    macros = [metrics_of(runs / name)["retrieval"] for name in ("zero", "mono")]
    for kind, cell in found["systems"][0]["groups"].items():
        zero, mono = (part[kind]["macro"][metric] for part in macros)
        assert cell["baseline"] == pytest.approx(zero, abs=1e-14)
        assert cell["difference"] == pytest.approx(mono - zero, abs=1e-14)
    for name, cell in found["systems"][0]["settings"].items():
        mean = macros[1][parse_setting(name).kind]["per_setting"][name][metric]
        assert cell["system"] == pytest.approx(mean, abs=1e-14)


def test_group_means_are_those_of_metrics_json_for_partly_parallel_topics(tmp_path: Path) -> None:
    folders = [
        make_run(tmp_path / name, name, quality=quality, partly=True)
        for name, quality in (("a", 0.0), ("b", 0.4))
    ]
    found = compare(folders, FEW)
    assert found["omitted"]["missing"] > 0
    assert (found["omitted"]["cells"], found["warnings"][1:]) == (0, [])
    macros = [metrics_of(folder)["retrieval"] for folder in folders]
    for kind, cell in found["systems"][0]["groups"].items():
        expected = macros[1][kind]["macro"]["AP"] - macros[0][kind]["macro"]["AP"]
        assert cell["difference"] == pytest.approx(expected, abs=1e-14)
        assert cell["interval"][0] < cell["difference"] < cell["interval"][1]
    assert found["systems"][0]["settings"]["en-th"]["n"] == 8


def test_bias_metrics_are_compared_in_the_pool_alone(runs: Path) -> None:
    options = CompareOptions("rank_distance", permutations=99)
    found = compare([runs / "zero", runs / "hybrid-0"], options)
    (entry,) = found["systems"]
    assert list(entry["groups"]) == ["multilingual"]
    assert list(entry["settings"]) == ["ar-all", "en-all", "th-all"]
    macros = [
        metrics_of(runs / name)["bias"]["rank_distance"]["macro"] for name in ("zero", "hybrid-0")
    ]
    cell = entry["groups"]["multilingual"]
    assert cell["difference"] == pytest.approx(macros[1] - macros[0], abs=1e-12)
    assert found["direction"] == "lower"
    assert cell["difference"] < 0
    assert cell["wins"] > cell["losses"]
    assert "beside it, pooled" in as_table(found, False, 120)


@pytest.mark.parametrize("name", sorted(QUERY_METRICS))
def test_every_bias_metric_has_a_direction_and_compares(runs: Path, name: str) -> None:
    found = compare([runs / "zero", runs / "hybrid-0"], CompareOptions(name, permutations=19))
    assert set(BIAS_MEASURES) == {*QUERY_METRICS, FIRST_RESULT}
    assert found["better"] in as_table(found, False, 200)


def test_a_metric_without_direction_says_higher_and_lower(runs: Path) -> None:
    options = CompareOptions("target_removal", permutations=19, margin=0.1)
    found = compare([runs / "zero", runs / "hybrid-0"], options)
    cell = found["systems"][0]["groups"]["multilingual"]
    assert cell["equivalence"]["no_worse"] is None
    text = as_table(found, False, 120)
    assert "neither higher nor lower is better; without bias it is 0" in text
    assert "higher/equal/lower" in text


def test_families_are_the_settings_of_a_kind_and_the_macro_averages(runs: Path) -> None:
    options = CompareOptions(permutations=199, correction="holm")
    (entry,) = compare([runs / "zero", runs / "mono"], options)["systems"]
    for kind in KINDS:
        family = [
            cell for name, cell in entry["settings"].items() if parse_setting(name).kind == kind
        ]
        expected = holm(np.array([cell["p"] for cell in family]))
        assert [cell["p_adjusted"] for cell in family] == expected.tolist()
    groups = [entry["groups"][kind] for kind in KINDS]
    expected = holm(np.array([cell["p"] for cell in groups]))
    assert [cell["p_adjusted"] for cell in groups] == expected.tolist()


def test_identical_runs_have_p_one(pair: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(pair[0], tmp_path / "same")
    for folders in ([pair[0], tmp_path / "same"], [pair[0], pair[0]]):
        options = CompareOptions(cluster="topic", permutations=99, also=("t", "wilcoxon"))
        (entry,) = compare(folders, options)["systems"]
        for cell in cells(entry):
            assert cell["p"] == cell["p_adjusted"] == 1
            assert cell["interval"] == cell["simultaneous"] == [0, 0]
            assert (cell["difference"], cell["d_z"], cell["ties"]) == (0, 0, 24)
            assert cell["t"]["p"] == cell["wilcoxon"]["p"] == 1


def test_the_same_seed_and_options_give_the_same_result(runs: Path) -> None:
    folders = [runs / "zero", runs / "mono"]
    assert compare(folders, FEW) == compare(folders, FEW)
    other = compare(folders, CompareOptions(permutations=199, seed=1))
    assert other["systems"] != compare(folders, FEW)["systems"]


def test_the_baseline_is_the_first_run_or_the_one_asked_for(runs: Path) -> None:
    folders = [runs / "zero", runs / "mono", runs / "hybrid-0"]
    options = CompareOptions(significance=False)
    found = compare(folders, options, runs / "mono")
    assert found["baseline"] == "mono@scratch:tiny#0"
    assert [entry["label"] for entry in found["systems"]] == ["zero-shot", "hybrid"]
    apart = compare([runs / "zero"], options, runs / "mono")
    assert apart["systems"][0] == found["systems"][0]


@pytest.mark.parametrize(("cluster", "number"), [("topic", 24), ("paragraph", 12), ("article", 6)])
def test_whole_clusters_are_the_unit(runs: Path, cluster: Any, number: int) -> None:
    options = CompareOptions(cluster=cluster, permutations=199)
    found = compare([runs / "zero", runs / "hybrid-0"], options)
    assert found["clusters"] == number
    assert {cell["n"] for cell in cells(found["systems"][0])} == {number}
    smallest = 2 / 2**6 if cluster == "article" else 1 / 200
    assert found["systems"][0]["groups"]["multilingual"]["p"] == pytest.approx(smallest)


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
    assert (found["cluster"], found["clusters"]) == ("paragraph", 12)
    assert found["systems"] == as_json(capsys, *options, "--cluster", "paragraph")["systems"]
    assert "The unit of resampling is the paragraph (12 of them)" in " ".join(found["methods"])
    assert "12 paragraphs, 199 draws" in as_table(found, False, 120)
    # not known in one run; not known in any; every topic has one of its own; all share one
    for name, changed in (("", pair[1:]), ("", pair), ("topic", pair), ("one", pair)):
        for folder in changed:
            for file in ("scores.parquet", "ranks.parquet"):
                rewrite(folder, file, _renamed(name))
        found = as_json(capsys, *options)
        assert (found["cluster"], found["clusters"]) == ("topic", 24)
        assert found["systems"] == as_json(capsys, *options, "--cluster", "topic")["systems"]


def test_runs_that_differ_in_paragraphs_are_compared_by_topic(pair: tuple[Path, Path]) -> None:
    rewrite(pair[0], "scores.parquet", _renamed("one"))
    assert compare(pair, FEW)["cluster"] == "topic"
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
    warned = [line for line in found["warnings"] if line.startswith("holm")]
    assert warned == ([f"{start}{why}, or maxt"] if why else [])
    for name, cell in found["systems"][0]["settings"].items() if why else ():
        assert cell["p_adjusted"] >= 0.05 or parse_setting(name).kind != "cross_lingual"
    others = [replace(options, correction=name) for name in ("maxt", "bh")]
    assert not any("can bring none" in str(compare(folders, one)["warnings"]) for one in others)


def test_seeds_of_a_recipe_are_one_system(runs: Path) -> None:
    folders = [runs / "zero", *(runs / f"hybrid-{seed}" for seed in (2, 0, 1))]
    found = compare(folders, CompareOptions(permutations=999))
    (entry,) = found["systems"]
    assert (entry["system"], entry["seeds"]) == ("hybrid@scratch:tiny", [0, 1, 2])
    assert entry["test"] == "bootstrap of seeds and clusters"
    means = [
        metrics_of(runs / f"hybrid-{seed}")["retrieval"]["multilingual"]["macro"]["AP"]
        for seed in range(3)
    ]
    assert entry["groups"]["multilingual"]["system"] == pytest.approx(np.mean(means), abs=1e-14)
    assert any("fewer than 5 seeds understate the interval" in line for line in found["warnings"])
    assert any("Owen 2007" in sentence for sentence in found["methods"])
    for cell in cells(entry):
        assert 0 < cell["p"] <= cell["p_adjusted"] <= 1
        assert cell["interval"][0] <= cell["difference"] <= cell["interval"][1]


def test_seeds_that_agree_have_p_one(runs: Path, tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path / f"mono-{seed}", "mono", seed)
    folders = [runs / "zero", *(tmp_path / f"mono-{seed}" for seed in range(3))]
    (entry,) = compare(folders, FEW)["systems"]
    assert {(cell["p"], cell["p_adjusted"]) for cell in cells(entry)} == {(1, 1)}


def test_other_settings_make_another_system(runs: Path, tmp_path: Path) -> None:
    other = make_run(
        tmp_path / "alpha", "hybrid", 1, quality=0.3, settings={"retrieval": {"depth": 50}}
    )
    found = compare([runs / "hybrid-0", other], CompareOptions(significance=False))
    assert found["systems"][0]["label"] == "alpha"
    again = make_run(tmp_path / "again", "hybrid", 0, quality=0.3)
    found = compare([runs / "zero", runs / "hybrid-0", again], CompareOptions(significance=False))
    assert [entry["system"] for entry in found["systems"]] == [
        "hybrid@scratch:tiny#0 (hybrid-0)",
        "hybrid@scratch:tiny#0 (again)",
    ]


def test_several_systems_have_tukey(runs: Path) -> None:
    found = compare([runs / "zero", runs / "mono", runs / "hybrid-0"], FEW)
    pairs = found["tukey"]["groups"]["multilingual"]
    assert [(pair["system"], pair["other"]) for pair in pairs] == [
        ("mono@scratch:tiny#0", "zero-shot@scratch:tiny#0"),
        ("hybrid@scratch:tiny#0", "zero-shot@scratch:tiny#0"),
        ("hybrid@scratch:tiny#0", "mono@scratch:tiny#0"),
    ]
    for entry, pair in zip(found["systems"], pairs, strict=False):
        assert pair["difference"] == pytest.approx(entry["groups"]["multilingual"]["difference"])
    assert "hybrid − mono" in as_table(found, False, 120)
    assert "tukey" not in compare([runs / "zero", runs / "mono"], FEW)


def test_further_tests_and_margin_are_there_on_request(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_json(capsys, runs / "zero", runs / "hybrid-0", "--significance", "--also",
                    "t,wilcoxon", "--margin", "0.5")  # fmt: skip
    for cell in cells(found["systems"][0]):
        assert cell["t"].keys() == cell["wilcoxon"].keys() == {"statistic", "p", "flags"}
        assert cell["equivalence"]["equivalent"] == 1 / 200
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
    assert found["permutations"] is None
    for cell in cells(found["systems"][0]):
        assert cell["p"] is cell["p_adjusted"] is None
        assert cell["interval"] == [None, None]
        assert cell["d_z"] is not None
    text = as_table(found, True, 120)
    assert "Nothing was tested" in text
    assert "interval" not in text


def test_help_explains_and_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["compare", "--help"]) == 0
    text = capsys.readouterr().out
    assert "biasbench compare runs/mono runs/hybrid" in text
    assert "same_language_first" in text


# forms


def test_tsv_has_a_row_for_every_setting(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(runs / "zero"), str(runs / "mono"), str(runs / "hybrid-0")]
    assert run_command(["compare", *arguments, "--significance", "--permutations", "99",
                        "--format", "tsv"]) == 0  # fmt: skip
    head, *rows = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert tuple(head) == TSV_COLUMNS
    assert {len(row) for row in rows} == {len(TSV_COLUMNS)}
    assert len(rows) == 2 * (3 + 12)
    expected = compare([Path(name) for name in arguments], CompareOptions(permutations=99))
    cell = expected["systems"][1]["settings"]["en-th"]
    (row,) = [row for row in rows if row[0].startswith("hybrid") and row[2] == "en-th"]
    assert float(row[head.index("difference")]) == cell["difference"]
    assert float(row[head.index("high")]) == cell["interval"][1]
    assert int(row[head.index("n")]) == 12


@pytest.mark.parametrize("all_settings", [False, True])
def test_latex_escapes_everything(runs: Path, tmp_path: Path, all_settings: bool) -> None:
    hostile = make_run(tmp_path / "a_b%c&d$#{}~^\\", "a_b%c&d", quality=0.3)
    found = compare([runs / "zero", hostile], FEW)
    found["systems"][0]["label"] = "a_b%c&d$#{}~^\\<"
    text = as_latex(found, all_settings)
    assert r"a\_b\%c\&d\$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and "caption" not in line]
    for row in rows:
        assert len(re.findall(r"(?<!\\)&", row)) == rows[0].count(" & ")
    assert not re.search(r"(?<!\\)[_%#]", text)
    assert text.isascii()
    assert len(rows) == 1 + 3 + (12 if all_settings else 0)
    assert ("longtable" in text) == all_settings


@pytest.mark.parametrize("width", [80, 120, 200])
def test_table_names_the_best_and_the_worst(runs: Path, width: int) -> None:
    found = compare([runs / "zero", runs / "hybrid-0"], FEW)
    settings = found["systems"][0]["settings"]
    ordered = sorted(
        (cell["difference"], name) for name, cell in settings.items() if name.count("-") == 1
        and not name.endswith("all")
    )  # fmt: skip
    text = as_table(found, False, width)
    (line,) = [line for line in text.splitlines() if line.startswith("cross-lingual     ")][-1:]
    assert f"{ordered[-1][1]} +" in line
    assert f"{ordered[0][1]} " in line
    assert max(map(len, text.splitlines())) <= width
    everything = as_table(found, True, width)
    assert all(f"\n{name} " in everything for name in settings)
    assert "en-th" not in as_table(found, False, width).split("Settings (")[0]


def test_markup_in_names_is_text(runs: Path) -> None:
    found = compare([runs / "zero", runs / "mono", runs / "hybrid-0"], FEW)
    found["systems"][0]["label"] = "[red]x[/red]"
    assert "[red]x[/red]" in as_table(found, True, 200)
    found["systems"][0]["system"] = "a\tb\nc"
    assert "a b c\tmono" in as_tsv(found)


# what cannot be compared


def test_too_few_runs(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing to compare: given is one run" in one_line(capsys, 2, runs / "zero")
    seeds = [runs / "hybrid-0", runs / "hybrid-1"]
    assert "given is 2 seeds of one system" in one_line(capsys, 2, *seeds)
    assert "no such file" not in one_line(capsys, 1, runs / "zero", runs / "none")


@pytest.mark.parametrize(
    ("manifest", "code", "message"),
    [
        ({"benchmark": "other"}, 3, "is a run of other, but"),
        ({"collection": "1" * 64}, 3, "was run on another version of made-up"),
        ({"status": "running"}, 1, "the run is running, not complete; finish it"),
        ({"schema": 2}, 1, "schema 2 is not known"),
        ({"seeds": []}, 3, "manifest.json lacks"),
    ],
)
def test_runs_that_do_not_belong_together(
    runs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    manifest: dict[str, Any],
    code: int,
    message: str,
) -> None:
    other = make_run(tmp_path / "other", "mono", **manifest)
    assert message in one_line(capsys, code, runs / "zero", other, "--significance")


def test_no_common_topics(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = make_run(tmp_path / "other", "mono", topics=["x1", "x2"])
    error = one_line(capsys, 2, runs / "zero", other, "--significance")
    assert "share no topic in any setting" in error


def test_a_setting_that_one_run_lacks_is_left_out_and_counted(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_run(
        tmp_path / "other", "mono", without=["en-th", "th"], topics=[f"t{n}" for n in range(20)]
    )
    found = as_json(capsys, runs / "zero", other, "--significance")
    assert found["omitted"] == {"topics": 4, "settings": ["th", "en-th"], "cells": 0, "missing": 0}
    assert "left out: 2 settings that not all runs have (th, en-th)" in found["warnings"][0]
    assert "left out: 4 topics" in found["warnings"][1]
    entry = found["systems"][0]
    assert entry["groups"]["cross_lingual"]["settings"] == 5
    assert "th" not in entry["settings"]
    assert "2 settings, 4 topics" in " ".join(found["methods"])


def test_one_topic_tests_nothing_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, quality in (("a", 0.0), ("b", 1.0)):
        make_run(tmp_path / name, name, topics=["t"], quality=quality)
    arguments = (tmp_path / "a", tmp_path / "b", "--significance", "--margin", "0.1", "--also",
                 "t,wilcoxon")  # fmt: skip
    found = as_json(capsys, *arguments, "--report", tmp_path / "page.html")
    assert "all topics are one topic: nothing can be tested" in found["warnings"][0]
    for cell in cells(found["systems"][0]):
        assert (cell["p"], cell["interval"], cell["d_z"], cell["n"]) == (1, [None, None], None, 1)
    assert (tmp_path / "page.html").is_file()


def test_scores_without_the_metric(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(pair[1], "scores.parquet", lambda t: t.filter(pc.not_equal(t["metric"], "RR")))
    error = one_line(capsys, 2, *pair, "--metric", "RR")
    assert "hybrid-0: its scores hold no RR, but AP, AP@100" in error
    assert "unknown metric 'nDGC@10': did you mean 'nDCG@10'?" in one_line(
        capsys, 2, *pair, "--metric", "nDGC@10"
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_is_an_error_that_names_the_place(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str], value: float
) -> None:
    def spoil(table: pa.Table) -> pa.Table:
        hit = pc.and_(pc.equal(table["query"], "en:t3"), pc.equal(table["setting"], "en-th"))
        values = pc.if_else(hit, value, table["value"])
        return table.set_column(table.schema.get_field_index("value"), "value", values)

    rewrite(pair[1], "scores.parquet", spoil)
    error = one_line(capsys, 3, *pair, "--significance")
    assert f"the value of topic t3 in setting en-th is {value}; score the run again" in error


def test_damaged_and_missing_files(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (pair[1] / "scores.parquet").write_bytes(b"PAR1 no more")
    assert "scores.parquet: damaged" in one_line(capsys, 3, *pair)
    (pair[1] / "scores.parquet").unlink()
    assert "is this a complete run folder?" in one_line(capsys, 3, *pair)
    (pair[1] / "metrics.json").write_text('{"schema": 2}', encoding="utf-8")
    rank_based = one_line(capsys, 1, *pair, "--metric", "rank_distance")
    assert "schema 2 is not known" in rank_based
    (pair[1] / "experiment.yaml").unlink()
    assert "experiment.yaml: no such file" in one_line(capsys, 2, *pair)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--permutations", "0"], "permutations must be at least 1"),
        (["--seed", "-1"], "the seed must not be negative"),
        (["--confidence", "1.5"], "confidence must lie between 0.5 and 1"),
        (["--margin", "-1"], "the margin must be positive"),
        (["--margin", "nan"], "the margin must be positive"),
        (["--also", "t,wilcoxn"], "unknown test 'wilcoxn': did you mean 'wilcoxon'?"),
        (["--cluster", "query"], "query"),
        (["--report", "."], "is a folder"),
    ],
)
def test_bad_options(
    runs: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    folders = (runs / "zero", runs / "mono")
    assert message in one_line(capsys, 2, *folders, "--significance", *options)


def test_tests_need_significance(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = (runs / "zero", runs / "mono")
    assert "need --significance" in one_line(capsys, 2, *folders, "--also", "t")
    assert "need --significance" in one_line(capsys, 2, *folders, "--margin", "1")


def test_precision_demonstration_and_seeds_are_warned_of(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_run(tmp_path / "other", "mono", encoding={"precision": "bf16"}, demonstration=True)
    assert run_command(["compare", str(runs / "zero"), str(other)]) == 0
    error = capsys.readouterr().err
    assert (
        "warning: the runs differ in encoding precision (bf16 in other, float32 in zero)" in error
    )
    assert "made-up is a demonstration: too small for any claim" in error


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real runs of the embedded benchmark: untrained, and one recipe with two seeds."""
    out = tmp_path_factory.mktemp("real")
    assert run(out, "mini") == 0
    few = ("--set", "training.steps=3", "--set", "training.batch_size=8")
    assert run(out, "mini", "--recipe", "hybrid", "--seed", "0", "--seed", "1", *few) == 0
    return out / "runs"


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["AP", "rank_distance"])
def test_real_runs_compare(real: Path, capsys: pytest.CaptureFixture[str], metric: str) -> None:
    folders = [real / f"mini-{name}" for name in ("zero-shot-0", "hybrid-0", "hybrid-1")]
    page = real.parent / f"{metric}.html"
    found = as_json(capsys, *folders[:2], "--significance", "--metric", metric, "--report", page)
    (entry,) = found["systems"]
    assert (found["baseline"], entry["system"]) == (
        "zero-shot@scratch:tiny#0",
        "hybrid@scratch:tiny#0",
    )
    assert (found["topics"], found["cluster"]) == (60, "paragraph")
    assert len(entry["settings"]) == (132 if metric == "AP" else 11)
    macros = [metrics_of(folder) for folder in folders[:2]]
    for kind, cell in entry["groups"].items():
        values = [
            part["retrieval"][kind]["macro"]["AP"]
            if metric == "AP"
            else part["bias"]["rank_distance"]["macro"]
            for part in macros
        ]
        assert cell["difference"] == pytest.approx(values[1] - values[0], abs=1e-12)
    assert page.stat().st_size < 2_000_000
    found = as_json(capsys, *folders, "--significance", "--metric", metric)
    assert found["systems"][0]["seeds"] == [0, 1]
    assert any("demonstration" in line for line in found["warnings"])
