"""Folders of small random encoders in every form that sentence-transformers 6 writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bias_bench.encoders.backbone import resolve_backbone

Change = Callable[[Path], None]  # makes another encoder of a folder
CONFIG = "config_sentence_transformers.json"
PACKAGE = "sentence_transformers.models."


def random_model(kind: str, **changes: Any) -> Any:
    """A random transformers model of two layers; vectors of different texts differ much."""
    import torch
    import transformers

    tokenizer = resolve_backbone("scratch:tiny").load().tokenizer
    sizes = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 130,
        "initializer_range": 0.3, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(**{**sizes, **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return getattr(transformers, f"{kind}Model")(config).eval()


def save_model(folder: Path, model: Any, **tokenizer_config: Any) -> Path:
    """A plain language model's folder."""
    model.save_pretrained(folder)
    resolve_backbone("scratch:tiny").load().tokenizer.save_pretrained(folder)
    write(folder / "tokenizer_config.json", **tokenizer_config)
    return folder


def write(path: Path, **changed: Any) -> None:
    """Change entries of a JSON file, which need not be there."""
    before = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(before | changed), encoding="utf-8")


def in_form(folder: Path, *modules: tuple[str, dict[str, Any]], root: str = "") -> None:
    """Write modules.json and the files of modules beside the Transformer at `root`."""
    for old in folder.glob("?_*"):
        if old.name != root:
            shutil.rmtree(old)
    listed = [{"path": root, "type": f"{PACKAGE}Transformer"}]
    for index, (kind, config) in enumerate(modules, start=1):
        listed.append({"path": f"{index}_{kind}", "type": PACKAGE + kind})
        write(folder / f"{index}_{kind}" / "config.json", **config)
        if kind in ("Dense", "LayerNorm"):
            save_weights(folder / f"{index}_{kind}", kind, config)
    for index, module in enumerate(listed):
        module |= {"idx": index, "name": str(index)}  # type: ignore[dict-item]
    (folder / "modules.json").write_text(json.dumps(listed), encoding="utf-8")


def save_weights(place: Path, kind: str, config: dict[str, Any]) -> None:
    import torch
    from safetensors.torch import save_file

    random = torch.Generator().manual_seed(5)

    def draw(*shape: int) -> Any:
        return torch.randn(*shape, generator=random)

    if kind == "LayerNorm":
        size = config["dimension"]
        weights = {"norm.weight": draw(size), "norm.bias": draw(size)}
    else:
        weights = {"linear.weight": draw(config["out_features"], config["in_features"])}
        if config.get("bias", True):
            weights["linear.bias"] = draw(config["out_features"])
    save_file(weights, place / "model.safetensors")


def dense(size: int = 32, activation: str = "Tanh", **more: Any) -> tuple[str, dict[str, Any]]:
    package = "linear" if activation == "Identity" else "activation"
    return "Dense", {
        "in_features": 32, "out_features": size, "bias": True,
        "activation_function": f"torch.nn.modules.{package}.{activation}", **more,
    }  # fmt: skip


def pooling(mode: str = "mean", **more: Any) -> tuple[str, dict[str, Any]]:
    return "Pooling", {"word_embedding_dimension": 32, "pooling_mode": mode, **more}


def old_pooling(mode: str) -> tuple[str, dict[str, Any]]:
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens",
             "weightedmean_tokens", "lasttoken")  # fmt: skip
    own = {f"pooling_mode_{name}": name == mode for name in modes}
    return "Pooling", {"word_embedding_dimension": 32, **own}


NORMALIZE = ("Normalize", {})


def modules(*listed: tuple[str, dict[str, Any]]) -> Change:
    return lambda folder: in_form(folder, *listed)


def change(name: str, **entries: Any) -> Change:
    return lambda folder: write(folder / name, **entries)


def both(*changes: Change) -> Change:
    def apply(folder: Path) -> None:
        for one in changes:
            one(folder)

    return apply


def to_subfolder(folder: Path) -> None:
    """The layout of sentence-transformers before 2: the model in 0_Transformer."""
    kept = {path for path in folder.iterdir() if path.is_file() and path.name != CONFIG}
    (folder / "0_Transformer").mkdir()
    for path in kept:
        path.rename(folder / "0_Transformer" / path.name)
    in_form(folder, pooling(), NORMALIZE, root="0_Transformer")


def own_pooler(folder: Path) -> None:
    """LaBSE's form: the model's own pooler as a module."""
    from safetensors.torch import load_file, save_file

    in_form(folder, pooling("cls"), dense(), NORMALIZE)
    model = load_file(folder / "model.safetensors")
    own = {f"linear.{name}": model[f"pooler.dense.{name}"] for name in ("weight", "bias")}
    save_file(own, folder / "2_Dense" / "model.safetensors")


PROMPTS = {"query": "ask this question of it: ", "document": "here is the text: "}
WITHOUT_PROMPT = modules(pooling(include_prompt=False), NORMALIZE)

# each gives other ranks than the folder that it is made from: mean pooling, no prompts, cosine
ALIKE: dict[str, Change] = {
    **{
        f"{mode} pooling": modules(pooling(mode))
        for mode in ("cls", "max", "lasttoken", "weightedmean")
    },
    **{
        f"old keys, {mode}": modules(old_pooling(mode), NORMALIZE)
        for mode in ("cls_token", "max_tokens", "weightedmean_tokens", "lasttoken")
    },
    "mean_sqrt_len and dot": both(
        modules(pooling("mean_sqrt_len_tokens")), change(CONFIG, similarity_fn_name="dot")
    ),
    "prompts": change(CONFIG, prompts=PROMPTS),
    "prompts and an empty one": change(CONFIG, prompts={**PROMPTS, "query": "", "other": "x"}),
    "a prompt for passages": change(CONFIG, prompts={"query": "ask: ", "passage": "text of it: "}),
    "a prompt for the corpus": change(
        CONFIG, prompts={"query": "", "document": "", "corpus": "text of it: "}
    ),
    "a default prompt": change(CONFIG, prompts=PROMPTS, default_prompt_name="query"),
    "include_prompt false": both(change(CONFIG, prompts=PROMPTS), WITHOUT_PROMPT),
    "include_prompt false, weightedmean": both(
        change(CONFIG, prompts=PROMPTS), modules(pooling("weightedmean", include_prompt=False))
    ),
    "include_prompt false, cls": both(
        change(CONFIG, prompts=PROMPTS), modules(pooling("cls", include_prompt=False))
    ),
    "include_prompt false, max": both(
        change(CONFIG, prompts=PROMPTS), modules(pooling("max", include_prompt=False))
    ),
    "max_seq_length": change("sentence_bert_config.json", max_seq_length=10),
    "length of an old file": change("sentence_roberta_config.json", max_seq_length=10),
    "model_max_length": change("tokenizer_config.json", model_max_length=10),
    "lengths of sides": change("sentence_bert_config.json", query_length=7, document_length=12),
    "dot": both(modules(pooling()), change(CONFIG, similarity_fn_name="dot")),
    "Dense, tanh": modules(pooling("cls"), dense(), NORMALIZE),
    "Dense, identity, narrower": modules(pooling(), dense(8, "Identity")),
    "Dense without bias": modules(pooling(), dense(16, "GELU", bias=False), NORMALIZE),
    "two Dense": modules(pooling(), dense(32, "ReLU"), dense(16, "Identity"), NORMALIZE),
    "Dense and dot": both(
        modules(pooling(), dense(8, "Identity")), change(CONFIG, similarity_fn_name="dot")
    ),
    "the model's own pooler": own_pooler,
    "LayerNorm": modules(pooling(), ("LayerNorm", {"dimension": 32})),
    "truncate_dim": change(CONFIG, truncate_dim=8),
    "truncate_dim and dot": change(CONFIG, truncate_dim=8, similarity_fn_name="dot"),
    "do_lower_case": change("sentence_bert_config.json", do_lower_case=True),
    "truncation on the left": change(
        "tokenizer_config.json", model_max_length=10, truncation_side="left"
    ),
}
# these say in another way what the folder says already
SAME: dict[str, Change] = {
    "nothing changed": both(),
    "no Normalize": modules(pooling()),
    "Normalize and dot": change(CONFIG, similarity_fn_name="dot"),
    "Dropout": modules(pooling(), ("Dropout", {"dropout": 0.5}), NORMALIZE),
    "no file of prompts": lambda folder: (folder / CONFIG).unlink(),
    "no prompts": change(CONFIG, prompts={}),
    "prompts of tasks alone": change(CONFIG, prompts={"sts": "x: "}, default_prompt_name="sts"),
    "empty prompts": change(CONFIG, prompts={"query": "", "document": None}),
    "old keys": modules(old_pooling("mean_tokens"), NORMALIZE),
    "0_Transformer": to_subfolder,
    "names of version 6": lambda folder: (folder / "modules.json").write_text(
        (folder / "modules.json")
        .read_text("utf-8")
        .replace(f"{PACKAGE}T", "sentence_transformers.base.modules.transformer.T")
        .replace(f"{PACKAGE}P", "sentence_transformers.sentence_transformer.modules.pooling.P"),
        encoding="utf-8",
    ),
    "entries of version 6": change(
        "sentence_bert_config.json",
        transformer_task="feature-extraction", module_output_name="token_embeddings",
        modality_config={"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
        model_kwargs={"dtype": "float32"}, processor_kwargs={}, max_seq_length=None,
    ),
}  # fmt: skip


def module_type(kind: str) -> Change:
    return lambda folder: (folder / "modules.json").write_text(
        json.dumps([{"idx": 0, "name": "0", "path": "", "type": kind}]), encoding="utf-8"
    )


def without(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def sharded(folder: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors").unlink()
    write(folder / "model.safetensors.index.json", **index)


def in_sequence(*listed: tuple[str, dict[str, Any]], drop: str) -> Change:
    return both(modules(*listed), without(drop))


# what cannot be followed, with what its line says
REFUSED: dict[str, tuple[Change, str]] = {
    "StaticEmbedding": (module_type(f"{PACKAGE}StaticEmbedding"), "module 'StaticEmbedding' is"),
    "Router": (module_type("sentence_transformers.base.modules.router.Router"), "module 'Router'"),
    "BoW": (module_type(f"{PACKAGE}BoW"), "module 'BoW' is not supported"),
    "code of its own": (module_type("custom_st.Transformer"), "'custom_st.Transformer' is code"),
    "no Pooling": (module_type(f"{PACKAGE}Transformer"), "nothing in place of Pooling"),
    "WeightedLayerPooling": (
        modules(("WeightedLayerPooling", {}), pooling()), "'WeightedLayerPooling' in place of"
    ),
    "LSTM": (modules(pooling(), ("LSTM", {})), "module 'LSTM' is not supported"),
    "two poolings": (modules(pooling(["cls", "mean"])), "pooling_mode cls and mean is not"),  # type: ignore[arg-type]
    "euclidean": (change(CONFIG, similarity_fn_name="euclidean"), "similarity_fn_name 'euclidean'"),
    "manhattan": (change(CONFIG, similarity_fn_name="manhattan"), "similarity_fn_name 'manhattan'"),
    "SparseEncoder": (change(CONFIG, model_type="SparseEncoder"), "model_type 'SparseEncoder'"),
    "an unknown default prompt": (change(CONFIG, default_prompt_name="x"), "default_prompt_name"),
    "use_residual": (modules(pooling(), dense(use_residual=True)), "use_residual of its module"),
    "an activation of its own": (
        modules(pooling(), dense(activation_function="own.Swish")), "activation_function 'own.Sw"
    ),
    "token embeddings normalised": (
        modules(pooling(), ("Normalize", {"module_input_name": "token_embeddings"})),
        "module_input_name 'token_embeddings'",
    ),
    "another task": (
        change("sentence_bert_config.json", transformer_task="fill-mask"), "transformer_task is not"
    ),
    "messages": (
        change("sentence_bert_config.json", modality_config={"message": {}}), "modality_config is"
    ),
    "arguments of a tokenizer": (
        change("sentence_bert_config.json", tokenizer_args={"use_fast": False}),
        "tokenizer_args.use_fast is not",
    ),
    "query expansion": (
        change("sentence_bert_config.json", query_expansion={"length": 32}), "query_expansion is"
    ),
    "an adapter": (change("adapter_config.json", peft_type="LORA"), "holds an adapter"),
    "pickled weights": (pickled, "pickled weights (pytorch_model.bin) are not read"),
    "a shard is missing": (sharded, "lacks model-00001-of-00002.safetensors, a part"),
    "no weights of Dense": (
        in_sequence(pooling(), dense(), drop="2_Dense/model.safetensors"),
        "2_Dense: holds no model.safetensors, the weights of the module 'Dense'",
    ),
    "no file of Pooling": (without("1_Pooling/config.json"), "1_Pooling/config.json: missing"),
    "no tokenizer": (without("tokenizer.json"), "holds no tokenizer.json"),
    "no configuration": (without("config.json"), "holds no config.json"),
    "no file": (without("model.safetensors"), "holds no model.safetensors"),
}  # fmt: skip
