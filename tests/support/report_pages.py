"""Small hand-made runs for tests of their pages, and a reader of HTML."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import bias_bench.report
from bias_bench.evaluation.metrics_document import Metrics
from bias_bench.evaluation.run_record import RunRecord
from bias_bench.report.run_content import RunContent, TrainingRow
from bias_bench.report.run_page import render_run_page

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
        "seeds": [0],
        "weights": {"model.safetensors": "2" * 64},
        "encoding": {
            "precision": "float32",
            "device": "cpu",
            "profile": {
                "pooling": "mean",
                "query_prefix": "q: ",
                "candidate_prefix": "",
                "query_max_length": 64,
                "candidate_max_length": 256,
            },
        },
        "versions": {"biasbench": "0", "torch": "1"},
        "git": {"commit": None, "dirty": None},
        "host": {"processor": "p", "cores": 2, "system": "s"},
        "agreement": {"max_abs_difference": 5e-5, "compared": 1234, "limit": 1e-4},
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


def page_of(changes: dict[str, Any] | None = None, /, name: str = "run", **parts: Any) -> str:
    """The page of a small run; `changes` are made to its manifest, `parts` are further content."""
    manifest, metrics = content(name)
    metrics["bias"] |= parts.pop("bias", {})
    metrics |= parts.pop("metrics", {})
    return render_run_page(run_content(manifest | (changes or {}), metrics, **parts))


def run_content(manifest: dict[str, Any], metrics: dict[str, Any], **parts: Any) -> RunContent:
    """A run as pages read it."""
    if parts.get("training"):
        parts["training"] = training_rows(parts["training"])
    return RunContent(RunRecord.model_validate(manifest), Metrics.model_validate(metrics), **parts)


def training_rows(rows: list[dict[str, Any]]) -> list[TrainingRow]:
    return [TrainingRow.model_validate(row) for row in rows]


def sections(html: str) -> list[str]:
    return [str(attributes["id"]) for attributes in Page(html).of("section")]


def log_row(step: int, **more: Any) -> dict[str, Any]:
    terms = {"contrastive": 2.0 / step, "language_adversary": 0.5}
    return {"step": step, "loss": 2.0 / step + 0.5, "terms": terms, "learning_rate": 1e-5, **more}


def example(**changes: Any) -> dict[str, Any]:
    """One topic of examples.json."""
    hit = {"rank": 1, "candidate": "ar:0-0-1", "language": "ar", "relevant": True, "text": "جواب"}
    answer = {**hit, "rank": 1234, "language": "en", "candidate": "en:0-0-1", "text": "answer"}
    return {
        "reason": "distance",
        "query": "ar:t1",
        "language": "ar",
        "title": "Rhine",
        "question": "ما هو؟",
        "english": "What is it?",
        "ap": 0.25,
        "rank_distance": 1233,
        "pool": 3000,
        "hits": [hit],
        "answers": [hit, answer],
        **changes,
    }


PROBE = {
    "macro": 0.75,
    "chance": 0.34,
    "per_language": dict.fromkeys(LANGUAGES, 0.75),
    "cross_covariance": 0.0123,
    "texts": 600,
}
EFFECT = {
    "ap_clean": 0.6, "ap": 0.45, "loss": 0.15, "first_clean": 0.7, "first_lost": 0.2,
    "overlap": 0.5, "changed": 0.9,
}  # fmt: skip
ROBUSTNESS = {
    "topics": 30,
    "of": 60,
    "seed": 0,
    "perturbations": {
        "typo": {
            "strong": {
                "macro": EFFECT,
                "per_language": {name: {**EFFECT, "queries": 30} for name in LANGUAGES},
                "not_applicable": [],
            }
        },
        "diacritics": {
            "strong": {"macro": {}, "per_language": {}, "not_applicable": LANGUAGES},
        },
    },
}
AUDIT = {
    "benchmark": "mini",
    "verdict": "1 topic dropped: mlqa-r 1 of 10 (title 1)",
    "rules": {"ngram": 5, "near": 0.7, "contained": 0.95, "shortest": 20},
    "data_sets": {
        "mlqa-r": {
            "topics": 10,
            "pairs": 1000,
            "by_kind": {"title": 1},
            "topics_kept": 9,
            "pairs_kept": 900,
        }
    },
    "findings": [
        {
            "kind": "title",
            "data_set": "mlqa-r",
            "topic": "t",
            "matched": "Prime number",
            "item": "x",
            "similarity": 1.0,
        }
    ],
}


def require_own_scripts_only(html: str) -> None:
    """Nothing but embedded JSON and the package's script, which the policy knows by its hash."""
    page = Page(html)
    (policy,) = [m for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    *data, own = page.of("script")
    assert [attributes.get("type") for attributes in data] == ["application/json"] * len(data)
    assert own == {}
    script = html.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in str(policy["content"])
    shipped = Path(bias_bench.report.__file__).parent / "page.js"
    assert script == shipped.read_text(encoding="utf-8")


def require_nothing_from_outside(html: str) -> None:
    """The page forbids every request, and makes none."""
    require_own_scripts_only(html)
    page = Page(html)
    (policy,) = [m for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert str(policy["content"]).startswith("default-src 'none'")
    assert not page.of("link")
    assert not page.of("img")
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", html)
    assert not re.search(r"url\((?!#)", html)
