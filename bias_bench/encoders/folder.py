"""An encoder's folder, of this disk or of the hub: what is in it, whether all is there, loading of
its model and of what is done to pooled vectors.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

from bias_bench.encoders.modules import Layout, Step, read_file, read_layout
from bias_bench.encoders.profile import PROFILE_FILE, Files, Pooling, Stated, profile_for
from bias_bench.errors import BiasBenchError, DataError, first_line

_WEIGHTS = "model.safetensors"
_INDEX = f"{_WEIGHTS}.index.json"
_TOKENIZERS = ("tokenizer.json", "*.model", "vocab.txt", "vocab.json")  # any of them will do
_UNLIMITED = 10**6  # a tokenizer without a maximum length says more
# learned positions begin after that of padding
_PADDING_FIRST = {
    "camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "roberta",
    "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip
_POSITIONS = re.compile(r"(^|\.)(position_embeddings|wpe)\.weight$")
NGRAM_MODEL = "biasbench-ngram"  # this package's own architecture, of `use_multilingual`
_ENCODERS = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}


class Loaded(NamedTuple):
    """A transformers model in eval mode and its tokenizer."""

    model: Any
    tokenizer: Any


class Folder(NamedTuple):
    """An encoder's folder, read but not loaded. `files` decide its vectors; see `Files`."""

    path: Path
    layout: Layout
    stated: Stated
    files: list[Path]
    positions: int | None


def read_folder(path: Path, name: str) -> Folder:
    """What is in a folder. `name` is a hub id, or "" for a folder of this disk.

    DataError that names what is missing, damaged or cannot be followed.
    """
    saved = (path / PROFILE_FILE).is_file()
    layout = Layout(path, {}, {}) if saved else read_layout(path)
    _require_whole(layout.transformer)
    files = _stated_files(layout.transformer)
    stated = profile_for(name, layout, files, path)
    tokenizer = [] if (layout.transformer / _TOKENIZERS[0]).is_file() else ["*.model", "*.txt"]
    patterns = ("*.safetensors", "*.json", *tokenizer)
    model = {file for pattern in patterns for file in layout.transformer.glob(pattern)}
    return Folder(path, layout, stated, sorted({*model, *layout.files}), files.positions)


def _require_whole(folder: Path) -> None:
    """DataError for what a copy or a download lacks."""
    if (folder / "adapter_config.json").is_file():
        raise DataError(
            f"{folder}: holds an adapter (adapter_config.json), which is not applied here; merge "
            "it into the model (peft: merge_and_unload) and save that"
        )
    index = folder / _INDEX
    if not (folder / _WEIGHTS).is_file() and not index.is_file():
        raise DataError(
            f"{folder}: holds no {_WEIGHTS}, and pickled weights (pytorch_model.bin) are not read; "
            "load the encoder with sentence-transformers and save it with save_pretrained, or is "
            "this not an encoder's folder?"
        )
    if not (folder / "config.json").is_file():
        raise DataError(f"{folder}: holds no config.json; save or fetch the whole encoder again")
    if not any(True for pattern in _TOKENIZERS for _ in folder.glob(pattern)):
        raise DataError(
            f"{folder}: holds no tokenizer.json; save model and tokenizer here, or fetch the whole "
            "encoder again"
        )
    if not (folder / _WEIGHTS).is_file():
        shards = (_mapping(index).get("weight_map") or {}).values()
        lacking = sorted({str(shard) for shard in shards if not (folder / str(shard)).is_file()})
        if lacking or not shards:
            what = f"{lacking[0]}, a part of its weights" if lacking else "no weights by its index"
            raise DataError(f"{folder}: lacks {what} ({_INDEX}); fetch or copy it again")


def _mapping(path: Path) -> dict[str, Any]:
    content = read_file(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: damaged (no JSON object); copy it again")
    return content


def _stated_files(folder: Path) -> Files:
    """Positions, length and pooling as the model's own files imply them."""
    config = _mapping(folder / "config.json")
    positions = _positions(folder, config)
    tokenizer = read_file(folder / "tokenizer_config.json")
    tokenizer = tokenizer if isinstance(tokenizer, dict) else {}
    lengths = [
        (int(value), name)
        for name, value in (
            ("tokenizer_config.json", tokenizer.get("model_max_length")),
            ("config.json", config.get("max_position_embeddings")),
        )
        if isinstance(value, int | float) and 0 < value < _UNLIMITED
    ]
    # as sentence-transformers does where it makes an encoder of a language model
    architecture = str((config.get("architectures") or [""])[0])
    causal = architecture.endswith("ForCausalLM") and config.get("is_causal", True)
    pooling: Pooling = "lasttoken" if causal else "mean"
    return Files(positions, min(lengths, default=None), pooling)


def _positions(folder: Path, config: dict[str, Any]) -> int | None:
    """How many tokens a text can have, where positions are learned."""
    for name, shape in _tensors(folder).items():
        if _POSITIONS.search(name):
            first = config.get("pad_token_id", 1) + 1 if _pads_first(config) else 0
            return max(shape[0] - first, 0)
    return None


def _pads_first(config: dict[str, Any]) -> bool:
    pad = config.get("pad_token_id", 1)
    return config.get("model_type") in _PADDING_FIRST and isinstance(pad, int)


def _tensors(folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors; only heads of files are read."""
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "np") as weights:
                for name in weights.keys():  # noqa: SIM118
                    shapes[name] = tuple(weights.get_slice(name).get_shape())
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path}: damaged weights ({error}); copy them again") from None
    return shapes


def load_folder(folder: Folder) -> Loaded:
    """Load with remote code off and safetensors only, so that no pickle is ever read."""
    from transformers import AutoConfig, AutoTokenizer
    from transformers.utils import logging

    path = folder.layout.transformer
    logging.set_verbosity_error()  # what matters of a loading report is checked here
    logging.disable_progress_bar()
    names = _tensors(path)
    if _mapping(path / "config.json").get("model_type") == NGRAM_MODEL:
        import bias_bench.encoders.ngram_model  # noqa: F401 - makes it known to transformers
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        _require_layers(path, config, len(names))
        model, report = _load_model(path, config, any("pooler." in name for name in names))
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{path}: transformers cannot load this encoder: {first_line(error)}"
        ) from None
    except BiasBenchError:
        raise
    except Exception as error:
        if type(error).__module__.startswith("safetensors"):
            raise DataError(f"{path}: damaged weights ({error}); copy them again") from None
        raise BiasBenchError(f"{path}: cannot load this encoder: {first_line(error)}") from error
    if report["missing_keys"]:
        first = sorted(report["missing_keys"])[0]
        raise DataError(f"{path}: its weights lack '{first}'; are they of this encoder?")
    _require_vocabulary(path, len(tokenizer), model.get_input_embeddings().weight.shape[0])
    if folder.layout.lower_case:
        _lower_case(tokenizer)
    if "use_cache" in signature(model.forward).parameters:
        model.forward = partial(model.forward, use_cache=False)  # a text is read once
    return Loaded(model.eval(), tokenizer)


def _load_model(path: Path, config: Any, has_pooler: bool) -> tuple[Any, dict[str, Any]]:
    """The model and what was found of its weights; of T5 and its kin the encoder alone."""
    import transformers

    options = {"use_safetensors": True, "dtype": "float32", "output_loading_info": True}
    if getattr(config, "is_encoder_decoder", False) or config.model_type in _ENCODERS:
        if config.model_type not in _ENCODERS:
            raise DataError(
                f"{path}: a {config.model_type} is an encoder with a decoder, of which only T5, "
                "mT5 and UMT5 are supported"
            )
        kind = getattr(transformers, _ENCODERS[config.model_type])
        return kind.from_pretrained(path, config=config, **options)
    options["trust_remote_code"] = False
    try:
        return transformers.AutoModel.from_pretrained(path, add_pooling_layer=has_pooler, **options)
    except TypeError:  # architectures without BERT's pooler do not know the argument
        return transformers.AutoModel.from_pretrained(path, **options)


def _require_layers(path: Path, config: Any, tensors: int) -> None:
    """DataError for more layers than tensors: they would be built, be they a million, before
    anybody looks for their weights.
    """
    for key in ("num_hidden_layers", "num_decoder_layers"):
        # layers of ALBERT share the weights of their group
        shared = getattr(config, "num_hidden_groups", None)
        value = shared if shared is not None else getattr(config, key, None)
        if isinstance(value, int | float) and value > tensors:
            raise DataError(
                f"{path / 'config.json'}: damaged ({key} is {value}, for {tensors} tensors)"
            )


def _require_vocabulary(path: Path, pieces: int, rows: int) -> None:
    """DataError for a tokenizer that is not this model's, or is made up for want of its files.

    Embeddings may have some rows more, to a round number or in reserve.
    """
    if 2 * pieces < rows:
        raise DataError(
            f"{path}: its tokenizer (tokenizer.json) knows {pieces:,} pieces, and the model has "
            f"embeddings of {rows:,}; copy or fetch the tokenizer of this encoder"
        )


def _lower_case(tokenizer: Any) -> None:
    from tokenizers import normalizers

    backend = tokenizer.backend_tokenizer
    before = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *before])


def build_head(steps: Sequence[Step]) -> Any:
    """A torch module from float32 [texts, dimensions] to vectors of its own width; None for none.

    DataError for weights that are damaged, or not of the sizes that their configuration says.
    """
    if not steps:
        return None
    import torch

    return torch.nn.Sequential(*(_build_step(step) for step in steps)).eval()


def _build_step(step: Step) -> Any:
    import torch

    if step.kind == "Normalize":
        return _function(lambda x: torch.nn.functional.normalize(x, dim=-1))
    if step.kind == "Truncate":
        return _function(lambda x: x[:, : step.config["size"]])
    with torch.device("meta"):  # takes no memory, whatever the sizes
        if step.kind == "LayerNorm":
            layer: Any = torch.nn.LayerNorm(step.config["dimension"])
        else:
            sizes = step.config["in_features"], step.config["out_features"]
            layer = torch.nn.Linear(*sizes, bias=step.config["bias"])
    if step.kind == "LayerNorm":
        return _load_step(step, "norm.", layer)
    layer = _load_step(step, "linear.", layer)
    name = step.config["activation_function"].rpartition(".")[2]
    activation = getattr(torch.nn, name, None)
    try:
        return torch.nn.Sequential(layer, activation())  # type: ignore[misc]
    except TypeError:
        raise DataError(f"{step.place}: activation_function '{name}' cannot be followed") from None


def _function(function: Any) -> Any:
    import torch

    class Function(torch.nn.Module):
        def forward(self, vectors: Any) -> Any:
            return function(vectors)

    return Function()


def _load_step(step: Step, prefix: str, layer: Any) -> Any:
    """`layer` with the weights of the step's files, whose names begin with `prefix`."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    state: dict[str, Any] = {}
    try:
        for path in sorted(step.place.glob("*.safetensors")):
            state |= load_file(path)
        state = {name.removeprefix(prefix): x.float() for name, x in state.items()}
        layer.load_state_dict(state, assign=True)
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{step.place}: the weights of the module '{step.kind}' are damaged ({reason}); copy "
            "them again"
        ) from None
    return layer
