"""`biasbench compare`: what it prints, and what it refuses."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from bias_bench.cli import run_command
from bias_bench.report.comparison_forms import TSV_COLUMNS, as_latex, as_table, as_tsv
from bias_bench.significance.comparison import compare
from bias_bench.significance.document import Omitted
from bias_bench.significance.options import CompareOptions
from tests.support.compared import FEW, as_json, cells, changed
from tests.support.comparisons import make_run, metrics_of, rewrite
from tests.support.runs import run


def one_line(capsys: pytest.CaptureFixture[str], code: int, *arguments: str | Path) -> str:
    """The error of a command that must fail with this exit code and print nothing else."""
    assert run_command(["compare", *map(str, arguments)]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    (error,) = captured.err.splitlines()
    return error


def test_help_explains_and_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["compare", "--help"]) == 0
    text = capsys.readouterr().out
    assert "biasbench compare runs/mono runs/hybrid" in text
    assert "same_language_first" in text


def test_tsv_has_a_row_for_every_setting(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(runs / "zero"), str(runs / "mono"), str(runs / "hybrid-0")]
    assert run_command(["compare", *arguments, "--significance", "--permutations", "99",
                        "--format", "tsv"]) == 0  # fmt: skip
    head, *rows = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert tuple(head) == TSV_COLUMNS
    assert {len(row) for row in rows} == {len(TSV_COLUMNS)}
    assert len(rows) == 2 * (3 + 12)
    expected = compare([Path(name) for name in arguments], CompareOptions(permutations=99))
    cell = expected.systems[1].settings["en-th"]
    (row,) = [row for row in rows if row[0].startswith("hybrid") and row[2] == "en-th"]
    assert float(row[head.index("difference")]) == cell.difference
    assert float(row[head.index("high")]) == cell.interval[1]
    assert int(row[head.index("n")]) == 12


@pytest.mark.parametrize("all_settings", [False, True])
def test_latex_escapes_everything(runs: Path, tmp_path: Path, all_settings: bool) -> None:
    hostile = make_run(tmp_path / "a_b%c&d$#{}~^\\", "a_b%c&d", quality=0.3)
    found = compare([runs / "zero", hostile], FEW)
    found = changed(found, lambda c: c["systems"][0].update(label="a_b%c&d$#{}~^\\<"))
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
    settings = found.systems[0].settings
    ordered = sorted(
        (cell.difference, name) for name, cell in settings.items() if name.count("-") == 1
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
    names = {"label": "[red]x[/red]", "system": "a\tb\nc"}
    found = changed(found, lambda content: content["systems"][0].update(names))
    assert "[red]x[/red]" in as_table(found, True, 200)
    assert "a b c\tmono" in as_tsv(found)


def test_too_few_runs(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing to compare: given is one run" in one_line(capsys, 2, runs / "zero")
    seeds = [runs / "hybrid-0", runs / "hybrid-1"]
    assert "given is 2 seeds of one system" in one_line(capsys, 2, *seeds)
    assert "no such file" not in one_line(capsys, 3, runs / "zero", runs / "none")


@pytest.mark.parametrize(
    ("manifest", "code", "message"),
    [
        ({"benchmark": "other"}, 3, "is a run of other, but"),
        ({"collection": "1" * 64}, 3, "was run on another version of made-up"),
        ({"status": "running"}, 1, "the run is not complete (running); finish it"),
        ({"schema": 2}, 1, "schema 2 is not known"),
        ({"seeds": []}, 3, "seeds: list should have at least 1 item"),
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
    assert found.omitted == Omitted(topics=4, settings=("th", "en-th"), cells=0, missing=0)
    assert "left out: 2 settings that not all runs have (th, en-th)" in found.warnings[0]
    assert "left out: 4 topics" in found.warnings[1]
    entry = found.systems[0]
    assert entry.groups["cross_lingual"].settings == 5
    assert "th" not in entry.settings
    assert "2 settings, 4 topics" in " ".join(found.methods)


def test_one_topic_tests_nothing_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, quality in (("a", 0.0), ("b", 1.0)):
        make_run(tmp_path / name, name, topics=["t"], quality=quality)
    arguments = (tmp_path / "a", tmp_path / "b", "--significance", "--margin", "0.1", "--also",
                 "t,wilcoxon")  # fmt: skip
    found = as_json(capsys, *arguments, "--report", tmp_path / "page.html")
    assert "all topics are one topic: nothing can be tested" in found.warnings[0]
    for cell in cells(found.systems[0]):
        assert (cell.p, cell.interval, cell.d_z, cell.n) == (1, (None, None), None, 1)
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


def used(query_prefix: str = "", length: int = 512, **encoding: Any) -> dict[str, Any]:
    """The record of an encoder that was used in this way."""
    profile = {
        "pooling": "mean",
        "query_prefix": query_prefix,
        "candidate_prefix": "",
        "query_max_length": length,
        "candidate_max_length": 512,
    }
    return {"encoding": {"precision": "float32", "profile": profile, **encoding}}


def test_one_encoder_used_in_two_ways_is_warned_of(tmp_path: Path) -> None:
    weights = {"weights": {"model.safetensors": "1" * 64}}
    plain = make_run(tmp_path / "plain", **used(), **weights)
    queries = make_run(tmp_path / "queries", "mono", **used("query: ", 128), **weights)
    dot = make_run(
        tmp_path / "dot", "hybrid", **used(similarity="dot"), **weights,
        system="hybrid@path/to/copy#0",
    )  # fmt: skip
    other = make_run(
        tmp_path / "other", "cross", **used("Q: "), weights={"model.safetensors": "2" * 64}
    )
    unknown = make_run(tmp_path / "unknown", "mixed")

    def warned(*folders: Path) -> list[str]:
        found = compare(folders, CompareOptions(significance=False)).warnings
        return [line for line in found if " differ in " in line]

    (line,) = warned(plain, queries)
    assert line == (
        "the runs of scratch:tiny differ in query_prefix ('' in plain, 'query: ' in queries), "
        "query_max_length (128 in queries, 512 in plain), which changes what it finds; give all "
        "the same (--set encoding.…) to compare anything else"
    )
    (line,) = warned(plain, dot, other)
    assert "differ in similarity ('cosine' in plain, 'dot' in dot), which" in line
    assert not warned(plain, other)  # another encoder, as its makers mean it
    assert not warned(plain, unknown)


def test_other_languages_are_named_with_what_to_do(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_run(tmp_path / "other", "mono", languages=("de", "en", "th"), collection="1" * 64)
    early = make_run(tmp_path / "early", "cross", languages=("en", "th"), collection="2" * 64)
    manifest = json.loads((early / "manifest.json").read_text("utf-8"))
    del manifest["languages"]
    (early / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    scored = make_run(
        tmp_path / "scored", "x", languages=("en", "th"), collection="3" * 64, kind="external",
        depth=10,
    )  # fmt: skip
    here = f"ar only in {runs / 'zero'}"
    error = one_line(capsys, 3, runs / "zero", other)
    assert (
        f"has other languages of made-up than {runs / 'zero'} (de only in {other}; {here})" in error
    )
    assert error.endswith("repeat both with --set 'languages=[en, th]'")
    assert f" ({here}), and so other pools; repeat {runs / 'zero'} with --set" in one_line(
        capsys, 3, runs / "zero", early
    )
    error = one_line(capsys, 3, runs / "zero", scored)
    assert error.endswith(f" ({here}), and so other pools; compare runs of the same ones")


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
    (entry,) = found.systems
    assert (found.baseline, entry.system) == (
        "zero-shot@scratch:tiny#0",
        "hybrid@scratch:tiny#0",
    )
    assert (found.topics, found.cluster) == (60, "paragraph")
    assert len(entry.settings) == (132 if metric == "AP" else 11)
    macros = [metrics_of(folder) for folder in folders[:2]]
    for kind, cell in entry.groups.items():
        values = [
            part["retrieval"][kind]["macro"]["AP"]
            if metric == "AP"
            else part["bias"]["rank_distance"]["macro"]
            for part in macros
        ]
        assert cell.difference == pytest.approx(values[1] - values[0], abs=1e-12)
    assert page.stat().st_size < 2_000_000
    found = as_json(capsys, *folders, "--significance", "--metric", metric)
    assert found.systems[0].seeds == (0, 1)
    assert any("demonstration" in line for line in found.warnings)
