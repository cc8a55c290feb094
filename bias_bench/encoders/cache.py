"""Vectors cached by content: weights, tokenizer, settings and texts, never by name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bias_bench.console import progress, warn
from bias_bench.encoders.backbone import Backbone
from bias_bench.encoders.encoder import Encoder, EncodingSettings, Side
from bias_bench.files import (
    cache_root,
    digest,
    digest_texts,
    read_json,
    sha256_file,
    write_bytes,
    write_json,
)

_FORM = 1  # raise it when the way of encoding changes, so that older vectors are not used


class Request(NamedTuple):
    """Texts to encode together, with a label for progress."""

    label: str
    side: Side
    texts: list[str]


def cache_folder() -> Path:
    """Where vectors are cached."""
    return cache_root() / "vectors"


def vector_key(backbone: Backbone, settings: EncodingSettings, request: Request) -> str:
    """sha256 over everything that decides the vectors, library version included."""
    from importlib.metadata import version

    return digest(
        {
            "form": _FORM,
            "backbone": backbone.sha256,
            "profile": settings.profile.model_dump(),
            "precision": settings.precision,
            "batch_tokens": settings.batch_tokens,
            "device": settings.device.split(":")[0],
            "libraries": [version("torch"), version("transformers"), version("tokenizers")],
            "side": request.side,
            "texts": digest_texts(request.texts),
        }
    )


def encode_cached(
    backbone: Backbone,
    settings: EncodingSettings,
    requests: list[Request],
    folder: Path,
    use_cached: bool = True,
) -> list[np.ndarray]:
    """Unit vectors float32 [texts, dimensions] of each request; loads the model only if needed.

    Each request is stored as soon as it is done, so an interrupted run keeps what it finished.
    """
    keys = [vector_key(backbone, settings, request) for request in requests]
    found = [load_vectors(folder, key) if use_cached else None for key in keys]
    missing = [index for index, vectors in enumerate(found) if vectors is None]
    if missing:
        encoder = Encoder(backbone, settings)
        tokens = {
            index: encoder.tokenize(requests[index].texts, requests[index].side)
            for index in missing
        }
        total = sum(len(ids) for lists in tokens.values() for ids in lists)
        with progress("encode", total, "tokens") as advance:
            for index in missing:
                vectors = encoder.encode(tokens[index], advance)
                store_vectors(folder, keys[index], vectors, requests[index].label)
                found[index] = vectors
    return [vectors for vectors in found if vectors is not None]


def store_vectors(folder: Path, key: str, vectors: np.ndarray, label: str) -> None:
    """Write ``<key>.npy``, then ``<key>.json`` with its checksum: the latter marks it whole."""
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    path = folder / f"{key}.npy"
    write_bytes(path, buffer.getvalue())
    record = {
        "schema": 1,
        "label": label,
        "shape": list(vectors.shape),
        "sha256": sha256_file(path),
    }
    write_json(folder / f"{key}.json", record)


def load_vectors(folder: Path, key: str) -> np.ndarray | None:
    """Cached vectors, or None; a damaged file is reported and counts as absent."""
    path, record_path = folder / f"{key}.npy", folder / f"{key}.json"
    if not (path.is_file() and record_path.is_file()):
        return None
    if read_json(record_path)["sha256"] != sha256_file(path):
        warn(f"{path}: cached vectors are damaged; encoding these texts again")
        return None
    return np.load(path, allow_pickle=False)
