"""Save an encoder as a folder that this package, transformers and sentence-transformers read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from bias_bench.encoders.folder import NGRAM_MODEL
from bias_bench.encoders.profile import PROFILE_FILE, Pooling, Profile
from bias_bench.errors import BiasBenchError
from bias_bench.system.files import atomic_folder, read_json, settle_folder, write_json

StoredType = Literal["float32", "float16"]

# The long-standing names: sentence-transformers 5 and 6 both know them.
_MODULES = "sentence_transformers.models."


def save_encoder(
    folder: Path,
    model: Any,
    tokenizer: Any,
    profile: Profile,
    *,
    dtype: StoredType = "float32",
    replace: bool = False,
) -> None:
    """Write `folder` whole or not at all; `replace` allows it to be there as a saved encoder.

    Weights are safetensors; ``float16`` halves their size, and they are float32 again when loaded.
    The whole profile is in ``biasbench.json``. sentence-transformers knows one maximum length only,
    the larger of the two, so texts that are cut to the smaller one differ there. An encoder of this
    package's own architecture is read by this package alone. Two processes must
    not save to one folder at a time. Raises BiasBenchError.
    """
    folder = folder.resolve()
    settle_folder(folder)
    _check_target(folder, replace)
    known = model.config.model_type != NGRAM_MODEL  # to transformers and sentence-transformers
    dense = pooler_layer(model) if profile.pooling == "pooler" and known else None
    weights = _stored_weights(model.state_dict(), profile.pooling, dtype)
    with _told_errors(folder), atomic_folder(folder) as temporary:
        _save_model(temporary, model, weights)
        _save_tokenizer(temporary, tokenizer)
        if known:
            for name, value in _settings(profile, dense, model.config.hidden_size).items():
                write_json(temporary / name, value)
        write_json(temporary / PROFILE_FILE, {"schema": 1, "profile": profile.model_dump()})
        if dense is not None:
            from safetensors.torch import save_file

            state = {f"linear.{name}": weights[f"pooler.dense.{name}"] for name in dense}
            save_file(state, temporary / "2_Dense" / "model.safetensors", {"format": "pt"})


def pooler_layer(model: Any) -> list[str]:
    """Parameters' names of the model's own pooler, a square tanh layer on the first token.

    Raises BiasBenchError when there is none, or when it is another kind of layer.
    """
    import torch

    pooler = getattr(model, "pooler", None)
    if pooler is None:
        raise BiasBenchError("this model has no pooler; --set encoding.pooling=mean or cls")
    layer = getattr(pooler, "dense", None)
    size = model.config.hidden_size
    if (
        not isinstance(layer, torch.nn.Linear)
        or not isinstance(getattr(pooler, "activation", None), torch.nn.Tanh)
        or layer.weight.shape != (size, size)
    ):
        raise BiasBenchError(
            f"the pooler {type(pooler).__name__} is not a square tanh layer and cannot be saved; "
            "--set encoding.pooling=mean or cls"
        )
    return [name for name, _ in layer.named_parameters()]


def _settings(profile: Profile, dense: list[str] | None, size: int) -> dict[str, Any]:
    """The JSON files of sentence-transformers beside the model's, by name."""
    pooling = "cls" if profile.pooling == "pooler" else profile.pooling
    files: dict[str, Any] = {
        "1_Pooling/config.json": {"word_embedding_dimension": size, "pooling_mode": pooling}
    }
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    if dense is not None:
        modules.append(("2_Dense", "Dense"))
        files["2_Dense/config.json"] = {
            "in_features": size,
            "out_features": size,
            "bias": "bias" in dense,
            "activation_function": "torch.nn.modules.activation.Tanh",
        }
    modules.append((f"{len(modules)}_Normalize", "Normalize"))
    files["modules.json"] = [
        {"idx": index, "name": str(index), "path": path, "type": _MODULES + kind}
        for index, (path, kind) in enumerate(modules)
    ]
    files["sentence_bert_config.json"] = {
        "max_seq_length": max(profile.query_max_length, profile.candidate_max_length),
        "do_lower_case": False,
    }
    files["config_sentence_transformers.json"] = {
        "model_type": "SentenceTransformer",
        "prompts": {
            "query": profile.query_prefix,
            "passage": profile.candidate_prefix,
            "document": profile.candidate_prefix,
        },
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    }
    return files


def _stored_weights(state: dict[str, Any], pooling: Pooling, dtype: StoredType) -> dict[str, Any]:
    """Tensors to store. A pooler that takes no part is left out: transformers makes up a random
    one when it loads a model without, and equal encoders would differ.
    """
    import torch

    target = {"float32": torch.float32, "float16": torch.float16}[dtype]
    weights = {}
    for name, value in state.items():
        if name.startswith("pooler.") and pooling != "pooler":
            continue
        stored = value.detach().to("cpu", target) if value.is_floating_point() else value.cpu()
        if stored.is_floating_point() and not torch.isfinite(stored).all():
            hint = "save it in float32" if torch.isfinite(value).all() else "did training diverge?"
            raise BiasBenchError(f"weight '{name}' has NaN or infinity in {dtype}; {hint}")
        weights[name] = stored.contiguous()
    return weights


def _save_model(folder: Path, model: Any, weights: dict[str, Any]) -> None:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model.save_pretrained(folder, state_dict=dict(weights))  # it empties what it is given
    finally:
        if shown:
            logging.enable_progress_bar()
    # The type to compute in, which loaders follow, whatever type the weights are stored in.
    path = folder / "config.json"
    write_json(path, read_json(path) | {"dtype": "float32"})


def _save_tokenizer(folder: Path, tokenizer: Any) -> None:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise BiasBenchError(f"only fast tokenizers can be saved, not {type(tokenizer).__name__}")
    # what the last call happened to set, and every call sets again; not a property of the encoder
    backend.no_truncation()
    backend.no_padding()
    tokenizer.save_pretrained(folder)


def _check_target(folder: Path, replace: bool) -> None:
    if not folder.exists():
        return
    if not replace:
        raise BiasBenchError(f"{folder}: exists already; give another folder or remove it")
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / PROFILE_FILE).is_file()):
        raise BiasBenchError(
            f"{folder}: is not an encoder saved by biasbench, so it is not replaced; remove it "
            "yourself"
        )


@contextmanager
def _told_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BiasBenchError(f"{folder}: cannot be written ({error.strerror or error})") from None
