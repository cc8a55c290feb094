"""The keys of nested settings, and what is said of one that is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from bias_bench.errors import nearest

_SHOWN = 200  # characters of a value in a message
_NO_MAPPING = ("model_type", "model_attributes_type", "dict_type")  # pydantic names its classes
KIND = "kind"  # the key by which settings of several kinds are told apart


def setting_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key that --set takes: ``retrieval.depth``."""
    for name, field in model.model_fields.items():
        inner = models_of(field.annotation)
        if len(inner) != 1:  # a value, or settings of several kinds, which a kind's name stands for
            yield prefix + name
        yield from dict.fromkeys(
            key for one in inner for key in setting_keys(one, f"{prefix}{name}.")
        )


def form(model: type[BaseModel], key: str) -> Literal["text", "texts", "other"]:
    """How the value of a setting is written: as a text, as a list of texts, or otherwise.

    ``None`` besides changes nothing. A key that does not exist has the form of a text: whatever is
    said of it, the key is what is wrong.
    """
    models, annotations = [model], list[Any]()
    for part in key.split("."):
        if annotations and not models:  # within a mapping, such as training.mixture
            return "other"
        annotations = _annotations(models, part)
        models = [inner for annotation in annotations for inner in models_of(annotation)]
    kinds = {part for annotation in annotations for part in _parts(annotation)} - {type(None)}
    if all(_is_text(kind) for kind in kinds):
        return "text"
    lists = all(get_origin(kind) is list and _is_text(*get_args(kind)) for kind in kinds)
    return "texts" if lists else "other"


def _is_text(annotation: Any) -> bool:
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    return annotation is str or (bool(choices) and all(isinstance(one, str) for one in choices))


def explain(problem: Any, model: type[BaseModel]) -> str:
    """One clause for one validation error, with the nearest key or kind for an unknown one."""
    keys, models = list[str](), [model]  # of the last key: what it could be, or what it is not in
    for part in map(str, problem["loc"]):
        annotations = _annotations(models, part)
        if not annotations and part in _kinds(models):  # stands between the keys
            models = [one for one in models if part in _kinds([one])]
            continue
        keys.append(part)
        models = models_of(annotations[0]) if annotations else models
    name, prefix = ".".join(keys), ".".join(keys[:-1])
    if problem["type"] == "extra_forbidden":
        inside = dict.fromkeys(key for one in models for key in one.model_fields)
        known = [f"{prefix}.{key}" if prefix else key for key in inside]
        every = (key for key in setting_keys(model) if key != name)
        elsewhere = [key for key in every if key.split(".")[-1] == keys[-1]]
        return f"unknown setting '{name}': {nearest(name, elsewhere or known)}"
    if problem["type"] == "union_tag_invalid":
        kind = problem["ctx"]["tag"]
        return f"setting {name}: unknown {KIND} '{kind}': {nearest(kind, _kinds(models))}"
    if problem["type"] == "union_tag_not_found":
        return f"setting {name}: say which {KIND} it is, one of {', '.join(_kinds(models))}"
    value = repr(problem["input"])
    value = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
    mapping = problem["type"] in _NO_MAPPING
    message = problem["msg"].removeprefix("Value error, ").lower()
    expected = "expected a mapping of keys to values" if mapping else message
    return f"setting {name} = {value}: {expected}"


def _annotations(models: Sequence[type[BaseModel]], key: str) -> list[Any]:
    return [one.model_fields[key].annotation for one in models if key in one.model_fields]


def _kinds(models: Sequence[type[BaseModel]]) -> list[str]:
    """The names by which these are told apart; none for settings of one kind."""
    return [
        kind
        for model in models
        if KIND in model.model_fields
        for kind in get_args(model.model_fields[KIND].annotation)
    ]


def models_of(annotation: Any) -> list[type[BaseModel]]:
    """The models in ``Model``, ``Model | None`` or ``Model | Other``; none in anything else."""
    return [
        part
        for part in _parts(annotation)
        if isinstance(part, type) and issubclass(part, BaseModel)
    ]


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The parts of a union; anything else as its only part."""
    union = get_origin(annotation) in (Union, UnionType)
    return get_args(annotation) if union else (annotation,)
