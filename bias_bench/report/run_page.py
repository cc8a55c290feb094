"""The page of one run: self-contained HTML, made of the sections that the run has content for."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any

from bias_bench.config.recipes import recipe_names
from bias_bench.data.audit import KINDS as AUDIT_KINDS
from bias_bench.data.registry import benchmarks
from bias_bench.evaluation.metrics import ordered_names
from bias_bench.evaluation.run_record import RunRecord
from bias_bench.evaluation.settings import KINDS
from bias_bench.report import run_figures, run_tables
from bias_bench.report.figures import Figure
from bias_bench.report.index_page import claim_page, run_entry
from bias_bench.report.render import LARGEST_PAGE, embeddable, page_size, render, write_page
from bias_bench.report.run_content import RunContent, read_run_content
from bias_bench.report.run_statistics import CONFIDENCE, Estimate
from bias_bench.report.summary import lexical_note, sentences
from bias_bench.report.wording import perturbation_name, signed, without_topics
from bias_bench.system.yaml_values import package_yaml

_SHOWN_FINDINGS = 50
_DESCRIBED = ("mixture", "terms", "negatives")  # settings of training that descriptions speak of
_KIND_NAMES = {
    "monolingual": "Monolingual",
    "cross_lingual": "Cross-lingual",
    "multilingual": "Multilingual pool",
}


def write_run_page(folder: Path, reports: Path) -> Path:
    """Render a complete run folder to ``<reports>/<run>.html``; returns the page's path.

    The page of another run of that name is kept (`claim_page`). DataError for damaged files.
    """
    html = render_run_page(read_run_content(folder))
    page = claim_page(folder, reports)
    write_page(page, html, "it may open slowly")
    return page


def render_run_page(content: RunContent) -> str:
    """The page's HTML; equal content gives equal bytes.

    Where the page would be larger than `LARGEST_PAGE` the embedded results are left out.
    """
    values = _values(content)
    html = render("run.html.j2", **values, embedded=embeddable(content.metrics.dump()))
    if page_size(html) > LARGEST_PAGE:
        html = render("run.html.j2", **values, embedded="")
    return html


def _values(content: RunContent) -> dict[str, Any]:
    """What the template and its sections read."""
    manifest, metrics, statistics = content.manifest, content.metrics, content.statistics
    bias, languages, metric = metrics.bias, content.languages, metrics.average_precision
    distance, robustness = bias.rank_distance, metrics.robustness
    differences = distance.signed_differences if distance else None
    perturbations = robustness.perturbations if robustness else {}
    log = run_tables.log_rows(content.training) if content.training else []
    experiment = _experiment(content.experiment)
    figures = _figures(content)
    left_out = manifest.without_queries
    settings = sum(len(kind.per_setting) for kind in metrics.retrieval.values())
    names = {name for kind in metrics.retrieval.values() for name in kind.macro}
    values = content._asdict() | {
        "entry": embeddable(run_entry(content)),
        "purpose": purpose(metrics.retrieval),
        "recipe": recipe_text(experiment),
        "title": benchmark_title(manifest, experiment),
        "unmatched": lexical_note(content),
        "left_out": without_topics(left_out, settings) if left_out else None,
        "sentences": sentences(content),
        "languages": languages,
        "confidence": f"{100 * CONFIDENCE:g}",
        "intervals": any(estimate.known for estimate in content.precision.values()),
        "kinds": [(kind, _KIND_NAMES[kind]) for kind in KINDS if kind in metrics.retrieval],
        "metric": metric,
        "metric_names": ordered_names(names),
        "precision": content.precision,
        "averages": run_tables.average_rows(metrics),
        "by_language": run_tables.language_rows(metrics),
        "precision_matrix": run_tables.precision_matrix(metrics.retrieval, languages, metric),
        "pooled": run_tables.pooled_rows(content),
        "distance": distance,
        "distance_interval": (statistics.distance if statistics else None) or Estimate(0.0),
        "bias_rows": run_tables.bias_rows(bias) if "friedman" in bias.model_fields_set else [],
        "figures": figures,
        "quantile_levels": run_tables.QUANTILES,
        "quantiles": run_tables.quantiles(statistics.distances if statistics else {}),
        "to_own": run_tables.diverging(differences.to_query_language) if differences else None,
        "between": run_tables.diverging(differences.candidate_languages) if differences else None,
        "shares": run_tables.rising(run_tables.top_ten_shares(bias, languages)),
        "probe": bias.language_probe,
        "robustness": robustness,
        "robustness_rows": run_tables.robustness_rows(perturbations),
        "robustness_matrix": run_tables.robustness_matrix(perturbations, languages),
        "perturbation_name": perturbation_name,
        "signed": signed,
        "log": log,
        "terms": sorted({name for row in log for name in row.terms}),
        "observed": list(log[0].observed) if log else [],
        "published": run_tables.published_figures(manifest.benchmark),
        "same_recipe": manifest.system.partition("@")[0] if content.training else None,
        "context": bool(experiment.get("candidate", {}).get("context")),
        "external": manifest.external,
        "audit": manifest.audit,
        "audit_kinds": AUDIT_KINDS,
        "shown_findings": _SHOWN_FINDINGS,
        **_commands(manifest, content.experiment),
    }
    return {**values, "sections": _sections(values)}


def _sections(values: dict[str, Any]) -> list[tuple[str, str]]:
    """The sections that have content, in order: the anchor, which names a template, and a title."""
    sections = [
        ("summary", "Summary", True),
        ("retrieval", "Retrieval", True),
        ("bias", "Pooled results and language bias", "multilingual" in values["precision"]),
        ("distance", "Rank distance in detail", values["figures"]["distance"] or values["to_own"]),
        ("shares", "Languages of the first results", values["shares"].rows),
        ("probe", "Language probe", values["probe"]),
        ("robustness", "Robustness", values["robustness_rows"]),
        ("training", "Training", values["training"]),
        ("topics", "Worst and best topics", values["examples"]),
        ("published", "Published figures", values["published"]),
        ("audit", "Zero-shot audit", values["audit"] or not values["external"]),
        ("provenance", "Provenance", True),
    ]
    return [(anchor, title) for anchor, title, present in sections if present]


def _figures(content: RunContent) -> dict[str, Figure | None]:
    statistics, metrics = content.statistics, content.metrics
    figures: dict[str, Figure | None] = dict.fromkeys(
        ("precision", "distance", "share", "robustness", "training")
    )
    if metrics.robustness:
        perturbations = metrics.robustness.perturbations
        figures["robustness"] = run_figures.robustness_figure(perturbations, content.searched_ap)
    if content.training:
        figures["training"] = run_figures.training_figure(content.training, content.evaluations)
    if not statistics:
        return figures
    if mean := statistics.precision.get("multilingual"):
        by_language = statistics.precision_by_language
        figures["precision"] = run_figures.precision_figure(by_language, mean, statistics.unit)
    figures["distance"] = run_figures.distance_figure(statistics.distances)
    first, ten = metrics.bias.same_language_top1, metrics.bias.same_language_top10
    total = sum(statistics.pools.values())
    pool = {language: size / total for language, size in statistics.pools.items()}
    if first and ten and set(ten.per_language) <= set(pool) & set(first.per_language):
        figures["share"] = run_figures.share_figure(first.per_language, ten.per_language, pool)
    return figures


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


def purpose(kinds: Collection[str]) -> str:
    """What a run with these kinds of setting measures."""
    where = {
        "monolingual": "in the question's language",
        "cross_lingual": "in another language",
        "multilingual": "in a pool of all languages",
    }
    *most, last = [text for kind, text in where.items() if kind in kinds]
    text = f"{', '.join(most)} and {last}" if most else last
    bias = ", and how strongly it prefers a language" if "multilingual" in kinds else ""
    return f"How well a system finds what answers a question {text}{bias}."


def recipe_text(experiment: dict[str, Any]) -> str | None:
    """A recipe's description; None where the experiment departs from it, or it is not known."""
    name = experiment.get("recipe")
    if name not in recipe_names():
        return None
    content: dict[str, Any] = package_yaml("bias_bench.config.recipes", f"{name}.yaml")
    recipe = (content.get("settings") or {}).get("training") or {}
    training = experiment.get("training") or {}
    if bool(recipe) != bool(training.get("steps")):
        return None
    described = {key: recipe[key] for key in _DESCRIBED if key in recipe}
    return content["description"] if _within(described, training) else None


def benchmark_title(manifest: RunRecord, experiment: dict[str, Any]) -> str | None:
    """What a known benchmark holds; None for one's own data, and for some of the languages."""
    spec = benchmarks().get(manifest.benchmark)
    known = spec is not None and manifest.licence == spec.licence
    return spec.title if spec and known and not experiment.get("languages") else None


def _within(inner: Any, whole: Any) -> bool:
    """Whether all that nested settings say is also said by others."""
    if isinstance(inner, dict):
        return isinstance(whole, dict) and all(
            _within(value, whole.get(key)) for key, value in inner.items()
        )
    return bool(inner == whole)
