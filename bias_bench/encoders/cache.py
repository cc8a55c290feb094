"""Vectors cached by content: weights, tokenizer, settings and texts, never by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from bias_bench.console import Advance, detail, progress, warn
from bias_bench.datasets.corpus import ShardTexts
from bias_bench.encoders.backbone import Backbone
from bias_bench.encoders.encoder import Encoder, EncodingSettings, Side
from bias_bench.errors import DataError
from bias_bench.files import (
    atomic_path,
    cache_root,
    digest,
    digest_texts,
    is_whole,
    make_folder,
    write_checksum,
)
from bias_bench.manifest import Texts
from bias_bench.memory import require_memory
from bias_bench.processes import ALONE, Processes

_UNKNOWN = 0.5  # share of unknown pieces above which vectors say nothing of their texts
_FORM = 1  # raise it when the way of encoding changes, so that older vectors are not used


class Request(NamedTuple):
    """Texts to encode together, with a label for progress; a `ShardTexts` is read when needed."""

    label: str
    side: Side
    texts: Sequence[str]


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
            "texts": texts_digest(request.texts),
        }
    )


def texts_digest(texts: Sequence[str]) -> str:
    """As `files.digest_texts`; of texts on disk it is known already."""
    return texts.sha256 if isinstance(texts, ShardTexts) else digest_texts(texts)


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
    texts = request.texts
    return texts.characters if isinstance(texts, ShardTexts) else sum(map(len, texts))


def encode_cached(
    backbone: Backbone,
    settings: EncodingSettings,
    requests: list[Request],
    folder: Path,
    use_cached: bool = True,
) -> list[np.ndarray]:
    """Vectors float32 [texts, dimensions] of each request; loads the model only if needed.

    Vectors of a model given as a Python object are its own to keep.
    """
    if backbone.given:
        return backbone.given.encode(requests)
    paths = fill_cache(backbone, settings, requests, folder, use_cached)
    return [np.load(path, allow_pickle=False) for path in paths]


def fill_cache(
    backbone: Backbone,
    settings: EncodingSettings,
    requests: Sequence[Request],
    folder: Path,
    use_cached: bool = True,
    processes: Processes = ALONE,
    memory: int | None = None,
) -> list[Path]:
    """Encode what the cache lacks; returns the whole files ``<key>.npy`` of all requests.

    Each request is stored as soon as it is done, so an interrupted run keeps what it finished, and
    one request's texts are in memory at a time. Of several processes each does its share, and the
    files are all there when this returns. UsageError where that takes more than `memory` bytes.
    """
    keys = [vector_key(backbone, settings, request) for request in requests]
    paths = [folder / f"{key}.npy" for key in keys]
    own = range(len(requests))[processes.rank :: processes.number]
    missing = [index for index in own if not (use_cached and _is_kept(paths[index]))]
    every, new = (sum(len(requests[index].texts) for index in part) for part in (own, missing))
    share = " of this process's share" if processes.number > 1 else ""
    detail(f"vectors: {every - new:,} of {every:,} texts{share} are in the cache, {folder}")
    if missing:
        make_folder(folder)  # before any work
        encoder = Encoder(backbone, settings)
        most = max(len(requests[index].texts) for index in missing)
        require_memory(memory, encoder.workspace(most), "encode")
        with progress("encode", new, "texts") as advance:
            for index in missing:
                request, start = requests[index], perf_counter()
                vectors = _encode(encoder, request, backbone.spec, advance)
                cost = {
                    "seconds": round(perf_counter() - start, 4),
                    "characters": _characters(request),
                    "backbone": backbone.spec,
                    "precision": settings.precision,
                    "device": settings.device.split(":")[0],
                }
                store_vectors(folder, keys[index], vectors, request.label, cost)
    processes.wait()
    return paths


def _encode(encoder: Encoder, request: Request, spec: str, advance: Advance) -> np.ndarray:
    tokens = encoder.tokenize(request.texts, request.side)
    if (unknown := encoder.unknown(tokens)) > _UNKNOWN:
        raise DataError(
            f"{request.label}: {unknown:.0%} of their pieces are unknown to the tokenizer of "
            f"{spec} (tokenizer.json); is it the encoder's own? Or leave the language out "
            "(--set 'languages=[…]')"
        )
    share = len(tokens) / max(sum(map(len, tokens)), 1)
    left_out = encoder.prefix_tokens(request.side)
    return encoder.encode(tokens, lambda number: advance(number * share), left_out)


def _is_kept(path: Path) -> bool:
    whole = is_whole(path)
    if whole is False:
        warn(f"{path}: cached vectors are damaged; encoding these texts again")
    return bool(whole)


def store_vectors(
    folder: Path, key: str, vectors: np.ndarray, label: str, cost: dict[str, Any] | None = None
) -> None:
    """Write ``<key>.npy`` and its checksum; `cost` says what it took, for later estimates."""
    record = {"label": label, "shape": list(vectors.shape), **({"cost": cost} if cost else {})}
    path = folder / f"{key}.npy"
    with atomic_path(path) as temporary:
        np.save(temporary, vectors, allow_pickle=False)
    write_checksum(path, record)
