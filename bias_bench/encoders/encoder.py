"""Encoder: texts to float32 vectors, in length-sorted batches under a token budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np

from bias_bench.encoders.backbone import Backbone
from bias_bench.encoders.embeds import Side
from bias_bench.encoders.profile import Profile
from bias_bench.errors import BiasBenchError, DataError, UsageError, first_line
from bias_bench.system.console import Advance
from bias_bench.system.provenance import cpu_features, processor

Precision = Literal["float32", "bf16"]

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
    """``auto`` is CUDA when torch has it, else the CPU; UsageError for what is not a device."""
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
        raise BiasBenchError(
            f"device '{device}' cannot be used here: {first_line(error)}"
        ) from None
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
        self._spec = backbone.spec
        self._model, self._tokenizer = backbone.load()
        self._head = backbone.head()
        self._model.to(settings.device)
        if self._head is not None:
            self._head.to(settings.device)

    def workspace(self, texts: int) -> int:
        """Bytes that encoding this many texts at once takes at most, beside the model."""
        profile, width = self.settings.profile, self._model.config.hidden_size
        longest = max(profile.query_max_length, profile.candidate_max_length)
        held = texts * (_TEXT_BYTES + 4 * longest + 4 * width)
        tokenizer = min(texts, _TOKENIZED) * longest * _TOKEN_BYTES
        return held + tokenizer + self.settings.batch_tokens * width * _ACTIVATION_BYTES

    def unknown(self, token_ids: Sequence[np.ndarray]) -> float:
        """Share of the pieces of texts that the tokenizer does not know, 0 to 1."""
        special = set(self._tokenizer.all_special_ids) - {self._tokenizer.unk_token_id}
        pieces = np.concatenate(token_ids)
        pieces = pieces[~np.isin(pieces, list(special))]
        if self._tokenizer.unk_token_id is None or not len(pieces):
            return 0.0
        return float((pieces == self._tokenizer.unk_token_id).mean())

    def prefix_tokens(self, side: Side) -> int:
        """How many tokens at the start of every text are read but not pooled."""
        profile = self.settings.profile
        prefix = profile.query_prefix if side == "query" else profile.candidate_prefix
        if profile.include_prompt or not prefix:
            return 0
        ids = self._tokenizer(prefix)["input_ids"]
        return len(ids) - (ids[-1] in self._tokenizer.all_special_ids)

    def tokenize(self, texts: Sequence[str], side: Side) -> list[np.ndarray]:
        """Token ids int32 of each text with its prefix, cut to the profile's maximum length."""
        if not texts:
            raise BiasBenchError("nothing to encode: the list of texts is empty")
        profile = self.settings.profile
        query = side == "query"
        prefix = profile.query_prefix if query else profile.candidate_prefix
        limit = profile.query_max_length if query else profile.candidate_max_length
        tokens: list[np.ndarray] = []
        stream = iter(texts)
        while prefixed := [prefix + text for text in islice(stream, _TOKENIZED)]:
            encoded = self._tokenizer(prefixed, truncation=True, max_length=limit)
            tokens += [np.array(ids, dtype=np.int32) for ids in encoded["input_ids"]]
        highest = max(int(ids.max(initial=0)) for ids in tokens)
        if highest >= (rows := self._model.get_input_embeddings().num_embeddings):
            raise DataError(
                f"{self._spec}: its tokenizer (tokenizer.json) gives the piece {highest:,}, and "
                f"the model has embeddings of {rows:,}; copy or fetch the encoder's own tokenizer"
            )
        return tokens

    def encode(
        self,
        token_ids: Sequence[Sequence[int] | np.ndarray],
        advance: Advance,
        left_out: int = 0,
    ) -> np.ndarray:
        """Vectors float32 [texts, dimensions], of length 1 where they are compared by cosine.

        `advance` hears of every token encoded. `left_out` tokens at the start are not pooled.
        """
        import torch

        lengths = [len(ids) for ids in token_ids]
        vectors = np.empty((0, 0), dtype=np.float32)
        with torch.inference_mode():
            for rows in length_sorted_batches(lengths, self.settings.batch_tokens):
                batch = self._forward([token_ids[row] for row in rows], left_out)
                if not len(vectors):
                    vectors = np.empty((len(lengths), batch.shape[1]), dtype=np.float32)
                vectors[rows] = batch
                advance(sum(lengths[row] for row in rows))
        if not np.isfinite(vectors).all():
            raise BiasBenchError(
                "the encoder gave NaN or infinity; try --set encoding.precision=float32"
            )
        return vectors

    def _forward(self, batch: Sequence[Sequence[int] | np.ndarray], left_out: int) -> np.ndarray:
        import torch

        device, profile = torch.device(self.settings.device), self.settings.profile
        ids, mask = pad(batch, padding_id(self._tokenizer))
        inputs = {
            "input_ids": torch.from_numpy(ids).to(device),
            "attention_mask": torch.from_numpy(mask).to(device),
        }
        bf16 = self.settings.precision == "bf16"
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            output = self._model(**inputs)
        pooled = pool(output, inputs["attention_mask"], profile.pooling, left_out).float()
        if self._head is not None:
            pooled = self._head(pooled)
        if profile.similarity == "cosine":
            pooled = torch.nn.functional.normalize(pooled, dim=1)
        return pooled.cpu().numpy()


def pool(output: Any, mask: Any, pooling: str, left_out: int = 0) -> Any:
    """One vector per text, float32 [batch, dimensions], from a transformers model's output.

    `mask` int [batch, tokens] is 1 for tokens and 0 for the padding after them. `left_out` tokens
    at the start do not count, though ``weightedmean`` still counts places from the first token.
    As defined by the module Pooling of sentence-transformers.
    """
    import torch

    if pooling == "pooler":
        if getattr(output, "pooler_output", None) is None:
            raise BiasBenchError("this model has no pooler; --set encoding.pooling=mean or cls")
        return output.pooler_output.float()
    hidden = output.last_hidden_state.float()
    if pooling in ("cls", "lasttoken"):
        lengths = mask.sum(dim=1)
        first = torch.where(lengths > left_out, left_out, 0)
        token = first if pooling == "cls" else lengths - 1
        return hidden[torch.arange(len(hidden), device=hidden.device), token]
    if left_out:
        mask = mask.clone()
        mask[:, :left_out] = 0
    if pooling == "max":
        return hidden.masked_fill(mask.unsqueeze(-1) == 0, -torch.inf).max(dim=1).values
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    if pooling == "weightedmean":
        weights = weights * torch.arange(1, hidden.shape[1] + 1, device=hidden.device)[:, None]
    total = weights.sum(dim=1).clamp(min=1e-9)
    divisor = total.sqrt() if pooling == "mean_sqrt_len_tokens" else total
    return (hidden * weights).sum(dim=1) / divisor


def padding_id(tokenizer: Any) -> int:
    """What stands after short texts; nothing attends to it, so any piece does for want of one."""
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0


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
