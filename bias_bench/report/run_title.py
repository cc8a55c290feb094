"""What stands at the head of a run's page: the recipe and the benchmark in words."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from bias_bench.datasets.registry import benchmarks
from bias_bench.recipes import recipe_names
from bias_bench.run_record import RunRecord
from bias_bench.yaml_values import package_yaml

_DESCRIBED = ("mixture", "terms", "negatives")  # settings of training that descriptions speak of


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
    content: dict[str, Any] = package_yaml("bias_bench.recipes", f"{name}.yaml")
    recipe = (content.get("settings") or {}).get("training") or {}
    training = experiment.get("training") or {}
    if bool(recipe) != bool(training.get("steps")):
        return None
    wanted = {key: recipe[key] for key in _DESCRIBED if key in recipe}
    return content["description"] if _within(wanted, training) else None


def benchmark_title(manifest: RunRecord, experiment: dict[str, Any]) -> str | None:
    """What a known benchmark holds; None for one's own data, and for some of the languages."""
    spec = benchmarks().get(manifest.benchmark)
    known = spec is not None and manifest.licence == spec.licence
    return spec.title if spec and known and not experiment.get("languages") else None


def _within(part: Any, whole: Any) -> bool:
    """Whether all that nested settings say is also said by others."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            _within(value, whole.get(key)) for key, value in part.items()
        )
    return bool(part == whole)
