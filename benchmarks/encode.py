"""Encoding against sentence-transformers: same weights, texts, prefixes and precision."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.harness import Comparison, Options, interleave, progress
from bias_bench.encoders.backbone import BUNDLED_NAME, Loaded, resolve_backbone
from bias_bench.encoders.encoder import (
    Encoder,
    EncodingSettings,
    Precision,
    default_batch_tokens,
)

_COSINE = {"float32": 0.99999, "bf16": 0.999}


def compare(options: Options) -> list[Comparison]:
    """Tokenize and encode all texts, once in float32 and once in bf16; loading is not timed."""
    import torch

    torch.set_num_threads(options.threads)
    backbone = resolve_backbone(f"bundled:{BUNDLED_NAME}")
    loaded = backbone.load()
    peer = sentence_transformer(loaded)
    backbone = backbone._replace(load=lambda: loaded)
    texts = data.texts(options)
    few = data.Texts(texts.queries[::10], texts.candidates[::10])
    profile = backbone.profile
    prompts = (profile.query_prefix, profile.candidate_prefix)

    def measure(precision: Precision) -> Comparison:
        settings = EncodingSettings(profile, precision, default_batch_tokens("cpu"), "cpu")
        encoder = Encoder(backbone, settings)
        _require_agreement(_ours(encoder, few), _peer(peer, few, prompts, precision), precision)
        progress(f"{precision}: vectors agree")
        times = interleave(
            lambda: _ours(encoder, texts),
            lambda: _peer(peer, texts, prompts, precision),
            options.pairs_or(5),
        )
        source = "xquad-r" if options.data_dir else "embedded"
        note = f"{sum(map(len, texts)):,} {source} texts; peer: sentence-transformers, batch 32"
        return Comparison(f"encode {precision}", times, "≥ 1.3×", note)

    return [measure("float32"), measure("bf16")]


def _ours(encoder: Encoder, texts: data.Texts) -> np.ndarray:
    ids = (
        encoder.tokenize(texts.queries, "query"),
        encoder.tokenize(texts.candidates, "candidate"),
    )
    return np.concatenate([encoder.encode(part, lambda _amount: None) for part in ids])


def _peer(
    model: Any, texts: data.Texts, prompts: tuple[str, str], precision: Precision
) -> np.ndarray:
    import torch

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        parts = [
            model.encode(part, prompt=prompt, show_progress_bar=False)
            for part, prompt in zip(texts, prompts, strict=True)
        ]
    return np.concatenate(parts)


def sentence_transformer(loaded: Loaded) -> Any:
    """The same weights and tokenizer as sentence-transformers loads them from a folder."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="biasbench-") as folder:
        base, whole = Path(folder) / "base", Path(folder) / "whole"
        loaded.model.save_pretrained(base)
        loaded.tokenizer.save_pretrained(base)
        transformer = Transformer(str(base))
        pooling = Pooling(loaded.model.config.hidden_size, pooling_mode="mean")
        SentenceTransformer(modules=[transformer, pooling, Normalize()]).save(str(whole))
        return SentenceTransformer(str(whole), device="cpu")


def _require_agreement(ours: np.ndarray, peer: np.ndarray, precision: Precision) -> None:
    lowest = float((ours * peer.astype(np.float32)).sum(axis=1).min())
    if lowest < _COSINE[precision]:
        raise ValueError(f"{precision}: a vector differs from the peer's, cosine {lowest:.5f}")
