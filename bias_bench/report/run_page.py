"""The page of one run: self-contained HTML, made of the sections that the run has content for."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, NamedTuple

from bias_bench.console import duration, warn
from bias_bench.datasets.audit import KINDS as AUDIT_KINDS
from bias_bench.evaluation.metrics import ordered_names
from bias_bench.evaluation.metrics_document import Metrics
from bias_bench.evaluation.settings import KINDS
from bias_bench.files import write_text
from bias_bench.languages import base_language, direction, html_language, language_name
from bias_bench.report.figure_parts import Figure
from bias_bench.report.index_page import claim_page, run_entry
from bias_bench.report.published import published_figures
from bias_bench.report.render import embeddable, render
from bias_bench.report.run_content import RunContent, read_run_content
from bias_bench.report.run_figures import (
    distance_figure,
    precision_figure,
    robustness_figure,
    share_figure,
)
from bias_bench.report.run_pooled import pooled_row, top_ten_shares
from bias_bench.report.run_statistics import CONFIDENCE, Estimate
from bias_bench.report.run_summary import (
    languages_of,
    precision_by_kind,
    searched_ap,
    sentences,
    training_curve,
    unmatched,
)
from bias_bench.report.run_tables import (
    QUANTILES,
    average_rows,
    bias_rows,
    diverging,
    language_rows,
    log_rows,
    precision_matrix,
    quantiles,
    rising,
    robustness_matrix,
    robustness_rows,
    signed,
)
from bias_bench.report.run_title import benchmark_title, purpose, recipe_text
from bias_bench.report.summary import perturbation_name
from bias_bench.report.training_figure import training_figure
from bias_bench.report.wording import without_topics
from bias_bench.run_record import RunRecord

LARGEST_PAGE = 2_000_000  # bytes
_SHOWN_FINDINGS = 50
_KIND_NAMES = {
    "monolingual": "Monolingual",
    "cross_lingual": "Cross-lingual",
    "multilingual": "Multilingual pool",
}


class Section(NamedTuple):
    """A part of the page: `id` is its anchor and names its template."""

    id: str
    title: str


def write_run_page(folder: Path, reports: Path) -> Path:
    """Render a complete run folder to ``<reports>/<run>.html``; returns the page's path.

    The page of another run of that name is kept (`claim_page`). DataError for damaged files.
    """
    html = render_run_page(read_run_content(folder))
    page = claim_page(folder, reports)
    size = len(html.encode("utf-8", "backslashreplace"))
    if size > LARGEST_PAGE:
        warn(f"{page}: {size / 1e6:.1f} MB is large for a page; it may open slowly")
    write_text(page, html)
    return page


def render_run_page(content: RunContent) -> str:
    """The page's HTML; equal content gives equal bytes.

    Where the page would be larger than `LARGEST_PAGE` the embedded results are left out.
    """
    values = _values(content)
    embedded = embeddable(content.metrics.dump())
    html = render("run.html.j2", **values, embedded=embedded)
    if len(html.encode("utf-8", "backslashreplace")) > LARGEST_PAGE:
        html = render("run.html.j2", **values, embedded="")
    return html


def _values(content: RunContent) -> dict[str, Any]:
    """What the template and its sections read."""
    manifest, metrics, statistics = content.manifest, content.metrics, content.statistics
    bias, languages = metrics.bias, languages_of(content)
    precision, curve = precision_by_kind(content), training_curve(content)
    distance, robustness = bias.rank_distance, metrics.robustness
    differences = distance.signed_differences if distance else None
    perturbations = robustness.perturbations if robustness else {}
    log = log_rows(curve.rows) if curve else []
    experiment = _experiment(content.experiment)
    figures = _figures(content)
    values = {
        "entry": embeddable(run_entry(content)),
        "manifest": manifest,
        "purpose": purpose(metrics.retrieval),
        "recipe": recipe_text(experiment),
        "title": benchmark_title(manifest, experiment),
        "unmatched": unmatched(content),
        "left_out": _left_out(content),
        "duration": duration,
        "metrics": metrics,
        "sentences": sentences(content),
        "languages": languages,
        "language_name": language_name,
        "base_language": base_language,
        "direction": direction,
        "html_language": html_language,
        "confidence": f"{100 * CONFIDENCE:g}",
        "intervals": any(found.known for found in precision.values()),
        "kinds": [(kind, _KIND_NAMES[kind]) for kind in KINDS if kind in metrics.retrieval],
        "metric": content.metrics.average_precision,
        "metric_names": _metric_names(metrics),
        "precision": precision,
        "averages": average_rows(metrics),
        "by_language": language_rows(metrics),
        "precision_matrix": precision_matrix(
            metrics.retrieval, languages, content.metrics.average_precision
        ),
        "pooled": [pooled_row(content, language) for language in languages],
        "distance": distance,
        "distance_interval": (statistics.distance if statistics else None) or Estimate(0.0),
        "bias_rows": bias_rows(bias) if "friedman" in bias.model_fields_set else [],
        "figures": figures,
        "quantile_levels": QUANTILES,
        "quantiles": quantiles(statistics.distances) if figures["distance"] and statistics else {},
        "to_own": diverging(differences.to_query_language) if differences else None,
        "between": diverging(differences.candidate_languages) if differences else None,
        "shares": rising(top_ten_shares(bias, languages)),
        "probe": bias.language_probe,
        "robustness": robustness,
        "robustness_rows": robustness_rows(perturbations),
        "robustness_matrix": robustness_matrix(perturbations, languages),
        "perturbation_name": perturbation_name,
        "signed": signed,
        "log": log,
        "terms": sorted({name for row in log for name in row.terms}),
        "observed": list(log[0].observed) if log else [],
        "trained": curve is not None,
        "examples": content.examples,
        "published": published_figures(manifest.benchmark),
        "same_recipe": manifest.system.partition("@")[0] if curve else None,
        "context": bool(experiment.get("candidate", {}).get("context")),
        "external": manifest.external,
        "audit": manifest.audit,
        "audit_kinds": AUDIT_KINDS,
        "shown_findings": _SHOWN_FINDINGS,
        "experiment": content.experiment,
        **_commands(manifest, content.experiment),
    }
    return {**values, "sections": _sections(values)}


def _sections(values: dict[str, Any]) -> list[Section]:
    """The sections that have content, in order."""
    distances = values["figures"]["distance"] or values["to_own"]
    known = [
        ("summary", "Summary", True),
        ("retrieval", "Retrieval", True),
        ("bias", "Pooled results and language bias", "multilingual" in values["precision"]),
        ("distance", "Rank distance in detail", distances),
        ("shares", "Languages of the first results", values["shares"].rows),
        ("probe", "Language probe", values["probe"]),
        ("robustness", "Robustness", values["robustness_rows"]),
        ("training", "Training", values["trained"]),
        ("topics", "Worst and best topics", values["examples"]),
        ("published", "Published figures", values["published"]),
        ("audit", "Zero-shot audit", values["audit"] or not values["external"]),
        ("provenance", "Provenance", True),
    ]
    return [Section(name, title) for name, title, present in known if present]


def _figures(content: RunContent) -> dict[str, Figure | None]:
    statistics, bias = content.statistics, content.metrics.bias
    robustness = content.metrics.robustness
    curve = training_curve(content)
    figures: dict[str, Figure | None] = {
        "precision": None,
        "distance": None,
        "share": None,
        "robustness": robustness_figure(robustness.perturbations, searched_ap(content))
        if robustness
        else None,
        "training": training_figure(curve) if curve else None,
    }
    if statistics:
        first, ten = bias.same_language_top1, bias.same_language_top10
        total = sum(statistics.pools.values())
        pool = {language: size / total for language, size in statistics.pools.items()}
        if "multilingual" in statistics.precision:
            figures["precision"] = precision_figure(
                statistics.precision_by_language,
                statistics.precision["multilingual"],
                statistics.unit,
            )
        figures["distance"] = distance_figure(statistics.distances)
        if first and ten and set(ten.per_language) <= set(pool) & set(first.per_language):
            figures["share"] = share_figure(first.per_language, ten.per_language, pool)
    return figures


def _metric_names(metrics: Metrics) -> list[str]:
    return ordered_names({name for kind in metrics.retrieval.values() for name in kind.macro})


def _left_out(content: RunContent) -> str | None:
    """Which settings have no topic, in words; None where all have."""
    names = content.manifest.without_queries
    kept = sum(len(kind.per_setting) for kind in content.metrics.retrieval.values())
    return without_topics(names, kept) if names else None


def _experiment(text: str | None) -> dict[str, Any]:
    import yaml

    content = yaml.safe_load(text) if text else None
    return content if isinstance(content, dict) else {}


def _commands(manifest: RunRecord, experiment: str | None) -> dict[str, str]:
    """The command that repeats the run where its folder is, and the one for another machine."""
    name = shlex.quote(manifest.name)
    file = shlex.quote(f"runs/{manifest.name}/experiment.yaml")
    data = " --data-dir DIR" if experiment and not manifest.demonstration else ""
    return {
        "command": f"biasbench run {file} --name {name} --policy always",
        "command_elsewhere": f"biasbench run experiment.yaml --name {name}{data}",
    }
