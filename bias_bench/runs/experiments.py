"""From what a command was given to experiments: a benchmark or file, recipes, settings, seeds.

Ranks, from low to high: a recipe with what the benchmark asks of it, the experiment file, the
options of the command. A recipe that is named on the command line outranks the file, and decides
whether there is training and what makes it that recipe (`_RECIPE`); in a recipe that trains, the
rest of what the file says of training holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bias_bench.errors import UsageError

if TYPE_CHECKING:
    from bias_bench.config.experiment import Experiment, Recipe

# what a stage is run for where neither a recipe nor training is given
STAGE_RECIPES = {"mine": "hybrid-hard", "train": "hybrid"}
CUSTOM = "custom"  # the name of a system that is trained without a recipe, where no file names it
_FILES = (".yaml", ".yml")
_RECIPE = ("mixture", "terms", "negatives")  # keys of `training` that make a recipe what it is
_WITHOUT_ENCODER = ("backbone", "lexical", "fusion")


class _Base(NamedTuple):
    """What a benchmark's name or an experiment file says, and what a system of it is called."""

    settings: dict[str, Any]
    name: str


def make_experiments(
    benchmark: str | None,
    recipe: list[str] | None,
    backbone: str | None = None,
    data_dir: Path | None = None,
    settings: list[str] | None = None,
    seed: list[int] | None = None,
    until: Any = None,
) -> list[Experiment]:
    """What the options describe: an experiment for each recipe and seed."""
    from bias_bench.config.experiment import make_experiment

    base = _base(benchmark)
    if not recipe and not base.settings.keys() & {"recipe", "training"} and until in STAGE_RECIPES:
        recipe = [STAGE_RECIPES[until]]
    options_given: dict[str, Any] = {"backbone": backbone} if backbone else {}
    if data_dir:
        options_given["data_dir"] = str(data_dir.resolve())
    overrides = [_checked_override(text) for text in settings or []]
    seeds = [layer["seed"] for layer in (base.settings, *overrides) if "seed" in layer]
    return [
        _honest(make_experiment(*layers, options_given, *overrides, {"seed": number}), base.name)
        for layers in _layers(base, recipe)
        for number in seed or seeds[-1:] or [0]
    ]


def _honest(experiment: Experiment, name: str) -> Experiment:
    """A system that is trained is not called zero-shot, wherever its training was asked for."""
    from bias_bench.config.experiment import DEFAULT_RECIPE

    if experiment.recipe == DEFAULT_RECIPE and experiment.training.steps:
        return experiment.model_copy(update={"recipe": name})
    return experiment


def _base(benchmark: str | None) -> _Base:
    from bias_bench.config.experiment import checked_layer, read_yaml
    from bias_bench.config.recipes import recipe_names
    from bias_bench.data.registry import benchmark_place

    if not benchmark or Path(benchmark).suffix not in _FILES:
        return _Base({"benchmark": benchmark_place(benchmark)} if benchmark else {}, CUSTOM)
    content = checked_layer(read_yaml(Path(benchmark)), f"{benchmark}: ")
    stem = re.sub(r"[^\w.-]+|^[^A-Za-z0-9]+", "-", Path(benchmark).stem, flags=re.ASCII).strip("-")
    if not stem or stem == "experiment":
        return _Base(content, CUSTOM)
    return _Base(content, f"{CUSTOM}-{stem}" if stem in recipe_names() else stem)


def _checked_override(text: str) -> dict[str, Any]:
    """One --set; refuses what decides other settings too, which it would come too late for."""
    from bias_bench.config.experiment import parse_override

    override = parse_override(text)
    instead = {"benchmark": "as the argument", "recipe": "with --recipe"}
    for key in override.keys() & instead.keys():
        raise UsageError(f"--set {text}: give the {key} {instead[key]}, it brings other settings")
    return override


def _layers(base: _Base, recipes: list[str] | None) -> list[list[dict[str, Any]]]:
    """Settings of each recipe asked for, in rising rank, with those of the file or benchmark.

    A file's own recipe need not be known where the file says everything itself.
    """
    from bias_bench.config.experiment import DEFAULT_BENCHMARK, DEFAULT_RECIPE, Recipe, load_recipe
    from bias_bench.config.recipes import recipe_names
    from bias_bench.data.registry import benchmarks

    content = base.settings
    spec = benchmarks().get(content.get("benchmark", DEFAULT_BENCHMARK))

    suite: dict[str, Any] = {"robustness": spec.robustness} if spec and spec.robustness else {}

    def layers(recipe: Recipe, lower: dict[str, Any], upper: dict[str, Any]) -> list[Any]:
        """The recipe above `lower` and below `upper`, with what the benchmark asks for."""
        trains = spec is not None and "training" in recipe.settings
        fitting = {"training": spec.training} if spec and trains else {}
        return [suite, lower, recipe.settings, fitting, {"recipe": recipe.name}, upper]

    if not recipes and not content.keys() & {"recipe", "training"}:
        recipes = list(spec.recipes) if spec else [DEFAULT_RECIPE]
    if recipes:
        rest = {key: value for key, value in content.items() if key != "training"}
        if rest.get("lexical") or rest.get("fusion"):  # it has no encoder, and says so there
            rest = {key: value for key, value in rest.items() if key not in _WITHOUT_ENCODER}
        return [layers(one, rest, _held(content, one)) for one in map(load_recipe, recipes)]
    own = content.get("recipe", DEFAULT_RECIPE)
    known = "training" not in content or own in recipe_names()
    sources = {"sources": spec.training.get("sources")} if spec else {}
    lower = {"training": sources} if known and "training" in content else {}
    return [layers(load_recipe(own) if known else Recipe(own, {}), lower, content)]


def _held(content: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """What a file says of training that holds under a recipe that the command names.

    A file that is the record of a run says everything, also what nobody asked for: of such a one
    only what is not the default holds.
    """
    from bias_bench.config.training import TrainingSettings

    if "training" not in recipe.settings:
        return {}
    training = content.get("training", {})
    record = training.keys() >= TrainingSettings.model_fields.keys()
    defaults = TrainingSettings().model_dump() if record else {}
    return {
        "training": {
            key: value
            for key, value in training.items()
            if key not in _RECIPE and not (record and value == defaults.get(key))
        }
    }
