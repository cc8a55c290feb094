"""Profiles: pooling, prefixes, maximum lengths and similarity of a backbone, and who says so."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from bias_bench.config.kinds import Pooling as Pooling
from bias_bench.config.kinds import Similarity as Similarity
from bias_bench.encoders.modules import NONE, Layout, read_file
from bias_bench.errors import DataError
from bias_bench.system.yaml_values import package_yaml

PROFILE_FILE = "biasbench.json"
DEFAULT_LENGTH = 256  # tokens, of an encoder that neither states a length nor bounds it
_LATER = {"include_prompt": True, "similarity": "cosine"}  # fields that profiles once did not have


class Profile(BaseModel):
    """How texts become one vector each, and how two are compared.

    Lengths are in tokens, special tokens included. Without `include_prompt` the tokens of the
    prefix are read, but not pooled. With ``cosine`` vectors are scaled to length 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    pooling: Pooling
    query_prefix: str
    candidate_prefix: str
    query_max_length: int = Field(ge=4)
    candidate_max_length: int = Field(ge=4)
    include_prompt: bool = True
    similarity: Similarity = "cosine"

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A profile that an earlier version could have had is recorded and hashed as it was."""
        return {key: value for key, value in handler(self).items() if _LATER.get(key) != value}


class Stated(NamedTuple):
    """A profile, and of each of its fields the file, profile or default that it comes from."""

    profile: Profile
    origin: dict[str, str]


class Files(NamedTuple):
    """What a model's own files say, beside those in sentence-transformers' form.

    `positions` are the tokens that a text can have at most, where positions are learned (None:
    no such bound). `length` is a stated or implied maximum, with the file that says so.
    """

    positions: int | None = None
    length: tuple[int, str] | None = None
    pooling: Pooling = "mean"


_NO_FILES = Files()


@cache
def _known_profiles() -> dict[str, dict[str, Any]]:
    return {
        name.lower(): entry
        for entry in package_yaml("bias_bench.encoders", "profiles.yaml")
        for name in entry.pop("models")
    }


def profile_for(
    name: str,
    layout: Layout | None = None,
    files: Files = _NO_FILES,
    folder: Path | None = None,
) -> Stated:
    """The profile of a model: what its files state, then what is known by its name, then defaults.

    `name` is a hub id without a revision, or that of the bundled encoder; profiles by name are for
    these alone. A profile saved in `folder` by this package holds as it is. DataError for files
    that are damaged.
    """
    saved = _saved_profile(folder) if folder else None
    if saved is not None:
        return Stated(saved, dict.fromkeys(Profile.model_fields, PROFILE_FILE))
    values: dict[str, Any] = {
        "pooling": files.pooling,
        "query_prefix": "",
        "candidate_prefix": "",
        "query_max_length": DEFAULT_LENGTH,
        "candidate_max_length": DEFAULT_LENGTH,
        "include_prompt": True,
        "similarity": "cosine",
    }
    origin = {key: NONE if key.endswith("prefix") else "default" for key in values}
    known = _known_profiles().get(name.lower(), {})
    lengths = dict.fromkeys(("query_max_length", "candidate_max_length"), files.length)
    layers = [
        (known, dict.fromkeys(known, f"profile of {name}")),
        _split({field: length for field, length in lengths.items() if length}),
    ]
    if layout:
        # prefixes that are not stated are none, except of a model that is known not to state them
        silent = {key for key in known if layout.origin.get(key) == NONE}
        own = {key: value for key, value in layout.settings.items() if key not in silent}
        layers.append((own, {key: layout.origin[key] for key in own}))
    for part, where in layers:
        values |= part
        origin |= where
    for field in lengths:
        if files.positions and values[field] > files.positions:
            values[field], origin[field] = files.positions, "positions in the weights"
    try:
        return Stated(Profile.model_validate(values), origin)
    except ValidationError as error:
        raise DataError(f"{folder or name}: {_first(error)}") from None


def _split(stated: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    return {k: v for k, (v, _) in stated.items()}, {k: where for k, (_, where) in stated.items()}


def _first(error: ValidationError, *before: str) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, (*before, *first['loc'])))}: {first['msg']}"


def _saved_profile(folder: Path) -> Profile | None:
    path = folder / PROFILE_FILE
    saved = read_file(path)
    if saved is None:
        return None
    schema = saved.get("schema") if isinstance(saved, dict) else None
    if schema != 1:
        raise DataError(f"{path}: schema {schema!r} is unknown to this version; it reads schema 1")
    try:
        return Profile.model_validate(saved.get("profile"))
    except ValidationError as error:
        raise DataError(f"{path}: {_first(error, 'profile')}") from None
