"""The run page: self-contained, escaped, stable; each section with its content, or absent."""

from __future__ import annotations

import copy
import itertools
import json
import re
from pathlib import Path

import pytest

from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.metrics_document import Metrics
from bias_bench.report.render import LARGEST_PAGE
from bias_bench.report.run_page import render_run_page, write_run_page
from tests.support.report_pages import (
    AUDIT,
    HOSTILE,
    LANGUAGES,
    PROBE,
    ROBUSTNESS,
    Page,
    content,
    example,
    log_row,
    page_of,
    require_nothing_from_outside,
    require_own_scripts_only,
    run_content,
    sections,
)


def test_page_asks_for_nothing_from_outside() -> None:
    html = page_of(
        training=[log_row(step) for step in (1, 2, 3)], metrics={"robustness": ROBUSTNESS}
    )
    require_nothing_from_outside(html)


def test_hostile_names_show_as_text() -> None:
    html = page_of(name=HOSTILE)
    assert "<script>alert(1)" not in html
    require_own_scripts_only(html)
    assert "&lt;script&gt;alert(1)" in html
    assert "more characters)" in html


def test_hostile_texts_show_as_text_and_are_cut_visibly() -> None:
    hit = {"rank": 1, "candidate": HOSTILE, "language": "ar", "relevant": False, "text": HOSTILE}
    topic = example(
        question=HOSTILE, english=HOSTILE, title=HOSTILE, query=HOSTILE, hits=[hit], answers=[hit]
    )
    finding = {**AUDIT["findings"][0], "matched": HOSTILE, "item": HOSTILE}
    html = page_of(
        {"audit": {**AUDIT, "findings": [finding], "verdict": HOSTILE}},
        examples=[topic],
        experiment=HOSTILE,
        training=[log_row(1, terms={HOSTILE: 1.0, "other": 1.0}), log_row(2)],
    )
    assert "<script>alert(1)" not in html
    require_own_scripts_only(html)
    texts = len(HOSTILE)
    for limit in (120, 300, 400, 600):
        assert f"({texts - limit:,} more characters)" in html


def test_embedded_results_read_back_as_written() -> None:
    manifest, metrics = content(HOSTILE)
    html = render_run_page(run_content(manifest, metrics))
    embedded = html.split('id="results">', 1)[1].split("</script>", 1)[0]
    assert json.loads(embedded) == metrics


def test_results_are_not_embedded_where_that_would_make_the_page_too_large() -> None:
    html = page_of(metrics={"more": "x" * LARGEST_PAGE})
    assert len(html) < LARGEST_PAGE
    assert 'id="results"' not in html
    require_own_scripts_only(html)


def test_sections_without_content_are_left_out() -> None:
    html = page_of()
    assert sections(html) == ["summary", "retrieval", "bias", "shares", "audit", "provenance"]
    assert not Page(html).of("figure")


def test_sections_are_there_with_their_content() -> None:
    found = sections(
        page_of(
            {"benchmark": "xquad-r"},
            bias={"language_probe": PROBE},
            metrics={"robustness": ROBUSTNESS},
            training=[log_row(1)],
            examples=[example()],
        )
    )
    assert found == [
        "summary", "retrieval", "bias", "shares", "probe", "robustness", "training", "topics",
        "published", "audit", "provenance",
    ]  # fmt: skip


def test_contents_link_to_every_section() -> None:
    html = page_of()
    assert [str(a["href"])[1:] for a in Page(html).of("a")] == sections(html)


def test_tables_have_captions_and_header_scopes() -> None:
    page = Page(
        page_of(
            {"benchmark": "mlqa-r", "audit": AUDIT},
            bias={"language_probe": {**PROBE, "before": PROBE, "adversary_accuracy": 0.3}},
            metrics={"robustness": ROBUSTNESS},
            training=[log_row(step) for step in range(1, 30)],
            examples=[example(), example(query="ar:t2")],
        )
    )
    assert len(page.of("table")) == len(page.of("caption")) == 15
    assert all(header.get("scope") in ("row", "col") for header in page.of("th"))
    assert page.of("html")[0]["lang"] == "en"
    levels = [int(name[1]) for name, _ in page.tags if re.fullmatch(r"h\d", name)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_matrix_shows_each_setting_in_its_cell() -> None:
    manifest, metrics = content()
    metrics["retrieval"]["cross_lingual"]["per_setting"]["en-th"]["AP"] = 0.777
    html = render_run_page(run_content(manifest, metrics))
    matrix = html.split('aria-label="AP by language pair"', 1)[1]
    row = matrix.split("English (en)</th>", 1)[1].split("</tr>", 1)[0]
    assert re.findall(r">(0\.\d+)<", row)[2] == "0.777"


def test_topics_show_language_and_direction() -> None:
    html = page_of(examples=[example()])
    assert '<p class="question" lang="ar" dir="rtl">ما هو؟</p>' in html
    assert '<span lang="en" dir="ltr">What is it?</span>' in html
    assert '<td class="text" lang="ar" dir="rtl">جواب</td>' in html
    assert "Ranks of its answers: Arabic 1, English 1,234." in html


def test_training_is_drawn_with_its_terms_and_kept_step() -> None:
    rows = [log_row(step, **({"validation": 3 / step} if step % 2 else {})) for step in range(1, 8)]
    html = page_of(training=rows)
    assert "lowest after step 7 (0.429)" in html
    figure = html.split("<figure>", 1)[1].split("</figure>", 1)[0]
    assert "language adversary" in figure
    table = html.split("Training as a table", 1)[1]
    assert re.findall(r'<tr><th scope="row">(\d)</th>', table) == ["1", "3", "5", "7"]


def test_published_figures_mark_the_recipe_that_this_run_shares() -> None:
    named = {"benchmark": "xquad-r", "system": "hybrid@scratch:tiny#0"}
    trained = page_of(named, training=[log_row(1)])
    assert "XLM-R, hybrid ‡" in trained
    assert "XLM-R, X-Y<" in trained
    assert "‡" not in page_of(named)


def test_audit_says_what_was_found() -> None:
    html = page_of({"audit": AUDIT})
    assert AUDIT["verdict"] in html
    assert "900 of 1,000" in html
    assert "Prime number" in html
    assert "Nothing was trained here" in page_of()


def test_command_to_repeat_names_the_run() -> None:
    html = page_of(name="my-run", experiment="recipe: zero-shot\n")
    command = "biasbench run runs/my-run/experiment.yaml --name my-run --policy always"
    (code,) = re.findall(r'<code data-copy="command">(.*?)</code>', html)
    assert re.sub("<[^>]+>", "", code) == command
    assert '<pre tabindex="0">recipe: zero-shot' in html


def test_rankings_of_another_tool_show_what_is_known_of_them() -> None:
    manifest, metrics = content()
    for kind in ("monolingual", "cross_lingual"):
        del metrics["retrieval"][kind]
    means = {"AP@50": 0.4, "R@1": 0.3}
    metrics["retrieval"]["multilingual"] = {"macro": means, "per_setting": {"en-all": means}}
    metrics |= {"bias": {}, "kind": "external", "cutoff": 50}
    manifest |= {
        "kind": "external",
        "languages": LANGUAGES,
        "depth": 50,
        "weights": {},
        "encoding": {"precision": "unknown"},
        "inputs": [{"role": "run", "name": "theirs.run", "sha256": "a" * 64}],
    }
    html = render_run_page(run_content(manifest, metrics))
    assert sections(html) == ["summary", "retrieval", "bias", "provenance"]
    assert "(AP@50, from 0 to 1, higher is better) is 0.400 in the pool of all 3" in html
    assert "theirs.run" in html
    assert "biasbench run runs/" not in html


def test_demonstration_is_said_to_support_no_claim() -> None:
    assert "too small for any claim" in page_of({"demonstration": True})
    assert "too small for any claim" not in page_of({"demonstration": False})


def test_unfinished_run_is_said_to_be_so() -> None:
    assert "not complete (failed)" in page_of({"status": "failed"})
    assert "not complete" not in page_of({"status": "complete"})


def test_equal_results_give_equal_bytes() -> None:
    manifest, metrics = content()
    parts = {"training": [log_row(1), log_row(2)], "examples": [example()]}
    metrics["robustness"] = ROBUSTNESS
    shuffled = json.loads(json.dumps(copy.deepcopy([manifest, metrics, parts]), sort_keys=True))
    assert render_run_page(run_content(manifest, metrics, **parts)) == render_run_page(
        run_content(*shuffled[:2], **shuffled[2])
    )


def test_page_is_written_from_a_run_folder(tmp_path: Path) -> None:
    manifest, metrics = content()
    folder = tmp_path / "some-run"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(BiasBenchError, match=r"holds no metrics\.json"):
        write_run_page(folder, tmp_path)
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    page = write_run_page(folder, tmp_path / "reports")
    assert page == tmp_path / "reports" / "some-run.html"
    assert page.stat().st_size < 2_000_000


def test_newer_metrics_are_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"schema": 2}', encoding="utf-8")
    with pytest.raises(BiasBenchError, match="schema 2 is not known"):
        Metrics.load(tmp_path)
