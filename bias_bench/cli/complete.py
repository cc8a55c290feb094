"""Names that the shell completes; each function imports what it needs when it is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# loading what declares them would take too long; a test compares
_BENCHMARKS = ("belebele", "mini", "miracl", "miracl-judged", "mlqa-r", "xquad-r")
_BACKBONES = (
    *("bundled:multilingual-e5-small", "bundled:use-multilingual-v3", "scratch:tiny"),
    *("st:", "mteb:", "openai:"),  # a name follows
)


def complete_benchmark(incomplete: str) -> list[str]:
    """Benchmarks by name, and files and folders."""
    return [*complete_known_benchmark(incomplete), *_paths(incomplete)]


def complete_known_benchmark(incomplete: str) -> list[str]:
    """Benchmarks of this package and of others that are installed, by name."""
    from importlib.metadata import entry_points

    others = (point.name for point in entry_points(group="biasbench.benchmarks"))
    return _starting(incomplete, {*_BENCHMARKS, *others})


def complete_training_data(incomplete: str) -> list[str]:
    """Training sources, benchmarks and folders, for the audit."""
    from bias_bench.data.registry import benchmarks
    from bias_bench.data.sources.named import named_sources

    names = {*named_sources(), *benchmarks(), "mini-train"}
    return [*_starting(incomplete, names), *_paths(incomplete)]


def complete_recipe(incomplete: str) -> list[str]:
    """Recipes by name, and files."""
    from bias_bench.config.recipes import recipe_names

    return [*_starting(incomplete, recipe_names()), *_paths(incomplete)]


def complete_backbone(incomplete: str) -> list[str]:
    """The encoders that need no network, encoders of the hub on this disk, and folders."""
    return [*_starting(incomplete, [*_BACKBONES, *_hub_ids()]), *_paths(incomplete)]


def complete_metric(incomplete: str) -> list[str]:
    from bias_bench.evaluation.metrics import FULL_METRICS, SHARED_METRICS
    from bias_bench.significance.measures import MEASURES

    return _starting(incomplete, [*map(str, (*FULL_METRICS, *SHARED_METRICS)), *MEASURES])


def complete_reproduction(incomplete: str) -> list[str]:
    """Names of `biasbench reproduce`."""
    from bias_bench.runs.reproduction import reproductions

    return _starting(incomplete, reproductions().rows)


def complete_setting(incomplete: str) -> list[str]:
    """Keys of --set, up to the equals sign; the benchmark and the recipe are given otherwise."""
    from bias_bench.config.experiment import Experiment
    from bias_bench.config.setting_keys import setting_keys

    keys = (key for key in setting_keys(Experiment) if key not in ("benchmark", "recipe"))
    return _starting(incomplete, (f"{key}=" for key in keys))


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def _paths(incomplete: str) -> Iterator[str]:
    """What is in the folder that was typed so far; folders end in a slash."""
    folder, _, start = incomplete.rpartition("/")
    try:
        paths = sorted(Path(f"{folder}/" if "/" in incomplete else ".").iterdir())
    except OSError:
        return
    for path in paths:
        if path.name.startswith(start) and (start or not path.name.startswith(".")):
            name = f"{folder}/{path.name}" if "/" in incomplete else path.name
            yield f"{name}/" if path.is_dir() else name


def _hub_ids() -> Iterator[Any]:
    """Models in the hub's cache on this disk, which is named in its environment variables."""
    from huggingface_hub.constants import HF_HUB_CACHE

    for path in Path(HF_HUB_CACHE).glob("models--*--*"):
        yield "/".join(path.name.split("--")[1:])
