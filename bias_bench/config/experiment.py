"""Experiment: everything that decides the result of a run, resolved and checked."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from copy import deepcopy
from importlib.resources import files as package_files
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, ValidationError, field_validator

from bias_bench.config.index import ExactIndex, IndexSettings, named_kind
from bias_bench.config.kinds import (
    FINISHED_RUNS,
    FUSION,
    FUSION_SEPARATOR,
    LUCENE,
    DebiasMethod,
    FusionOptions,
    LexicalOptions,
    Pooling,
    Similarity,
    Strict,
)
from bias_bench.config.recipes import recipe_names
from bias_bench.config.setting_keys import KIND, explain, form
from bias_bench.config.training import TrainingSettings
from bias_bench.errors import UsageError, nearest
from bias_bench.system.yaml_values import load_yaml

DEFAULT_BACKBONE = "bundled:multilingual-e5-small"
DEFAULT_BENCHMARK = "mini"
DEFAULT_RECIPE = "zero-shot"

_QUOTED = re.compile(r""" "(?:[^"\\]|\\.)*" | '(?:[^']|\'\')*' """, re.VERBOSE | re.DOTALL)
_WHOLE = {"mixture"}  # mappings that are one value: a later one takes the place of an earlier one
_KINDS = {"index"}  # settings of several kinds: one that names its kind takes the place likewise
_FOR_ALL_LAYERS = ("missing", "union_tag_not_found", "value_error")  # problems of all layers as one


class CandidateOptions(Strict):
    """What a candidate is."""

    context: bool = False
    """A candidate's text is its sentence, a space and its paragraph; else the sentence alone."""


class RetrievalOptions(Strict):
    """Which results are looked for."""

    depth: int = Field(default=100, ge=10, le=100_000)
    """Results per query in the TREC files; with another index than the exact one nothing is known
    of what lies deeper."""
    index: IndexSettings = Field(default=ExactIndex(), discriminator=KIND)
    """`exact`, `hnsw` or `ivf-pq`, or a mapping with the `kind` and its settings."""

    @field_validator("index", mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return named_kind(value)


class EncodingOptions(Strict):
    """How texts are encoded. Where a setting is none, what the encoder's own files say holds."""

    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Of computation; `auto`: bf16 where the processor or GPU has bf16 matrix units."""
    batch_tokens: int | None = Field(default=None, ge=16)
    """Tokens that are encoded at a time, padding included; none: as fits the device."""
    pooling: Pooling | None = None
    """How the vectors of a text's tokens become one."""
    query_prefix: str | None = None
    """What stands before each query."""
    candidate_prefix: str | None = None
    """What stands before each candidate."""
    query_max_length: int | None = Field(default=None, ge=4)
    """Tokens of a query, prefix and special tokens included."""
    candidate_max_length: int | None = Field(default=None, ge=4)
    """Tokens of a candidate, prefix and special tokens included."""
    similarity: Similarity | None = None
    """`cosine` scales vectors to length 1 before their inner product is taken."""


class RobustnessOptions(Strict):
    """The robustness suite; `true` is the suite with its defaults, `false` none."""

    strengths: list[Literal["light", "strong"]] = Field(default=["light", "strong"], min_length=1)
    """How strongly questions are changed."""
    topics: int | None = Field(default=None, ge=1)
    """How many topics are drawn; none: all."""


class Experiment(Strict):
    """One system on one benchmark: everything that decides the result of a run.

    With `lexical` or `fusion` nothing is encoded, so the settings of encoders and of their training
    must be left alone.
    """

    benchmark: str = DEFAULT_BENCHMARK
    """By name, or a folder."""
    languages: list[str] | None = Field(default=None, min_length=1)
    """Which of the benchmark's languages; none: all."""
    split: str | None = None
    """The judgements of a benchmark in BEIR's form; none: the only ones, else `test`."""
    backbone: str = DEFAULT_BACKBONE
    """The encoder, before any training."""
    recipe: str = DEFAULT_RECIPE
    """What the other settings were taken from; part of the system's name."""
    seed: int = Field(default=0, ge=0)
    """Of training and of every draw."""
    candidate: CandidateOptions = CandidateOptions()
    retrieval: RetrievalOptions = RetrievalOptions()
    encoding: EncodingOptions = EncodingOptions()
    training: TrainingSettings = TrainingSettings()
    debias: Literal["none", DebiasMethod] = "none"
    """What is done to finished vectors, see [debiasing](training.md#debiasing-without-training)."""
    robustness: RobustnessOptions | None = None
    metrics: list[str] = Field(default=[])
    """Further metrics: `AP`, `nDCG`, `R` or `RR` with a cut-off, such as `nDCG@20`."""
    lexical: LexicalOptions | None = None
    fusion: FusionOptions | None = None
    data_dir: str | None = None
    """Where data lie; decides no result."""

    @field_validator("benchmark", "backbone", "recipe", "data_dir")
    @classmethod
    def _can_be_named(cls, value: str | None) -> str | None:
        if value is not None and "\0" in value:
            raise ValueError("a NUL character names no file")
        return value

    @field_validator("robustness", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        """``true`` is the suite as it is by default, ``false`` none."""
        return ({} if value else None) if isinstance(value, bool) else value

    @property
    def variant(self) -> str:
        """The recipe, and the debiasing where there is one: ``zero-shot-lir``.

        Of a fusion, the names of its runs: ``fusion:xquad-r-bm25-0+xquad-r-hybrid-0``.
        """
        if self.fusion:
            return FUSION + FUSION_SEPARATOR.join(self.fusion.names)
        return self.recipe if self.debias == "none" else f"{self.recipe}-{self.debias}"

    @property
    def system(self) -> System:
        backbone = self.fusion.method if self.fusion else self.backbone
        return System(self.variant, backbone, self.seed)


class System(NamedTuple):
    """Recipe × backbone × seed. Prints as ``recipe@backbone#seed``."""

    recipe: str
    backbone: str
    seed: int

    def __str__(self) -> str:
        return f"{self.recipe}@{self.backbone}#{self.seed}"


class Recipe(NamedTuple):
    """A recipe's name and the experiment settings that it changes."""

    name: str
    settings: dict[str, Any]


def load_recipe(name: str) -> Recipe:
    """A recipe by name, or from a YAML file of the same form."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        content, where = read_yaml(path), path.stem
    elif name.startswith(FUSION):
        runs = _fused_runs(name.removeprefix(FUSION))
        folders = [str(Path(run).resolve()) for run in runs]
        return Recipe("fusion", {"backbone": FINISHED_RUNS, "fusion": {"runs": folders}})
    elif name in recipe_names():
        text = (
            package_files("bias_bench.config.recipes").joinpath(f"{name}.yaml").read_text("utf-8")
        )
        content, where = _parse_yaml(text, name), name
    else:
        raise UsageError(f"unknown recipe '{name}': {nearest(name, recipe_names())}")
    unknown = set(content) - {"description", "settings"}
    if unknown:
        key = sorted(unknown)[0]
        raise UsageError(f"recipe {name}: unknown key '{key}': {nearest(key, ['settings'])}")
    settings = content.get("settings")
    if not isinstance(settings, dict | None):
        raise UsageError(
            f"recipe {name}: settings = {settings!r}: expected a mapping of keys to values"
        )
    return Recipe(where, checked_layer(settings or {}, f"recipe {name}: "))


def _fused_runs(text: str) -> list[str]:
    """The folders in ``RUN+RUN``. A + may stand in a path: what is between two of them is joined
    where only that names a run folder, the shortest first; else every + divides.
    """

    def read(parts: Sequence[str]) -> list[str] | None:
        for end in range(1, len(parts) + 1):
            run = FUSION_SEPARATOR.join(parts[:end])
            if (Path(run) / "manifest.json").is_file():
                rest = read(parts[end:]) if parts[end:] else []
                if rest is not None:
                    return [run, *rest]
        return None

    parts = text.split(FUSION_SEPARATOR)
    return read(parts) or parts


def make_experiment(*layers: dict[str, Any]) -> Experiment:
    """Merge settings, later layers first in rank, and check them all at once."""
    merged: dict[str, Any] = {}
    for layer in layers:
        _merge(merged, layer)
    try:
        experiment = Experiment.model_validate(merged)
    except ValidationError as error:
        raise UsageError("; ".join(_explained(error))) from None
    _require_one_kind(experiment)
    return experiment


def checked_layer(settings: dict[str, Any], where: str = "") -> dict[str, Any]:
    """Settings as they were read; UsageError where they are wrong whatever other layers say.

    What they lack, and whether they go together, `make_experiment` finds when all are known.
    """
    try:
        Experiment.model_validate(settings)
    except ValidationError as error:
        problems = list(_explained(error, leave_out=_FOR_ALL_LAYERS))
        if problems:
            raise UsageError(where + "; ".join(problems)) from None
    return settings


def _explained(error: ValidationError, leave_out: Collection[str] = ()) -> Iterator[str]:
    return (
        explain(problem, Experiment)
        for problem in error.errors()
        if problem["type"] not in leave_out
    )


def _require_one_kind(experiment: Experiment) -> None:
    """A system is an encoder, BM25, or a fusion, with the settings of that alone."""
    kinds = {LUCENE: experiment.lexical, FINISHED_RUNS: experiment.fusion}
    recipes = {LUCENE: "bm25", FINISHED_RUNS: f"{FUSION}RUN{FUSION_SEPARATOR}RUN"}
    for backbone, options in kinds.items():
        if (options is not None) != (experiment.backbone == backbone):
            raise UsageError(
                f"recipe {experiment.recipe}, backbone {experiment.backbone}: do not go together; "
                f"--recipe {recipes[backbone]} has no encoder, so leave --backbone out"
            )
    if experiment.backbone not in kinds:
        return
    defaults = Experiment()
    for name in ("encoding", "training", "debias", "retrieval.index"):
        if attrgetter(name)(experiment) != attrgetter(name)(defaults):
            raise UsageError(
                f"recipe {experiment.recipe}: {name} is a setting of encoders, and it has none; "
                "leave it out"
            )


def parse_override(text: str) -> dict[str, Any]:
    """``a.b=value`` as nested settings; the setting's declared type decides how it is read.

    A text is taken as it stands, also an empty one; ``null`` is none, and quotes around all of it
    are YAML's. Numbers, lists and mappings are YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {text}: write KEY=VALUE, for example retrieval.depth=50")
    return checked_layer(nest(key.strip(), _parse_value(key.strip(), value, text)))


def nest(key: str, value: Any) -> dict[str, Any]:
    """``a.b`` and a value as nested settings."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping from a file."""
    try:
        return _parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from None


def experiment_yaml(experiment: Experiment) -> str:
    """The resolved experiment as YAML that `biasbench run FILE` repeats."""
    import yaml

    return yaml.safe_dump(experiment.model_dump(), sort_keys=False, allow_unicode=True)


def _parse_yaml(text: str, where: str) -> dict[str, Any]:
    try:
        content = load_yaml(text)
    except ValueError as error:
        raise UsageError(f"{where}: not valid YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict):
        raise UsageError(f"{where}: expected a mapping of keys to values")
    return content


def _parse_value(key: str, value: str, where: str) -> Any:
    how = form(Experiment, key)
    if how == "text":
        if value.strip() == "null":
            return None
        if not _QUOTED.fullmatch(value.strip()):
            return value
    try:
        return load_yaml(value, texts=how == "texts")
    except ValueError:
        raise UsageError(f"--set {where}: the value is not valid YAML; quote it") from None


def _merge(target: dict[str, Any], layer: dict[str, Any]) -> None:
    for key, value in layer.items():
        before: Any = named_kind(target.get(key)) if key in _KINDS else target.get(key)
        nested = isinstance(value, dict) and isinstance(before, dict) and key not in _WHOLE
        if nested and not (key in _KINDS and KIND in value):
            target[key] = before
            _merge(before, value)
        else:
            target[key] = deepcopy(value)
