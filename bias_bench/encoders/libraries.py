"""Encoders through other libraries: what sentence-transformers loads, and mteb's models.

They encode in their own way: prompts, pooling and lengths are theirs. Code that comes with a model
is not run.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from bias_bench.console import Advance
from bias_bench.encoders.backbone import hub_folder
from bias_bench.encoders.cached import CachedVectors, Loaded
from bias_bench.encoders.embeds import Request
from bias_bench.encoders.encoder import resolve_precision
from bias_bench.encoders.modules import CONFIG
from bias_bench.encoders.objects import (
    MTEB_ASKED,
    Encode,
    asker,
    checked_vectors,
    prompts_asked,
    scaled,
)
from bias_bench.encoders.profile import Similarity
from bias_bench.errors import BiasBenchError, DataError, UsageError
from bias_bench.files import read_json, sha256_file

_FORM = 1  # raise it when the way of asking changes, so that older vectors are not used
_LIBRARIES = ("torch", "transformers", "tokenizers", "sentence-transformers")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
_NOT_READ = (
    *("*.md", ".*", "*.onnx", "onnx/*", "openvino/*", "*.h5", "*.msgpack", "*.ot", "*.gguf"),
    *_PICKLES,
)
_FLOAT_BYTES, _TEXT_BYTES = 4, 1_000


class LibraryModel(CachedVectors):
    """A model of another library, asked for all texts of a request at once.

    `weights` and `libraries` (of which the versions count) decide its vectors; `asked` says how it
    is asked; `stated` is the similarity that its files state, if they do.
    """

    def __init__(
        self,
        spec: str,
        weights: dict[str, str],
        asked: str,
        stated: object,
        libraries: tuple[str, ...],
        encoding: Mapping[str, Any],
        device: str,
        folder: Path | None,
    ) -> None:
        super().__init__(folder)
        self.spec, self.device = spec, device
        self.similarity = _similarity(encoding, stated, spec)
        self.precision = resolve_precision(encoding.get("precision", "auto"), device)
        kind = device.split(":")[0]
        self.described = f"{asked}; {self.similarity}"
        self.cost = {"backbone": spec, "precision": self.precision, "device": kind}
        self.identity = {
            "form": _FORM,
            "kind": spec.partition(":")[0],
            "weights": weights,
            "asked": asked,
            "similarity": self.similarity,
            "precision": self.precision,
            "device": kind,
            "libraries": [version(name) for name in libraries],
        }
        self.record = {
            "weights": weights,
            "encoding": {
                "precision": self.precision,
                "device": device,
                "similarity": self.similarity,
                "asked": asked,
            },
        }

    @abstractmethod
    def asker(self) -> Encode:
        """Load the model; returns how it is asked for the vectors of texts on a side."""

    def load(self) -> _Asked:
        """The model, ready to encode; BiasBenchError, in one line, where it cannot be loaded."""
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            return _Asked(self.asker(), self)
        except BiasBenchError:
            raise
        except (OSError, ValueError, ImportError, KeyError, RuntimeError, TypeError) as error:
            raise DataError(f"{self.spec}: cannot be loaded ({_line(error)})") from None


class _Asked(Loaded):
    """A loaded model; its vectors are checked, and scaled to length 1 for cosine."""

    def __init__(self, encode: Encode, source: LibraryModel) -> None:
        self._encode, self._source = encode, source

    def workspace(self, texts: int) -> int:
        """Bytes of the vectors and texts alone: what a library takes beside is not known."""
        return texts * (_TEXT_BYTES + 2 * _FLOAT_BYTES * 1024)

    def encode(self, request: Request, advance: Advance) -> np.ndarray:
        import torch

        kind, bf16 = torch.device(self._source.device).type, self._source.precision == "bf16"
        with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=bf16):
            vectors = self._encode(list(request.texts), request.side)
        advance(len(request.texts))
        checked = checked_vectors(vectors, len(request.texts), request.label)
        return scaled(checked, self._source.similarity)


class SentenceTransformerModel(LibraryModel):
    """``st:ID``: whatever a SentenceTransformer loads, by its own encode_query and encode_document.

    ID is a folder or an id of the hub, optionally ``id@revision``. Every file of it that can decide
    a vector is hashed.
    """

    def __init__(
        self,
        name: str,
        encoding: Mapping[str, Any],
        device: str,
        fetch: bool = True,
        folder: Path | None = None,
    ) -> None:
        spec = f"st:{name}"
        _require("sentence-transformers", 6, spec)
        self._path = _st_folder(name, spec, fetch)
        config = _st_config(self._path)
        files = sorted(path for path in self._path.rglob("*") if path.is_file())
        _require_safetensors(files)
        weights = {
            path.relative_to(self._path).as_posix(): sha256_file(path)
            for path in files
            if not _matches(path.relative_to(self._path), _NOT_READ)
        }
        asked = f"sentence-transformers; {prompts_asked(config.get('prompts') or {})}"
        stated = config.get("similarity_fn_name")
        super().__init__(spec, weights, asked, stated, _LIBRARIES, encoding, device, folder)

    def asker(self) -> Encode:
        """See `LibraryModel`."""
        import torch
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(
            str(self._path),
            device=self.device,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"dtype": torch.float32, "use_safetensors": True},
        )
        return asker(model.eval())


class MtebModel(LibraryModel):
    """``mteb:ID``: a model of mteb's registry, or one of the hub that mteb loads; ``ID@revision``.

    Its weights are known by the revision that mteb pins, and not hashed.
    """

    def __init__(
        self,
        name: str,
        encoding: Mapping[str, Any],
        device: str,
        fetch: bool = True,
        folder: Path | None = None,
    ) -> None:
        spec = f"mteb:{name}"
        _require("mteb", 2, spec)
        import mteb

        name, _, revision = name.partition("@")
        try:
            self._meta = mteb.get_model_meta(name, revision or None, fetch_from_hf=fetch)
        except (KeyError, OSError, ValueError) as error:
            raise DataError(f"{spec}: mteb does not find it ({_line(error)})") from None
        if (self._meta.loader_kwargs or {}).get("trust_remote_code"):
            raise UsageError(f"{spec}: needs code that comes with the model, which is not run")
        weights = {str(self._meta.name): str(self._meta.revision)}
        stated = getattr(self._meta.similarity_fn_name, "value", self._meta.similarity_fn_name)
        libraries = (*_LIBRARIES, "mteb")
        super().__init__(spec, weights, MTEB_ASKED, stated, libraries, encoding, device, folder)

    def asker(self) -> Encode:
        """See `LibraryModel`."""
        return asker(self._meta.load_model(device=self.device))


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


def _similarity(encoding: Mapping[str, Any], stated: object, spec: str) -> Similarity:
    """The similarity that is set, else stated, else cosine; UsageError for other settings."""
    refused = encoding.keys() - {"similarity", "precision"}
    if refused:
        raise UsageError(
            f"setting encoding.{min(refused)}: {spec} encodes in its own way; leave it out"
        )
    similarity = encoding.get("similarity") or stated or "cosine"
    if similarity == "cosine":
        return "cosine"
    if similarity == "dot":
        return "dot"
    raise UsageError(
        f"{spec}: compares by {similarity}; choose cosine or dot with --set encoding.similarity=…"
    )


def _st_folder(name: str, spec: str, fetch: bool) -> Path:
    """The folder with the model's files; DataError where they are not on this disk nor the hub."""
    if Path(name).is_dir():
        return Path(name)
    hub_id, _, revision = name.partition("@")
    if hub_id.count("/") != 1 or hub_id.startswith((".", "/", "~")):
        raise UsageError(f"{spec}: neither an existing folder nor an id of the hub (owner/name)")
    return hub_folder(hub_id, revision, fetch, ignore=[*_NOT_READ])


def _st_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    config = read_json(path) if path.is_file() else {}
    if not isinstance(config, dict) or not isinstance(config.get("prompts") or {}, dict):
        raise DataError(f"{path}: damaged: not an object with prompts by name")
    return config


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


def _line(error: Exception) -> str:
    """The first line of an error's text, at most 200 characters."""
    text = (str(error) or type(error).__name__).strip().splitlines()[0]
    return text if len(text) <= 200 else f"{text[:200]}…"
