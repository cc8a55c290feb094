"""The page of a comparison: self-contained, escaped, stable, accessible, complete."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from bias_bench.cli import run_command
from bias_bench.report.comparison_numbers import Named, Numbers
from bias_bench.report.comparison_page import (
    command_of,
    comparison_sentences,
    language_matrices,
    pair_matrices,
    render_comparison_page,
    search_words,
    write_comparison_page,
)
from bias_bench.significance.comparison import compare
from bias_bench.significance.document import ComparisonDocument, load
from bias_bench.significance.options import CompareOptions
from tests.support.compared import changed
from tests.support.comparisons import make_run
from tests.support.report_pages import (
    HOSTILE,
    Page,
    require_nothing_from_outside,
    require_own_scripts_only,
)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ComparisonDocument:
    """A comparison of two systems, one with two seeds, with everything that can be asked for."""
    out = tmp_path_factory.mktemp("runs")
    make_run(out / "zero")
    make_run(out / "mono", "mono", quality=0.3, noise=2)
    make_run(out / "hybrid-0", "hybrid", 0, quality=0.5)
    make_run(out / "hybrid-1", "hybrid", 1, quality=0.4, noise=3)
    options = CompareOptions(permutations=99, margin=0.05, also=("t", "wilcoxon"))
    return compare([out / name for name in ("zero", "mono", "hybrid-0", "hybrid-1")], options)


@pytest.fixture(scope="module")
def html(result: ComparisonDocument) -> str:
    return render_comparison_page(result)


def test_page_asks_for_nothing_from_outside(html: str) -> None:
    require_nothing_from_outside(html)
    assert len(html.encode()) < 500_000


def test_embedded_results_read_back(html: str, result: ComparisonDocument) -> None:
    embedded = html.split('id="results">', 1)[1].split("</script>", 1)[0]
    assert load(embedded) == result


def test_figures_have_text_alternatives_and_ids_are_unique(html: str) -> None:
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    drawings = page.of("svg")
    assert len(drawings) == len(page.of("figure")) == len(page.of("figcaption")) == 2 + 2 * 2
    for drawing in drawings:
        assert drawing["role"] == "img"
        assert all(name in ids for name in str(drawing["aria-labelledby"]).split())
    for target in re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', html):
        assert target in ids


def test_tables_have_captions_and_header_scopes(html: str) -> None:
    page = Page(html)
    assert len(page.of("table")) == len(page.of("caption"))
    assert all(header.get("scope") in ("row", "col") for header in page.of("th"))
    assert page.of("html")[0]["lang"] == "en"


def test_matrix_shows_each_pair_and_marks_what_is_significant(
    result: ComparisonDocument,
) -> None:
    def one_system(content: dict[str, Any]) -> None:
        content["systems"][1:] = content["overview"][2:] = []
        content["systems"][0]["settings"]["en-th"].update(difference=-0.1234, p_adjusted=0.001)
        del content["tukey"]

    page = render_comparison_page(changed(result, one_system))
    row = page.split("English (en)</th>", 1)[1].split("</tr>", 1)[0]
    found = re.findall(r'<td class="shaded( fall)?"[^>]*>([^<]+)<span class="star">(\*?)', row)
    assert found[2] == (" fall", "−0.1234", "*")
    assert len(found) == 3


def test_pairs_of_systems_stand_both_ways_round_with_their_effect_sizes(
    result: ComparisonDocument,
) -> None:
    assert result.tukey
    pair = result.tukey.groups["multilingual"][0]
    assert (pair.system, pair.other) == tuple(row.system for row in result.overview)[1::-1]
    figures = {"difference": 0.1234, "p": 0.004, "d_z": 0.567}
    other = changed(result, lambda c: c["tukey"]["groups"]["multilingual"][0].update(figures))
    cells = pair_matrices(other, Numbers(other))["multilingual"].cells
    better, worse = cells[1][0], cells[0][1]
    assert better
    assert worse
    assert (better.text, better.fall, better.star) == ("+0.1234", False, True)
    assert (worse.text, worse.fall, worse.star) == ("−0.1234", True, True)
    assert (better.notes, worse.notes) == (("p 0.004", "d +0.57"), ("p 0.004", "d −0.57"))
    assert all(row[place] is None for place, row in enumerate(cells))


def test_effect_sizes_of_pairs_are_those_of_the_comparison_with_the_baseline(
    result: ComparisonDocument,
) -> None:
    entry = result.systems[0]
    assert result.tukey
    for kind, pairs in result.tukey.groups.items():
        assert pairs[0].system == entry.system
        assert pairs[0].d_z == pytest.approx(entry.groups[kind].d_z)


def test_p_values_and_effect_sizes_stand_by_language_pair(result: ComparisonDocument) -> None:
    def change(content: dict[str, Any]) -> None:
        settings = content["systems"][0]["settings"]
        settings["en-th"].update(difference=-0.1, p_adjusted=0.0123, d_z=-0.456)
        settings["th"].update(p_adjusted=0.3)

    entry = changed(result, change).systems[0]
    found = language_matrices(entry, Numbers(result))
    adjusted = found["p_adjusted"].cells
    assert adjusted[1][2] == ("0.012", 0.5, True, True, ())
    assert (adjusted[2][2] or ())[:2] == ("0.300", 0.0)
    assert (found["d_z"].cells[1][2] or ())[0] == "−0.46"
    untested = changed(result, lambda content: content.update(significance=False))
    assert "p_adjusted" not in language_matrices(entry, Numbers(untested))


def test_settings_are_found_by_language_kind_and_outcome(result: ComparisonDocument) -> None:
    cell, numbers = result.systems[0].settings["en-th"], Numbers(result)
    worse = cell.model_copy(update={"difference": -0.1, "p_adjusted": 0.01})
    words = search_words(Named("en-th", worse), numbers)
    assert words == "English Thai cross-lingual worse significant"
    better = cell.model_copy(update={"difference": 0.1, "p_adjusted": 0.5})
    assert search_words(Named("th-all", better), numbers) == "Thai all pool of all better"


def test_the_command_of_a_page_makes_the_comparison_again(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    names = ["a run", "mono", "hybrid"]
    folders = [
        make_run(tmp_path / "runs" / name, name.replace("a run", "zero-shot"), noise=number)
        for number, name in enumerate(names)
    ]
    options = CompareOptions(
        "RR", permutations=29, margin=0.05, also=("t",), seed=3, cluster="article"
    )
    found = compare(folders, options, baseline=folders[1])
    program, *arguments = shlex.split(command_of(found))
    assert program == "biasbench"
    for place, argument in enumerate(arguments):
        if argument.startswith("runs/") or argument.endswith(".html"):
            arguments[place] = str(tmp_path / argument)
    assert run_command(arguments) == 0
    page = (tmp_path / "comparison.html").read_text("utf-8")
    embedded = page.split('id="results">', 1)[1].split("</script>", 1)[0]
    assert load(embedded) == found


def test_a_page_says_where_topics_are_taken_as_independent(
    html: str, result: ComparisonDocument
) -> None:
    phrase = "The tests take topics as independent"
    by_topic = changed(result, lambda content: content.update(cluster="topic"))
    assert phrase not in html
    assert phrase in render_comparison_page(by_topic)


def test_hostile_names_show_as_text(result: ComparisonDocument) -> None:
    text = json.dumps(result.as_json())
    for row in result.overview:
        text = text.replace(json.dumps(row.system), json.dumps(HOSTILE + row.system + "$x^2$"))

    def change(content: dict[str, Any]) -> None:
        for part in (*content["overview"], *content["systems"]):
            part["label"] = HOSTILE + "$x^2$"
        content["systems"][0]["runs"] = content["warnings"] = [HOSTILE]
        content["benchmark"] = HOSTILE

    page = render_comparison_page(changed(load(text), change))
    assert "<script>alert(1)" not in page
    require_own_scripts_only(page)


def test_names_in_any_script_are_drawn_without_a_warning(result: ComparisonDocument) -> None:
    def change(content: dict[str, Any]) -> None:
        for part in (*content["overview"], *content["systems"]):
            part["label"] = "模型 نموذج"

    assert "模型 نموذج</text>" in render_comparison_page(changed(result, change))


def test_equal_results_give_equal_bytes(html: str, result: ComparisonDocument) -> None:
    assert render_comparison_page(result) == html
    assert render_comparison_page(load(json.dumps(result.as_json()))) == html


def test_methods_say_what_was_done(html: str, result: ComparisonDocument) -> None:
    text = " ".join(result.methods)
    for phrase in (
        "higher is better",
        "12 of them",
        "99 random joint sign flips",
        "step-down max-T",
        "the 3 monolingual settings; the 6 cross-lingual settings; the 3 pooled settings",
        "the 3 macro averages",
        "Nothing is adjusted over systems",
        "by step-down max-T over the pairs of a kind",
        "±0.05",
        "Wilcoxon",
        "seeds of each system drawn on their own",
    ):
        assert phrase in text
    cited = {work.split(",")[0].split(".")[0] for work in result.references}
    assert {"Smucker", "Westfall", "Owen", "Schuirmann", "Cohen"} <= cited
    assert "Holm" not in cited
    assert all(phrase in html for phrase in ("Smucker et al. 2007", "Owen 2007"))


def test_untested_and_bias_comparisons_have_pages_too(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / "a"), make_run(tmp_path / "b", "mono", quality=0.3)]
    untested = compare(folders, CompareOptions(significance=False))
    path = write_comparison_page(untested, tmp_path / "new" / "page.html")
    assert "Nothing was tested" in path.read_text("utf-8")
    bias = compare(folders, CompareOptions("rank_distance", permutations=19))
    page = render_comparison_page(bias)
    assert "lower is better" in page
    assert "Query language</th>" not in page


def test_runs_without_a_pool_have_a_page_without_its_figure(tmp_path: Path) -> None:
    pooled = ["ar-all", "en-all", "th-all"]
    folders = [
        make_run(tmp_path / name, name, without=pooled, quality=quality)
        for name, quality in (("a", 0.0), ("b", 0.5))
    ]
    found = compare(folders, CompareOptions(permutations=19))
    assert found.overview[0].precision is None
    assert "Language bias against quality" not in render_comparison_page(found)


def test_the_summary_claims_what_the_test_shows_and_no_more(result: ComparisonDocument) -> None:
    def change(content: dict[str, Any]) -> None:
        del content["systems"][1:]
        groups = content["systems"][0]["groups"]
        shown = {"p_adjusted": 0.001, "interval": [0.1, 0.3]}
        groups["monolingual"].update(system=0.7, baseline=0.5, difference=0.2, **shown)
        groups["cross_lingual"].update(system=0.3, baseline=0.5, difference=-0.2, **shown)
        groups["multilingual"].update(difference=0.2, p_adjusted=0.2)

    one = changed(result, change)
    better, worse, neither = comparison_sentences(one, Numbers(one))
    assert better == (
        "In one language, mono is better than zero-shot (AP 0.7000 against 0.5000, difference "
        "+0.2000, 95 % interval [+0.1000, +0.3000], adjusted p 0.001)."
    )
    assert worse.startswith("Across two languages, mono is worse than zero-shot (")
    assert neither.startswith(
        "In the pool of all languages, no difference between mono and zero-shot could be shown ("
    )


def test_the_summary_of_what_was_not_tested_says_so(tmp_path: Path) -> None:
    make_run(tmp_path / "zero")
    make_run(tmp_path / "mono", "mono", quality=0.3, noise=2)
    found = compare([tmp_path / "zero", tmp_path / "mono"], CompareOptions(significance=False))
    sentences = comparison_sentences(found, Numbers(found))
    assert len(sentences) == 3
    assert all(text.endswith("; this was not tested.") for text in sentences)
    assert not any("better" in text or "worse" in text for text in sentences)
    page = render_comparison_page(found)
    assert all(text in page for text in sentences)


def test_a_lower_rank_distance_is_called_better(result: ComparisonDocument) -> None:
    def change(content: dict[str, Any]) -> None:
        content["metric"], content["systems"] = "rank_distance", content["systems"][:1]
        cell = content["systems"][0]["groups"].pop("multilingual")
        shown = {"interval": [-12.0, -8.0], "p_adjusted": 0.001}
        cell.update(system=10.0, baseline=20.0, difference=-10.0, **shown)
        content["systems"][0]["groups"] = {"multilingual": cell}

    one = changed(result, change)
    (sentence,) = comparison_sentences(one, Numbers(one))
    assert "mono is better than zero-shot (rank_distance 10.0 against 20.0" in sentence
