"""`biasbench mine`, `train`, `encode` and `search`: `biasbench run --until`, in short."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from typing import Annotated, Any, NamedTuple, get_args

from bias_bench.cli.run import run
from bias_bench.runs.experiments import STAGE_RECIPES


class StageCommand(NamedTuple):
    """What a command does, in its help, and an example."""

    help: str
    example: str

    @property
    def examples(self) -> str:
        """The end of the command's help."""
        return f"Examples:\n\n{self.example}\n\n{self.example} --dry-run"


COMMANDS = {
    "mine": StageCommand(
        "Mine the hard negatives of a recipe into its run folder (negatives.jsonl.gz), and stop.",
        "biasbench mine xquad-r --recipe hybrid-hard --data-dir data",
    ),
    "train": StageCommand(
        "Train the encoder of a recipe into its run folder (model/), and stop.",
        "biasbench train xquad-r --recipe hybrid --data-dir data --seed 0 --seed 1",
    ),
    "encode": StageCommand(
        "Encode a benchmark's queries and candidates into the cache of vectors, and stop.",
        "biasbench encode xquad-r --backbone intfloat/multilingual-e5-base",
    ),
    "search": StageCommand(
        "Search every setting, write TREC runs, qrels and exact ranks, and stop.",
        "biasbench search mlqa-r --recipe zero-shot --set retrieval.depth=1000",
    ),
}


_BOUNDED = ("encode", "search")  # the stages that --memory bounds


def stage_command(name: str) -> Callable[..., None]:
    """The command of that name: `run` with its other options."""
    options = [
        _with_default_recipe(parameter, STAGE_RECIPES[name])
        if parameter.name == "recipe" and name in STAGE_RECIPES
        else parameter
        for parameter in inspect.signature(run, eval_str=True).parameters.values()
        if parameter.name not in ("until", "metrics", *(() if name in _BOUNDED else ("memory",)))
    ]

    def command(**given: Any) -> None:
        run(until=name, **given)

    command.__name__, command.__doc__ = name, COMMANDS[name].help
    # typer reads a command's options from here; functions have no such attribute for a type checker
    command.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in options}
    return command


def _with_default_recipe(parameter: inspect.Parameter, recipe: str) -> inspect.Parameter:
    """The option of `run` with the default of a stage that needs a recipe that trains."""
    kind, option = get_args(parameter.annotation)
    own = copy(option)
    own.help = f"Recipe by name or YAML file; may be repeated. Default: {recipe}."
    return parameter.replace(annotation=Annotated[kind, own])
