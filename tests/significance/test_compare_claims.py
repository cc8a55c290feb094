"""What a comparison claims and what it warns of: units, reach of p, families, missing results."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from bias_bench.data.units import default_unit
from bias_bench.evaluation.settings import parse_setting
from bias_bench.report.comparison_page import command_of, render_comparison_page
from bias_bench.significance.comparison import compare
from bias_bench.significance.document import Unanswered
from bias_bench.significance.options import CompareOptions
from bias_bench.significance.parametric import wilcoxon_test
from tests.support.compared import FEW, as_json, cells
from tests.support.comparisons import make_run
from tests.support.external_rankings import Files
from tests.support.helpers import qrels_text, run_text

MANY = [f"t{number:03}" for number in range(80)]  # in 40 paragraphs and 20 articles


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    out = tmp_path_factory.mktemp("many")
    return [
        make_run(out / f"{number}", quality=quality, noise=number, topics=topics)
        for number, (quality, topics) in enumerate(((0.0, MANY), (0.2, MANY), (0.2, MANY[:-4])))
    ]


def of_groups(*sizes: int) -> list[tuple[str, str]]:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return [(f"t{topic}", f"g{group}") for topic, group in enumerate(groups)]


@pytest.mark.parametrize(
    ("articles", "paragraphs", "unit"),
    [
        (of_groups(*[2] * 20), of_groups(*[1] * 40), "article"),
        (of_groups(*[3] * 19), of_groups(*[1] * 56, 1), "topic"),
        (of_groups(*[4] * 19), of_groups(*[2] * 38), "paragraph"),
        (of_groups(*[1] * 40), of_groups(*[2] * 20), "paragraph"),
        ([(f"t{n}", "") for n in range(40)], of_groups(*[2] * 20), "paragraph"),
        ([("t0", "a"), ("t0", "b"), *of_groups(*[2] * 30)[1:]], of_groups(*[1] * 60), "topic"),
        (of_groups(*[2] * 20), [], "article"),
        ([], [], "topic"),
    ],
)
def test_the_unit_is_the_largest_that_is_known_and_numerous_enough(
    articles: list[tuple[str, str]], paragraphs: list[tuple[str, str]], unit: str
) -> None:
    known = {"article": articles, "paragraph": paragraphs}
    assert default_unit(lambda name: known[name]) == unit


def test_twenty_articles_are_resampled_and_nineteen_are_not(many: list[Path]) -> None:
    found = compare(many[:2], FEW)
    assert (found.cluster, found.clusters) == ("article", 20)
    assert {cell.n for cell in cells(found.systems[0])} == {20}
    asked = compare(many[:2], CompareOptions(cluster="article", permutations=199))
    assert asked.systems == found.systems
    fewer = compare([many[2], many[2]], FEW)
    assert (fewer.cluster, fewer.clusters) == ("paragraph", 38)
    assert "Paragraphs of one article are taken as independent" in " ".join(fewer.methods)
    assert "Paragraphs of one article are taken" in render_comparison_page(fewer)
    assert "Paragraphs of one article are taken" not in render_comparison_page(found)


@pytest.mark.parametrize("correction", ["maxt", "holm", "bh"])
@pytest.mark.parametrize(
    ("cluster", "topics", "permutations", "why"),
    [
        ("article", 20, 10_000, "5 articles have 2^5 sign flips, so p is 0.0625 or more"),
        ("article", 8, 999, "2 articles have 2^2 sign flips, so p is 0.5 or more"),
        ("topic", 24, 10, "with 10 permutations it is 0.0909 or more; take 20 or more"),
        ("topic", 24, 19, "with 19 permutations it is 0.05 or more"),
        ("topic", 24, 38, None),
        ("topic", 24, 999, None),
        ("article", 24, 999, None),  # 6 of them: p = 1/32
    ],
)
def test_a_p_that_cannot_fall_below_the_level_is_warned_of_by_every_method(
    tmp_path: Path, correction: Any, cluster: Any, topics: int, permutations: int, why: str | None
) -> None:
    names = [f"t{number}" for number in range(topics)]
    pair = [
        make_run(tmp_path / str(quality), noise=7, quality=quality, topics=names)
        for quality in (0, 2)
    ]
    options = CompareOptions(cluster=cluster, correction=correction, permutations=permutations)
    found = compare(pair, options)
    warned = [line for line in found.warnings if line.startswith("no p below 0.05 is possible")]
    least = min(cell.p_adjusted for cell in cells(found.systems[0]))
    if why:
        assert len(warned) == 1
        assert why in warned[0]
        assert least >= 0.05
        assert not any(line.startswith("holm can bring") for line in found.warnings)
    else:
        assert warned == []
        few = "38 permutations are too few for intervals of 0.95: take 39 or more"
        assert (few in found.warnings) == (permutations == 38)
        interval = found.systems[0].groups["multilingual"].interval
        assert (interval == (None, None)) == (permutations == 38)
        assert correction == "holm" or least < 0.05


def test_too_few_units_have_no_interval_in_any_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"t{number}" for number in range(12)]
    pair = [
        make_run(tmp_path / f"{quality}", noise=7, quality=quality, topics=names)
        for quality in (0, 2)
    ]
    options = ("--significance", "--cluster", "article", "--margin", "0.9")
    found = as_json(capsys, *pair, *options)
    for cell in cells(found.systems[0]):
        assert cell.interval == cell.simultaneous == (None, None)
        assert cell.p >= 1 / 4
        assert cell.equivalence.equivalent >= 1 / 8
        assert cell.equivalence.no_worse >= 1 / 8
    assert "only 3 articles to resample" in " ".join(found.warnings)
    assert "The differences that the sign flips do not reject".lower() in str(found.methods)


def test_a_setting_with_too_few_units_is_named(tmp_path: Path) -> None:
    pair = [
        make_run(tmp_path / str(noise), noise=noise, partly=True, topics=MANY[:12])
        for noise in (1, 2)
    ]
    found = compare(pair, CompareOptions(cluster="topic", permutations=999))
    (warning,) = [line for line in found.warnings if "too few topics" in line]
    settings = found.systems[0].settings
    few = [name for name, cell in settings.items() if cell.n < 6]
    assert f"in {len(few)} of 12 settings" in warning
    assert few[0] in warning
    assert all(settings[name].interval == (None, None) for name in few)
    assert all(settings[name].p >= 1 / 2 ** (settings[name].n - 1) for name in settings)


def test_few_units_and_several_seeds_claim_no_more_than_one_seed_could(tmp_path: Path) -> None:
    names = [f"t{number}" for number in range(12)]
    folders = [
        make_run(tmp_path / f"{recipe}{seed}", recipe, seed, noise=seed, quality=q, topics=names)
        for recipe, q in (("zero-shot", 0), ("hybrid", 3))
        for seed in range(3)
    ]
    options = CompareOptions(cluster="article", permutations=999, margin=0.01)
    (entry,) = compare(folders, options).systems
    assert entry.test == "bootstrap of seeds and clusters"
    for cell in cells(entry):
        assert cell.p >= 1 / 4
        assert cell.interval == cell.simultaneous == (None, None)
        assert cell.equivalence.no_worse >= 1 / 8


def test_wilcoxon_shows_no_more_than_its_signs_can() -> None:
    """Scipy's normal approximation, taken for ties, gives 0.041 for five equal signs."""
    values = np.array([1.0, 1.0, 2.0, 2.0, 2.0])[:, None]
    found = wilcoxon_test(values, np.arange(5))
    assert found.p[0] == 1 / 16
    assert "no p below 0.0625 is possible" in found.flags[0][-1]


def _columns(baseline: Path, system: Path) -> dict[str, dict[str, float]]:
    """AP differences summed by article, by setting and macro average, read without the package."""
    sums: dict[str, dict[str, float]] = {}
    for sign, folder in ((1, system), (-1, baseline)):
        for row in pq.read_table(folder / "scores.parquet").to_pylist():
            if (row["scorer"], row["metric"]) == ("exact", "AP"):
                kind = parse_setting(row["setting"]).kind
                share = {"monolingual": 1 / 3, "cross_lingual": 1 / 6, "multilingual": 1 / 3}[kind]
                for name, weight in ((row["setting"], 1.0), (kind, share)):
                    part = sums.setdefault(name, {})
                    value = sign * weight * row["value"]
                    part[row["article"]] = part.get(row["article"], 0.0) + value
    return sums


def test_one_family_over_all_kinds_and_systems_is_step_down_max_t_over_all(runs: Path) -> None:
    names = ["mono", "hybrid-0"]
    options = CompareOptions(family="all", cluster="article")
    found = compare([runs / "zero", *(runs / name for name in names)], options)
    columns = {
        (name, column): np.array([part[f"article{number}"] for number in range(6)])
        for name in names
        for column, part in _columns(runs / "zero", runs / name).items()
    }
    signs = np.array(list(itertools.product((1, -1), repeat=6)))
    draws = {key: np.abs(signs @ part) / np.sqrt(part @ part) for key, part in columns.items()}
    left = sorted(columns, key=lambda key: -draws[key][0])
    expected: dict[tuple[str, str], float] = {}
    while left:
        largest = np.max([draws[key] for key in left], axis=0)
        before = max(expected.values(), default=0.0)
        expected[left[0]] = max(before, float((largest >= draws[left[0]][0] - 1e-9).mean()))
        left.pop(0)
    assert len(expected) == 2 * 15
    for name, entry in zip(names, found.systems, strict=True):
        for column, cell in {**entry.groups, **entry.settings}.items():
            assert cell.p_adjusted == pytest.approx(expected[name, column])
    by_kind = compare(
        [runs / "zero", *(runs / name for name in names)], CompareOptions(cluster="article")
    )
    for one, other in zip(found.systems, by_kind.systems, strict=True):
        for ours, theirs in zip(cells(one), cells(other), strict=True):
            assert (ours.p, ours.interval) == (theirs.p, theirs.interval)
            assert ours.p_adjusted >= theirs.p_adjusted


@pytest.mark.parametrize("correction", ["maxt", "holm", "bh"])
def test_one_family_with_seeds_never_adjusts_less_than_several(runs: Path, correction: Any) -> None:
    folders = [runs / "zero", runs / "mono", *(runs / f"hybrid-{seed}" for seed in range(3))]
    one, several = (
        compare(folders, CompareOptions(family=family, correction=correction, permutations=199))
        for family in ("all", "kind")
    )
    assert (one.family, several.family) == ("all", "kind")
    assert "over all settings and macro averages of all systems" in " ".join(one.methods)
    for ours, theirs in zip(one.systems, several.systems, strict=True):
        for cell, other in zip(cells(ours), cells(theirs), strict=True):
            assert cell.p == other.p
            assert cell.p_adjusted >= cell.p
            if correction == "holm":
                assert cell.p_adjusted >= other.p_adjusted


def test_the_page_says_how_often_any_of_several_families_errs(runs: Path) -> None:
    folders = [runs / "zero", runs / "mono"]
    phrase = "at least one of them in up to about 19 %"
    found = compare(folders, FEW)
    assert phrase in render_comparison_page(found)
    assert phrase in " ".join(found.methods)
    one = compare(folders, CompareOptions(permutations=199, family="all"))
    assert "families errs" not in render_comparison_page(one)
    assert "--family all" in command_of(one)


def test_effects_point_where_the_differences_do(tmp_path: Path) -> None:
    pair = [make_run(tmp_path / str(n), noise=n, topics=MANY[:23], partly=True) for n in (1, 2)]
    for cluster in ("topic", "paragraph", "article"):
        found = compare(pair, CompareOptions(cluster=cluster, permutations=19))
        for name, cell in {
            **found.systems[0].settings,
            **found.systems[0].groups,
        }.items():
            assert np.sign(cell.d_z) == np.sign(cell.difference)
            topics = cell.wins + cell.ties + cell.losses
            assert topics == (23 if name in found.systems[0].groups else topics)
            assert topics >= cell.n


@pytest.fixture
def halves(tmp_path: Path) -> tuple[Path, Path]:
    """Forty questions of two languages, and a run that answers the first half of them only."""
    files = Files(tmp_path)
    queries = [f"{language}:q{number}" for language in ("de", "en") for number in range(20)]
    number = {query: query.rpartition("q")[2] for query in queries}
    files.write("a.qrels", qrels_text({q: {f"en:{number[q]}": 1} for q in queries}))
    for name, answered in (("whole", queries), ("half", queries[::2])):
        run = {q: {f"en:{number[q]}": 0.9, "en:x": 0.5} for q in answered}
        files.write(f"{name}.run", run_text(run))
        assert files.score("--name", name, run=f"{name}.run") == 0
    return files.out / "whole", files.out / "half"


def test_queries_without_results_are_counted_in_the_warning_the_json_and_the_page(
    halves: tuple[Path, Path],
) -> None:
    found = compare(halves, FEW)
    assert found.systems[0].groups["multilingual"].difference < -0.3
    assert found.baseline_system.unanswered == {}
    assert found.systems[0].unanswered == {"half": Unanswered(queries=20, of=40)}
    (warning,) = [line for line in found.warnings if "no results" in line]
    assert warning.startswith("half has no results for 20 of 40 queries")
    assert "no results for 20 of 40 queries" in render_comparison_page(found)
    untested = compare(halves, CompareOptions(significance=False))
    assert warning in untested.warnings
    assert not any("no results" in line for line in compare([halves[0]] * 2, FEW).warnings)


def test_the_same_folder_given_twice_is_said_to_be_the_same(runs: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(runs / "zero")
    for folders in ([runs / "zero", runs / "zero"], [runs / "zero", link]):
        (warning,) = [line for line in compare(folders, FEW).warnings if "twice" in line]
        assert "zero was given twice" in warning
    other = compare([runs / "zero", runs / "mono"], FEW)
    assert not any("was given" in line for line in other.warnings)
