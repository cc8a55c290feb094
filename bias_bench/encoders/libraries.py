"""Encoders through other libraries: what sentence-transformers loads, and mteb's models.

They encode in their own way: prompts, pooling and lengths are theirs. Code that comes with a model
is not run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from bias_bench.encoders.backbone import hub_folder
from bias_bench.encoders.cached import CachedVectors, Model
from bias_bench.encoders.embeds import Request
from bias_bench.encoders.encoder import resolve_precision
from bias_bench.encoders.modules import CONFIG, MODULES
from bias_bench.encoders.objects import (
    MTEB_ASKED,
    Encode,
    asker,
    checked_vectors,
    prompts_asked,
    require_similarity,
    scaled,
    stated_similarity,
)
from bias_bench.encoders.profile import Similarity
from bias_bench.errors import BiasBenchError, DataError, UsageError, first_line
from bias_bench.system.console import Advance
from bias_bench.system.files import read_json, sha256_file

_FORM = 1  # raise it when the way of asking changes, so that older vectors are not used
_LIBRARIES = ("torch", "transformers", "tokenizers", "sentence-transformers")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
_NOT_READ = (
    *("*.md", ".*", "*.onnx", "onnx/*", "openvino/*", "*.h5", "*.msgpack", "*.ot", "*.gguf"),
    *_PICKLES,
)
_FLOAT_BYTES, _MOST_DIMENSIONS = 4, 4_096


def sentence_transformer(
    name: str, encoding: Mapping[str, Any], device: str, fetch: bool = True
) -> CachedVectors:
    """``st:ID``: whatever a SentenceTransformer loads, by its own encode_query and encode_document.

    ID is a folder or an id of the hub, optionally ``id@revision``. Every file of it that can decide
    a vector is hashed.
    """
    spec = f"st:{name}"
    _require("sentence-transformers", 6, spec)
    folder = _folder(name, spec, fetch)
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    if not isinstance(config, dict) or not isinstance(config.get("prompts") or {}, dict):
        raise DataError(f"{folder / CONFIG}: damaged: not an object with prompts by name")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    _require_safetensors(files)
    weights = {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in files
        if not _matches(path.relative_to(folder), _NOT_READ)
    }

    def load() -> Encode:
        import torch
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(
            str(folder),
            device=device,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"dtype": torch.float32, "use_safetensors": True},
        )
        return asker(model.eval())

    asked = f"sentence-transformers; {prompts_asked(config.get('prompts') or {})}"
    stated = config.get("similarity_fn_name")
    return _source(spec, weights, asked, stated, _LIBRARIES, encoding, device, load)


def mteb_model(
    name: str, encoding: Mapping[str, Any], device: str, fetch: bool = True
) -> CachedVectors:
    """``mteb:ID``: a model of mteb's registry, or one of the hub that mteb loads; ``ID@revision``.

    Its weights are known by the revision that mteb pins, and not hashed.
    """
    spec = f"mteb:{name}"
    _require("mteb", 2, spec)
    import mteb

    name, _, revision = name.partition("@")
    try:
        meta = mteb.get_model_meta(name, revision or None, fetch_from_hf=fetch)
    except (KeyError, OSError, ValueError) as error:
        raise DataError(f"{spec}: mteb does not find it ({first_line(error)})") from None
    if (meta.loader_kwargs or {}).get("trust_remote_code"):
        raise UsageError(f"{spec}: needs code that comes with the model, which is not run")

    def load() -> Encode:
        return asker(meta.load_model(device=device))

    weights = {str(meta.name): str(meta.revision)}
    stated, libraries = stated_similarity(meta), (*_LIBRARIES, "mteb")
    return _source(spec, weights, MTEB_ASKED, stated, libraries, encoding, device, load)


def _source(
    spec: str,
    weights: dict[str, str],
    asked: str,
    stated: object,
    libraries: tuple[str, ...],
    encoding: Mapping[str, Any],
    device: str,
    load: Callable[[], Encode],
) -> CachedVectors:
    """A source whose vectors `weights`, the versions of `libraries` and the settings decide.

    `asked` says how the model is asked, and `stated` is the similarity that its files state.
    """
    if refused := encoding.keys() - {"similarity", "precision"}:
        raise UsageError(
            f"setting encoding.{min(refused)}: {spec} encodes in its own way; leave it out"
        )
    similarity = require_similarity(encoding.get("similarity") or stated or "cosine", spec)
    precision = resolve_precision(encoding.get("precision", "auto"), device)
    encoded = {"precision": precision, "device": device, "similarity": similarity, "asked": asked}
    return CachedVectors(
        spec=spec,
        identity={
            **encoded,
            "device": device.split(":")[0],
            "form": _FORM,
            "kind": spec.partition(":")[0],
            "weights": weights,
            "libraries": [version(name) for name in libraries],
        },
        record={"weights": weights, "encoding": encoded},
        described=f"{asked}; {similarity}",
        similarity=similarity,
        load=lambda: _Asked(_loaded(load, spec), similarity, device, precision == "bf16"),
    )


def _loaded(load: Callable[[], Encode], spec: str) -> Encode:
    """How the model is asked; BiasBenchError, in one line, where it cannot be loaded."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return load()
    except BiasBenchError:
        raise
    except (OSError, ValueError, ImportError, KeyError, RuntimeError, TypeError) as error:
        raise DataError(f"{spec}: cannot be loaded ({first_line(error)})") from None


class _Asked(Model):
    """A loaded model; its vectors are checked, and scaled to length 1 for cosine."""

    def __init__(self, encode: Encode, similarity: Similarity, device: str, bf16: bool) -> None:
        self._encode, self._similarity, self._device, self._bf16 = encode, similarity, device, bf16

    def workspace(self, texts: int) -> int:
        """Bytes of the vectors alone: what a library takes beside is not known."""
        return texts * 2 * _FLOAT_BYTES * _MOST_DIMENSIONS

    def encode(self, request: Request, advance: Advance) -> np.ndarray:
        import torch

        kind = torch.device(self._device).type
        with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=self._bf16):
            vectors = self._encode(list(request.texts), request.side)
        advance(len(request.texts))
        return scaled(checked_vectors(vectors, len(request.texts), request.label), self._similarity)


def _require(package: str, first: int, spec: str) -> None:
    """UsageError with an install line where a package is not there, or of another version."""
    try:
        installed = version(package)
    except PackageNotFoundError:
        installed = ""
    if not installed or int(installed.split(".")[0]) != first:
        raise UsageError(
            f"{spec}: needs {package} {first}, and {installed or 'none'} is installed; run `pip "
            f"install '{package}>={first},<{first + 1}'`"
        )


def _folder(name: str, spec: str, fetch: bool) -> Path:
    """The folder with the model's files; DataError where they are not on this disk nor the hub."""
    folder = Path(name)
    if folder.is_dir():
        if not any((folder / file).is_file() for file in (MODULES, "config.json")):
            raise DataError(f"{spec}: holds neither {MODULES} nor config.json; is it an encoder's?")
        return folder
    hub_id, _, revision = name.partition("@")
    if hub_id.count("/") != 1 or hub_id.startswith((".", "/", "~")):
        raise UsageError(f"{spec}: neither an existing folder nor an id of the hub (owner/name)")
    return hub_folder(hub_id, revision, fetch, ignore=[*_NOT_READ])


def _require_safetensors(files: list[Path]) -> None:
    """DataError for pickled weights that have no safetensors beside them."""
    safe = {path.parent for path in files if path.suffix == ".safetensors"}
    for path in files:
        if _matches(Path(path.name), _PICKLES) and path.parent not in safe:
            raise DataError(
                f"{path}: pickled weights are not read; convert them once with "
                "SentenceTransformer(…).save_pretrained(…)"
            )


def _matches(path: Path, patterns: tuple[str, ...]) -> bool:
    names = [path.as_posix(), *path.parts]
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
