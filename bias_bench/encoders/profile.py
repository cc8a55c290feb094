"""Profiles: pooling, prefixes and maximum lengths of a backbone."""

from __future__ import annotations

from functools import cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bias_bench.errors import DataError
from bias_bench.files import parse_json

Pooling = Literal["mean", "cls", "pooler"]
PROFILE_FILE = "biasbench.json"


class Profile(BaseModel):
    """How texts become one vector each. Lengths are in tokens, special tokens included."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    pooling: Pooling
    query_prefix: str
    candidate_prefix: str
    query_max_length: int = Field(ge=4)
    candidate_max_length: int = Field(ge=4)


@cache
def _known_profiles() -> list[tuple[str, Profile]]:
    import yaml

    text = package_files("bias_bench.encoders").joinpath("profiles.yaml").read_text("utf-8")
    return [(entry.pop("pattern"), Profile(**entry)) for entry in yaml.safe_load(text)]


def profile_for(name: str, folder: Path | None = None) -> Profile:
    """The profile of a hub id or folder name, with what the files in `folder` say about it.

    A profile saved there by this package holds as it is.
    """
    saved = _saved_profile(folder) if folder else None
    if saved is not None:
        return saved
    known = next(profile for pattern, profile in _known_profiles() if pattern in name.lower())
    if folder is None:
        return known
    try:
        settings = _sentence_transformers_settings(folder)
        return Profile.model_validate({**known.model_dump(), **settings})
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{folder}: its sentence-transformers files (modules.json and those it names) are "
            f"damaged ({reason}); copy them again"
        ) from None


def _saved_profile(folder: Path) -> Profile | None:
    path = folder / PROFILE_FILE
    saved = _read(path)
    if saved is None:
        return None
    schema = saved.get("schema") if isinstance(saved, dict) else None
    if schema != 1:
        raise DataError(f"{path}: schema {schema!r} is unknown to this version; it reads schema 1")
    try:
        return Profile.model_validate(saved.get("profile"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, ("profile", *first["loc"])))
        raise DataError(f"{path}: {place}: {first['msg']}") from None


def _sentence_transformers_settings(folder: Path) -> dict[str, Any]:
    """Pooling, prompts and length stored in sentence-transformers form, where present."""
    settings: dict[str, Any] = {}
    modules = _read(folder / "modules.json")
    if modules is None:
        return settings
    for module in modules:
        kind, place = module["type"].rsplit(".", 1)[-1], Path(module["path"])
        if place.is_absolute() or ".." in place.parts:
            raise ValueError(f"the path '{place}' leads out of the folder")
        config = folder / place / "config.json"
        if kind == "Pooling":
            settings["pooling"] = _pooling(config)
        elif kind == "Dense" and _is_bert_pooler(_read(config) or {}, settings):
            settings["pooling"] = "pooler"
        elif kind not in ("Transformer", "Normalize"):
            raise DataError(f"{folder}: its module '{kind}' is not supported; export one without")
    length = (_read(folder / "sentence_bert_config.json") or {}).get("max_seq_length")
    if length:
        settings["query_max_length"] = settings["candidate_max_length"] = int(length)
    prompts = (_read(folder / "config_sentence_transformers.json") or {}).get("prompts") or {}
    candidate = prompts.get("passage") or prompts.get("document")
    if prompts.get("query") or candidate:
        settings["query_prefix"] = prompts.get("query") or ""
        settings["candidate_prefix"] = candidate or ""
    return settings


def _is_bert_pooler(config: dict[str, Any], settings: dict[str, Any]) -> bool:
    """LaBSE's port keeps BERT's own pooler (a square tanh layer on the first token) as a module."""
    square = config.get("in_features") == config.get("out_features")
    tanh = str(config.get("activation_function", "")).endswith("Tanh")
    return settings.get("pooling") == "cls" and square and tanh


def _pooling(path: Path) -> Pooling:
    config = _read(path) or {}
    mode = config.get("pooling_mode")
    if mode in ("mean", "cls"):
        return mode
    if config.get("pooling_mode_cls_token"):
        return "cls"
    if config.get("pooling_mode_mean_tokens"):
        return "mean"
    raise DataError(f"{path}: only mean and cls pooling are supported")


def _read(path: Path) -> Any:
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error})") from None
