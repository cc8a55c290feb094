"""Small random encoders whose tokenizer is trained on the embedded training texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bias_bench.data.mini import training_texts
from bias_bench.encoders.profile import Profile
from bias_bench.system.files import digest, digest_texts

if TYPE_CHECKING:
    from transformers import BertModel, PreTrainedTokenizerFast

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "vocab_size": 2000,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 130,
    }
}
PROFILE = Profile(
    pooling="mean",
    query_prefix="query: ",
    candidate_prefix="passage: ",
    query_max_length=64,
    candidate_max_length=128,
)
_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def fingerprint(name: str, seed: int) -> dict[str, str]:
    """What defines a scratch encoder: sizes, seed and tokenizer texts, hashed."""
    return {
        "configuration": digest({"sizes": SIZES[name], "seed": seed}),
        "tokenizer_texts": digest_texts(training_texts()),
    }


def build(name: str, seed: int) -> tuple[BertModel, PreTrainedTokenizerFast]:
    """A random BERT encoder (global random state untouched) and its tokenizer."""
    import torch
    from transformers import BertConfig, BertModel

    tokenizer = _train_tokenizer(SIZES[name]["vocab_size"])
    sizes = {**SIZES[name], "vocab_size": len(tokenizer)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = BertConfig(**sizes, pad_token_id=1, bos_token_id=0, eos_token_id=2)
        model = BertModel(config, add_pooling_layer=False)
    return model.eval(), tokenizer


def _train_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=_SPECIAL, show_progress=False
    )
    tokenizer.train_from_iterator(training_texts(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
    )
