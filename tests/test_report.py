"""The run page: self-contained, escaped, stable, complete."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bias_bench.errors import BiasBenchError
from bias_bench.report.run_page import read_metrics, render_run_page, write_run_page

LANGUAGES = ["ar", "en", "th"]
HOSTILE = "<script>alert(1)</script>\u202e" + "x" * 10_000


def content(name: str = "mini-zero-shot-0") -> tuple[dict[str, Any], dict[str, Any]]:
    """A small manifest and metrics of the contract's shape."""

    def means(value: float) -> dict[str, float]:
        return dict.fromkeys(("AP", "nDCG@10", "R@1", "R@10", "RR"), value)

    settings = {
        "monolingual": LANGUAGES,
        "cross_lingual": [f"{a}-{b}" for a in LANGUAGES for b in LANGUAGES if a != b],
        "multilingual": [f"{language}-all" for language in LANGUAGES],
    }
    share = {
        "macro": 0.9,
        "per_language": dict.fromkeys(LANGUAGES, 0.9),
        "shares": {a: {b: 0.9 if a == b else 0.05 for b in LANGUAGES} for a in LANGUAGES},
    }
    metrics = {
        "schema": 1,
        "benchmark": "mini",
        "system": name,
        "retrieval": {
            kind: {
                "macro": means(0.5),
                "per_setting": {setting: means(index / 10) for index, setting in enumerate(names)},
            }
            for kind, names in settings.items()
        },
        "bias": {
            "rank_distance": {
                "macro": 7.25,
                "median": 6.5,
                "normalised": 0.01,
                "left_out": 2,
                "per_language": dict.fromkeys(LANGUAGES, 7.25),
                "median_per_language": dict.fromkeys(LANGUAGES, 6.5),
            },
            "same_language_top1": share,
            "same_language_top10": share,
        },
        "scorers": {"agreement": {"max_abs_difference": 5e-5, "compared": 1234}},
        "timings": {"encode": 1.5},
    }
    manifest = {
        "schema": 1,
        "name": name,
        "system": name,
        "benchmark": "mini",
        "demonstration": True,
        "licence": None,
        "data": {"en.json": "0" * 64},
        "collection": "1" * 64,
        "weights": {"model.safetensors": "2" * 64},
        "encoding": {
            "precision": "float32",
            "device": "cpu",
            "profile": {"pooling": "mean", "query_prefix": "q: ", "candidate_prefix": ""},
        },
        "versions": {"biasbench": "0", "torch": "1"},
        "git": {"commit": None, "dirty": None},
        "host": {"processor": "p", "cores": 2, "system": "s"},
        "agreement": {"limit": 1e-4},
    }
    return manifest, metrics


class Page(HTMLParser):
    """Counts elements and collects attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_page_asks_for_nothing_from_outside() -> None:
    html = render_run_page(*content())
    page = Page(html)
    (policy,) = [m for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert str(policy["content"]).startswith("default-src 'none'")
    assert not page.of("link")
    assert not page.of("img")
    assert all(attributes.get("type") == "application/json" for attributes in page.of("script"))
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", html)
    assert "url(" not in html


def test_hostile_names_show_as_text() -> None:
    html = render_run_page(*content(HOSTILE))
    assert "<script>alert(1)" not in html
    assert html.count("<script") == 1
    assert "&lt;script&gt;alert(1)" in html


def test_embedded_results_read_back_as_written() -> None:
    manifest, metrics = content(HOSTILE)
    html = render_run_page(manifest, metrics)
    embedded = html.split('id="results">', 1)[1].split("</script>", 1)[0]
    assert json.loads(embedded) == metrics


def test_tables_have_captions_and_header_scopes() -> None:
    page = Page(render_run_page(*content()))
    assert len(page.of("table")) == len(page.of("caption")) == 4
    assert all(header.get("scope") in ("row", "col") for header in page.of("th"))
    assert page.of("html")[0]["lang"] == "en"


def test_matrix_shows_each_setting_in_its_cell() -> None:
    manifest, metrics = content()
    metrics["retrieval"]["cross_lingual"]["per_setting"]["en-th"]["AP"] = 0.777
    html = render_run_page(manifest, metrics)
    row = html.split("English (en)</th>", 1)[1].split("</tr>", 1)[0]
    assert re.findall(r">(0\.\d+)<", row)[2] == "0.777"


def test_demonstration_is_said_to_support_no_claim() -> None:
    manifest, metrics = content()
    assert "too small for any claim" in render_run_page(manifest, metrics)
    manifest["demonstration"] = False
    assert "too small for any claim" not in render_run_page(manifest, metrics)


def test_equal_results_give_equal_bytes() -> None:
    manifest, metrics = content()
    shuffled = json.loads(json.dumps(copy.deepcopy(manifest), sort_keys=True))
    assert render_run_page(manifest, metrics) == render_run_page(shuffled, metrics)


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
        read_metrics(tmp_path)
