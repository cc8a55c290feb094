"""Encoder: texts to float32 unit vectors, in length-sorted batches under a token budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np

from bias_bench.console import Advance
from bias_bench.encoders.backbone import Backbone
from bias_bench.encoders.profile import Profile
from bias_bench.errors import BiasBenchError, UsageError
from bias_bench.provenance import cpu_features, processor

Precision = Literal["float32", "bf16"]
Side = Literal["query", "candidate"]

# Measured on two cores: larger batches leave the caches, smaller ones pay per-call overhead.
_BATCH_TOKENS = {"cpu": 1024, "cuda": 65_536}
_TOKENIZED = 1_024  # texts at a time
_TOKEN_BYTES = 400  # of a token in what the tokenizer says of a text
_TEXT_BYTES = 120  # of a text's array of token ids beside the ids
_ACTIVATION_BYTES = 200  # of a token and dimension while a batch passes through the layers


@dataclass(frozen=True)
class EncodingSettings:
    """How to compute: none of these changes the model, all of them may change the last bits."""

    profile: Profile
    precision: Precision
    batch_tokens: int
    device: str


def resolve_device(device: str) -> str:
    """``auto`` is CUDA when torch has it, else the CPU; UsageError for what is no device."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.device(device)
    except RuntimeError:
        raise UsageError(f"unknown device '{device}': give auto, cpu, cuda or cuda:N") from None
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BiasBenchError(f"device '{device}' cannot be used here: {reason}") from None
    return device


def resolve_precision(precision: Literal["auto", "float32", "bf16"], device: str) -> Precision:
    """``auto`` is bf16 where the processor or GPU has bf16 matrix units, else float32.

    AVX-512 BF16 dot products without such units do not count: they gain little over float32.
    """
    if precision != "auto":
        return precision
    return "bf16" if has_bf16_matrix_units(device) else "float32"


def has_bf16_matrix_units(device: str) -> bool:
    """AMX on an x86 processor, or a CUDA device of compute capability 8.0 or later."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_capability(device)[0] >= 8
    return device == "cpu" and "amx_bf16" in cpu_features()


def gains_from_bf16(device: str) -> bool:
    """Whether training is faster in bf16: with matrix units, or AMD's bf16 dot products.

    On two cores of an AMD EPYC bf16 was 1.7 to 1.9 times as fast; on two of an Intel Xeon with
    AVX-512 BF16 and without AMX products were slower (158 against 267 GFLOP/s), and a step
    took 1.45 times as long.
    """
    if has_bf16_matrix_units(device):
        return True
    return device == "cpu" and "avx512_bf16" in cpu_features() and "AMD" in processor()


def default_batch_tokens(device: str) -> int:
    return _BATCH_TOKENS["cuda" if device.startswith("cuda") else "cpu"]


class Encoder:
    """A loaded backbone with its settings; `encode` is deterministic for equal inputs."""

    def __init__(self, backbone: Backbone, settings: EncodingSettings) -> None:
        self.settings = settings
        self._model, self._tokenizer = backbone.load()
        self._model.to(settings.device)

    def workspace(self, texts: int) -> int:
        """Bytes that encoding so many texts at once takes at most, beside the model."""
        profile, width = self.settings.profile, self._model.config.hidden_size
        longest = max(profile.query_max_length, profile.candidate_max_length)
        held = texts * (_TEXT_BYTES + 4 * longest + 4 * width)
        tokenizer = min(texts, _TOKENIZED) * longest * _TOKEN_BYTES
        return held + tokenizer + self.settings.batch_tokens * width * _ACTIVATION_BYTES

    def tokenize(self, texts: Sequence[str], side: Side) -> list[np.ndarray]:
        """Token ids int32 of each text with its prefix, cut to the profile's maximum length."""
        if not texts:
            raise BiasBenchError("nothing to encode: the list of texts is empty")
        profile = self.settings.profile
        query = side == "query"
        prefix = profile.query_prefix if query else profile.candidate_prefix
        limit = profile.query_max_length if query else profile.candidate_max_length
        found: list[np.ndarray] = []
        stream = iter(texts)
        while part := [prefix + text for text in islice(stream, _TOKENIZED)]:
            encoded = self._tokenizer(part, truncation=True, max_length=limit)
            found += [np.array(ids, dtype=np.int32) for ids in encoded["input_ids"]]
        return found

    def encode(
        self, token_ids: Sequence[Sequence[int] | np.ndarray], advance: Advance
    ) -> np.ndarray:
        """Unit vectors float32 [texts, dimensions]; `advance` hears of every token encoded."""
        import torch

        lengths = [len(ids) for ids in token_ids]
        vectors = np.empty((len(lengths), self._model.config.hidden_size), dtype=np.float32)
        with torch.inference_mode():
            for rows in length_sorted_batches(lengths, self.settings.batch_tokens):
                vectors[rows] = self._forward([token_ids[row] for row in rows])
                advance(sum(lengths[row] for row in rows))
        if not np.isfinite(vectors).all():
            raise BiasBenchError(
                "the encoder gave NaN or infinity; try --set encoding.precision=float32"
            )
        return vectors

    def _forward(self, batch: Sequence[Sequence[int] | np.ndarray]) -> np.ndarray:
        import torch

        device = torch.device(self.settings.device)
        ids, mask = pad(batch, self._tokenizer.pad_token_id)
        inputs = {
            "input_ids": torch.from_numpy(ids).to(device),
            "attention_mask": torch.from_numpy(mask).to(device),
        }
        bf16 = self.settings.precision == "bf16"
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            output = self._model(**inputs)
        pooled = pool(output, inputs["attention_mask"], self.settings.profile.pooling)
        return torch.nn.functional.normalize(pooled.float(), dim=1).cpu().numpy()


def pool(output: Any, mask: Any, pooling: str) -> Any:
    """One vector per text, float32 [batch, dimensions], from a transformers model's output."""
    if pooling == "pooler":
        if getattr(output, "pooler_output", None) is None:
            raise BiasBenchError("this model has no pooler; --set encoding.pooling=mean or cls")
        return output.pooler_output.float()
    hidden = output.last_hidden_state.float()
    if pooling == "cls":
        return hidden[:, 0]
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def pad(batch: Sequence[Sequence[int] | np.ndarray], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and attention mask, int64 [batch, longest]."""
    longest = max(map(len, batch))
    ids = np.full((len(batch), longest), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return ids, mask


def length_sorted_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[np.ndarray]:
    """Rows of each batch, longest texts first, so that rows × longest stays in the budget.

    A text longer than the budget is a batch of its own. Depends on the lengths alone.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // max(lengths[order[start]], 1))
        yield order[start : start + size]
        start += size
