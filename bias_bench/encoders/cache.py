"""Vectors cached by content: weights, tokenizer, settings and texts, never by name."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from bias_bench.console import detail, progress, warn
from bias_bench.encoders.backbone import Backbone
from bias_bench.encoders.encoder import Encoder, EncodingSettings, Side
from bias_bench.files import cache_root, digest, digest_texts, is_whole, write_checked
from bias_bench.manifest import Texts

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


def request_texts(
    backbone: Backbone, settings: EncodingSettings, requests: Sequence[Request]
) -> list[Texts]:
    """The key in the cache and the size of every request that is not empty."""
    return [
        Texts(vector_key(backbone, settings, request), len(request.texts), _characters(request))
        for request in requests
        if request.texts
    ]


def is_cached(folder: Path, key: str) -> bool:
    """Whether vectors are there; whether they are whole is found out when they are read."""
    return all((folder / f"{key}.{suffix}").is_file() for suffix in ("npy", "json"))


def _characters(request: Request) -> int:
    return sum(map(len, request.texts))


def encode_cached(
    backbone: Backbone,
    settings: EncodingSettings,
    requests: list[Request],
    folder: Path,
    use_cached: bool = True,
) -> list[np.ndarray]:
    """Unit vectors float32 [texts, dimensions] of each request; loads the model only if needed.

    Each request is stored as soon as it is done, so an interrupted run keeps what it finished.
    Vectors of a model given as a Python object are its own to keep.
    """
    if backbone.given:
        return backbone.given.encode(requests)
    keys = [vector_key(backbone, settings, request) for request in requests]
    found = [load_vectors(folder, key) if use_cached else None for key in keys]
    missing = [index for index, vectors in enumerate(found) if vectors is None]
    kept = sum(len(vectors) for vectors in found if vectors is not None)
    every = sum(len(request.texts) for request in requests)
    detail(f"vectors: {kept:,} of {every:,} texts are in the cache, {folder}")
    if missing:
        encoder = Encoder(backbone, settings)
        tokens = {
            index: encoder.tokenize(requests[index].texts, requests[index].side)
            for index in missing
        }
        total = sum(len(ids) for lists in tokens.values() for ids in lists)
        with progress("encode", total, "tokens") as advance:
            for index in missing:
                start = perf_counter()
                vectors = encoder.encode(tokens[index], advance)
                cost = {
                    "seconds": round(perf_counter() - start, 4),
                    "characters": _characters(requests[index]),
                    "backbone": backbone.spec,
                    "precision": settings.precision,
                    "device": settings.device.split(":")[0],
                }
                store_vectors(folder, keys[index], vectors, requests[index].label, cost)
                found[index] = vectors
    return [vectors for vectors in found if vectors is not None]


def store_vectors(
    folder: Path, key: str, vectors: np.ndarray, label: str, cost: dict[str, Any] | None = None
) -> None:
    """Write ``<key>.npy`` and its checksum; `cost` says what it took, for later estimates."""
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    record = {"label": label, "shape": list(vectors.shape), **({"cost": cost} if cost else {})}
    write_checked(folder / f"{key}.npy", buffer.getvalue(), record)


def load_vectors(folder: Path, key: str) -> np.ndarray | None:
    """Cached vectors, or None; a damaged file is reported and counts as absent."""
    path = folder / f"{key}.npy"
    whole = is_whole(path)
    if whole is False:
        warn(f"{path}: cached vectors are damaged; encoding these texts again")
    return np.load(path, allow_pickle=False) if whole else None
