"""Train an encoder, or mine its hard negatives: what `biasbench train` and `biasbench mine` do."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from bias_bench.runs.experiments import make_experiments
from bias_bench.runs.folder import RunOptions
from bias_bench.runs.graph import Policy
from bias_bench.runs.mining import NEGATIVES_FILE
from bias_bench.runs.pipeline import run
from bias_bench.runs.training import MODEL
from bias_bench.system.files import json_text


def train(
    benchmark: str | PathLike[str],
    recipe: str | PathLike[str] | None = None,
    *,
    backbone: str | PathLike[str] | None = None,
    data_dir: str | PathLike[str] | None = None,
    out: str | PathLike[str] = "runs",
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "auto",
    policy: Policy = "only-missing",
) -> Path:
    """Train the encoder of a recipe; returns its folder, which `evaluate` takes as a model.

    The benchmark (a name, a folder or an experiment.yaml) is what the encoder is to be evaluated
    on: training data is audited against it, and sources are chosen by it. `recipe` is a name or a
    YAML file, by default ``hybrid``; `backbone` is what training starts from, by default
    ``bundled:multilingual-e5-small``. `settings` are keys of an experiment, for example
    ``{"training.steps": 150}``. The folder is ``<out>/<name>/model``, `name` by default
    ``<benchmark>-<recipe>-<seed>``: that of `biasbench run` with the same recipe, which continues
    from it, as interrupted training does from its last checkpoint. The encoder loads in
    transformers and sentence-transformers too.

    Raises UsageError (also for a recipe that trains nothing), DataError or BiasBenchError, one line
    each.
    """
    options = RunOptions(Path(out), None, device, policy, name, "train")
    return _run(benchmark, recipe, backbone, data_dir, settings, seed, options) / MODEL


def mine(
    benchmark: str | PathLike[str],
    recipe: str | PathLike[str] | None = None,
    *,
    backbone: str | PathLike[str] | None = None,
    data_dir: str | PathLike[str] | None = None,
    out: str | PathLike[str] = "runs",
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "auto",
    policy: Policy = "only-missing",
) -> Path:
    """Mine the hard negatives of a recipe; returns the file that `train` takes them from.

    Arguments are those of `train`; `recipe` is by default ``hybrid-hard``. The file is
    ``<out>/<name>/negatives.jsonl.gz`` (docs/training.md says what its lines hold).

    Raises UsageError (also for a recipe that mines nothing), DataError or BiasBenchError, one line
    each.
    """
    options = RunOptions(Path(out), None, device, policy, name, "mine")
    folder = _run(benchmark, recipe, backbone, data_dir, settings, seed, options)
    return folder / NEGATIVES_FILE


def _run(
    benchmark: str | PathLike[str],
    recipe: str | PathLike[str] | None,
    backbone: str | PathLike[str] | None,
    data_dir: str | PathLike[str] | None,
    settings: Mapping[str, Any] | None,
    seed: int,
    options: RunOptions,
) -> Path:
    """The run folder, once the stage that the options name is finished there."""
    (experiment,) = make_experiments(
        fspath(benchmark),
        None if recipe is None else [fspath(recipe)],
        None if backbone is None else fspath(backbone),
        None if data_dir is None else Path(data_dir),
        [
            f"{key}={value if isinstance(value, str) else json_text(value)}"
            for key, value in (settings or {}).items()
        ],
        [seed],
        options.until,
    )
    return run(experiment, options)
