"""Small random encoders whose tokenizer is built like XLM-R's, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bias_bench.encoders.backbone import Loaded
from bias_bench.encoders.profile import Profile
from bias_bench.encoders.save import save_encoder

PROFILE = Profile(
    pooling="mean",
    query_prefix="query: ",
    candidate_prefix="passage: ",
    query_max_length=64,
    candidate_max_length=64,
)
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def unigram_backend(texts: list[str], size: int = 3000) -> Any:
    """A Unigram tokenizer built like XLM-R's, trained on `texts`."""
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
    from tokenizers.models import Unigram

    backend = Tokenizer(Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=SPECIAL, unk_token=SPECIAL[3], show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return backend


def wrapped(backend: Any, **changes: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    names = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "model_max_length": 99,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    return PreTrainedTokenizerFast(tokenizer_object=backend, **{**names, **changes})


def random_model(kind: str, tokens: int, **changes: Any) -> Any:
    import torch
    import transformers

    values = {
        "vocab_size": tokens,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 130,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }
    config = getattr(transformers, f"{kind}Config")(**{**values, **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(transformers, f"{kind}Model")(config).eval()


def save_unigram_encoder(folder: Path, texts: list[str]) -> Loaded:
    """A folder that a run takes as its backbone, with pieces of `texts`; returns what is there."""
    backend = unigram_backend(texts)
    # rows beyond the tokenizer's, like multilingual-e5-small's
    model = random_model("Bert", backend.get_vocab_size() + 7, initializer_range=0.3)
    loaded = Loaded(model, wrapped(backend))
    save_encoder(folder, *loaded, PROFILE)
    return loaded
