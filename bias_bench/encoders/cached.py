"""Vectors cached by content: weights, tokenizer, settings and texts, never by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from bias_bench.data.corpus import ShardTexts
from bias_bench.encoders.backbone import Backbone, described, recorded
from bias_bench.encoders.blocks import ArrayBlocks, VectorBlocks, stored_blocks
from bias_bench.encoders.embeds import Request, Texts, texts_of, vector_key
from bias_bench.encoders.encoder import Encoder, EncodingSettings
from bias_bench.encoders.profile import Similarity
from bias_bench.errors import DataError
from bias_bench.system.console import Advance, detail, progress, warn
from bias_bench.system.files import atomic_path, cache_root, is_whole, make_folder, write_checksum
from bias_bench.system.memory import require_memory
from bias_bench.system.processes import ALONE, Processes

_UNKNOWN = 0.5  # share of unknown pieces above which vectors say nothing of their texts
_FORM = 1  # raise it when the way of encoding changes, so that older vectors are not used


def cache_folder() -> Path:
    """Where vectors are cached."""
    return cache_root() / "vectors"


class Model(Protocol):
    """A model that is ready to encode, as `CachedVectors` asks it."""

    def workspace(self, texts: int) -> int:
        """Bytes that encoding this many texts at once takes at most, beside the model."""
        ...

    def encode(self, request: Request, advance: Advance) -> np.ndarray:
        """Vectors float32 [texts, dimensions] of a request; `advance` hears of texts encoded."""
        ...

    def stored(self) -> None:
        """Told when the vectors of the last request are on disk."""
        return


class CachedVectors:
    """A source whose vectors are kept on disk, in `folder` (None: the cache's own); see `Embeds`.

    `load` makes the model; it is called only where vectors are missing.
    """

    def __init__(
        self,
        spec: str,
        identity: Mapping[str, Any],
        record: dict[str, Any],
        described: str,
        similarity: Similarity,
        load: Callable[[], Model],
        languages: tuple[str, ...] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.spec, self.identity, self.record = spec, identity, record
        self.described, self.similarity, self.languages = described, similarity, languages
        self._load, self._folder = load, folder
        self._made: set[str] = set()  # keys of what this source has encoded itself

    @property
    def cost(self) -> dict[str, str]:
        """What equal costs of encoding have in common, for later estimates."""
        encoding = self.record["encoding"]
        return {
            "backbone": self.spec,
            "precision": encoding["precision"],
            "device": encoding["device"].split(":")[0],
        }

    def texts(self, requests: Sequence[Request]) -> list[Texts]:
        """See `Embeds`; whether cached vectors are whole is found out when they are read."""
        folder = self._folder or cache_folder()
        return texts_of(self.identity, requests, lambda _, key: is_there(folder, key))

    def vectors(
        self,
        requests: Sequence[Request],
        *,
        again: bool = False,
        processes: Processes = ALONE,
        memory: int | None = None,
    ) -> list[VectorBlocks]:
        """See `Embeds`; those of texts on disk stay on disk, others are read into memory."""
        paths = self._fill(requests, again, processes, memory)
        return [
            stored_blocks(path)
            if isinstance(request.texts, ShardTexts)
            else ArrayBlocks(np.load(path, allow_pickle=False))
            for path, request in zip(paths, requests, strict=True)
        ]

    def _fill(
        self, requests: Sequence[Request], again: bool, processes: Processes, memory: int | None
    ) -> list[Path]:
        """Encode what the cache lacks; returns the whole files ``<key>.npy`` of all requests.

        Each request is stored as soon as it is done, so an interrupted run keeps what it finished,
        and one request's texts are in memory at a time.
        """
        folder = self._folder or cache_folder()
        keys = [vector_key(self.identity, request) for request in requests]
        paths = [folder / f"{key}.npy" for key in keys]
        share = range(len(requests))[processes.rank :: processes.number]
        lacking = [
            index
            for index in share
            if (again and keys[index] not in self._made) or not _is_whole(paths[index])
        ]
        missing = {keys[index]: index for index in lacking}.values()  # equal texts once
        every, new = (sum(len(requests[i].texts) for i in rows) for rows in (share, lacking))
        whose = " of this process's share" if processes.number > 1 else ""
        detail(f"vectors: {every - new:,} of {every:,} texts{whose} are in the cache, {folder}")
        if missing:
            make_folder(folder)  # before any work
            model = self._load()
            sizes = [len(requests[index].texts) for index in missing]
            require_memory(memory, model.workspace(max(sizes)), "encode")
            with progress("encode", sum(sizes), "texts") as advance:
                for index in missing:
                    request, start = requests[index], perf_counter()
                    vectors = model.encode(request, advance)
                    cost = {
                        "seconds": round(perf_counter() - start, 4),
                        "characters": request.characters,
                        **self.cost,
                    }
                    store_vectors(folder, keys[index], vectors, request.label, cost)
                    model.stored()
        processes.wait()
        # with `again` the other processes have encoded their shares too
        self._made.update(keys if again else (keys[index] for index in missing))
        return paths


class CachedBackbone(CachedVectors):
    """A backbone with the settings it encodes with."""

    def __init__(
        self, backbone: Backbone, settings: EncodingSettings, folder: Path | None = None
    ) -> None:
        self.backbone, self.settings = backbone, settings
        computed = {"precision": settings.precision, "batch_tokens": settings.batch_tokens}
        super().__init__(
            spec=backbone.spec,
            identity={
                "form": _FORM,
                "backbone": backbone.sha256,
                "profile": settings.profile.model_dump(),
                **computed,
                "device": settings.device.split(":")[0],
                "libraries": [version(name) for name in ("torch", "transformers", "tokenizers")],
            },
            record={
                "weights": backbone.sha256,
                "encoding": {**recorded(backbone), **computed, "device": settings.device},
            },
            described=described(backbone),
            similarity=backbone.profile.similarity,
            load=lambda: _Tokenized(Encoder(backbone, settings), backbone.spec),
            languages=backbone.languages,
            folder=folder,
        )


class _Tokenized(Model):
    """An encoder that is given texts; DataError where its tokenizer does not know most of them."""

    def __init__(self, encoder: Encoder, spec: str) -> None:
        self._encoder, self._spec = encoder, spec

    def workspace(self, texts: int) -> int:
        return self._encoder.workspace(texts)

    def encode(self, request: Request, advance: Advance) -> np.ndarray:
        encoder = self._encoder
        tokens = encoder.tokenize(request.texts, request.side)
        if (unknown := encoder.unknown(tokens)) > _UNKNOWN:
            raise DataError(
                f"{request.label}: {unknown:.0%} of their pieces are unknown to the tokenizer of "
                f"{self._spec} (tokenizer.json); is it the encoder's own? Or leave the language "
                "out (--set 'languages=[…]')"
            )
        share = len(tokens) / max(sum(map(len, tokens)), 1)
        left_out = encoder.prefix_tokens(request.side)
        return encoder.encode(tokens, lambda number: advance(number * share), left_out)


def _is_whole(path: Path) -> bool:
    whole = is_whole(path)
    if whole is False:
        warn(f"{path}: cached vectors are damaged; encoding these texts again")
    return bool(whole)


def is_there(folder: Path, key: str) -> bool:
    """Whether something was stored by a key, damaged or not."""
    return all((folder / f"{key}.{suffix}").is_file() for suffix in ("npy", "json"))


def store_vectors(
    folder: Path, key: str, vectors: np.ndarray, label: str, cost: dict[str, Any] | None = None
) -> None:
    """Write ``<key>.npy`` and its checksum; `cost` says what it took, for later estimates."""
    record = {"label": label, "shape": list(vectors.shape), **({"cost": cost} if cost else {})}
    path = folder / f"{key}.npy"
    with atomic_path(path) as temporary:
        np.save(temporary, vectors, allow_pickle=False)
    write_checksum(path, record)


def load_vectors(folder: Path, key: str) -> np.ndarray | None:
    """What was stored by a key; None where it is not there, or damaged, which is said."""
    path = folder / f"{key}.npy"
    return np.load(path, allow_pickle=False) if _is_whole(path) else None


def remove_vectors(folder: Path, key: str) -> None:
    """Remove what was stored by a key."""
    for suffix in ("json", "npy"):
        (folder / f"{key}.{suffix}").unlink(missing_ok=True)
