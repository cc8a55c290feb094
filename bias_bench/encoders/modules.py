"""Folders in sentence-transformers' form: what their files say, or the entry that is refused.

The measure is sentence-transformers 6: a folder that is read here gives the vectors of its
`encode_query` and `encode_document`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bias_bench.errors import DataError
from bias_bench.system.files import parse_json

MODULES = "modules.json"
CONFIG = "config_sentence_transformers.json"
NONE = "none stated"  # in place of the file that says so
# of the module Transformer; the first that is there holds
_TRANSFORMER_CONFIGS = [
    "sentence_bert_config.json",
    *(
        f"sentence_{kind}_config.json"
        for kind in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
    ),
]
_OLD_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# entries of a Transformer that are read, or that decide no vector of a text
_READ = {"max_seq_length", "do_lower_case", "query_length", "document_length"}
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "transformer_task": ("feature-extraction",),
    "module_output_name": ("token_embeddings",),
    "modality_config": (
        {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    ),
    "unpad_inputs": (True, False),  # the same vectors with less padding
}
_ARGUMENTS = ("model_args", "model_kwargs", "tokenizer_args", "processor_kwargs", "config_args",
              "config_kwargs")  # fmt: skip
_ACTIVATIONS = ("torch.nn", "torch.nn.modules.activation", "torch.nn.modules.linear")
_OF_COMPUTING = {"dtype", "torch_dtype", "attn_implementation", "trust_remote_code"}


class Step(NamedTuple):
    """What is done to a vector after pooling, in order.

    `kind` is ``Dense``, ``LayerNorm``, ``Normalize`` or ``Truncate``; `place` the folder of its
    files, and `config` what they say.
    """

    kind: str
    place: Path
    config: dict[str, Any]

    def __str__(self) -> str:
        if self.kind == "Dense":
            name = self.config["activation_function"].rpartition(".")[2]
            return f"Dense {self.config['in_features']} to {self.config['out_features']} ({name})"
        return f"Truncate to {self.config['size']}" if self.kind == "Truncate" else self.kind


class Layout(NamedTuple):
    """What the files of a folder say.

    `transformer` is the folder of the model and its tokenizer. `settings` are those of a profile
    that are stated, and `origin` says by which file. `lower_case`: texts are made lower case first.
    """

    transformer: Path
    settings: dict[str, Any]
    origin: dict[str, str]
    steps: tuple[Step, ...] = ()
    lower_case: bool = False
    files: tuple[Path, ...] = ()  # that decide vectors, beside those in `transformer`


def read_layout(folder: Path) -> Layout:
    """Read a folder; without ``modules.json`` it is a plain language model's, and states nothing.

    DataError for a file that is damaged, and for an entry that cannot be followed.
    """
    modules = read_file(folder / MODULES)
    if modules is None:
        return Layout(folder, {}, {})
    try:
        return _layout(folder, modules)
    except (AttributeError, KeyError, IndexError, OverflowError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{folder}: its sentence-transformers files (modules.json and those it names) are "
            f"damaged ({reason}); copy them again"
        ) from None


def _layout(folder: Path, listed: list[dict[str, Any]]) -> Layout:
    modules = [_module(folder, module) for module in listed]
    places = [place for _, place in modules]
    _require_pooling(folder, [kind for kind, _ in modules])
    config = read_file(folder / CONFIG) or {}
    if (kind := config.get("model_type")) not in (None, "SentenceTransformer"):
        raise _refused(folder, f"{CONFIG}: model_type '{kind}' is not supported")
    later = [module for module in modules[2:] if module[0] != "Dropout"]  # acts in training alone
    steps = [*(_step(folder, kind, place) for kind, place in later), *_truncation(folder, config)]
    lengths, lower_case = _transformer(folder, places[0])
    settings = _pooling(places[1] / "config.json")
    origin = dict.fromkeys(settings, _name(folder, places[1] / "config.json"))
    for stated in (_prompts(config), _similarity(folder, config)):
        settings |= {field: value or default for field, (value, default) in stated.items()}
        origin |= {field: CONFIG if value else NONE for field, (value, _) in stated.items()}
    settings |= {field: length for field, (length, _) in lengths.items()}
    origin |= {field: where for field, (_, where) in lengths.items()}
    if settings["similarity"] == "dot" and steps and steps[-1].kind == "Normalize":
        # the same; and vectors of length 1 can be debiased and trained further
        settings["similarity"], origin["similarity"] = "cosine", f"Normalize in {MODULES}"
    if _is_bert_pooler(settings["pooling"], steps, places[0]):
        settings["pooling"], steps = "pooler", steps[1:]
    named = [folder / MODULES, folder / CONFIG]
    named += [file for place in places[1:] for file in (*place.glob("*.json"), *_weights(place))]
    files = tuple(file for file in named if file.is_file() and file.parent != places[0])
    return Layout(places[0], settings, origin, tuple(steps), lower_case, files)


def _module(folder: Path, module: dict[str, Any]) -> tuple[str, Path]:
    """The kind of a module, and the folder of its files."""
    package, _, kind = module["type"].rpartition(".")
    place = Path(module["path"])
    if place.is_absolute() or ".." in place.parts:
        raise ValueError(f"the path '{place}' leads out of the folder")
    if not package.startswith("sentence_transformers."):
        raise _refused(folder, f"its module '{module['type']}' is code of its own")
    return kind, folder / place


def _require_pooling(folder: Path, kinds: list[str]) -> None:
    if kinds[0] != "Transformer":
        raise _refused(folder, f"its module '{kinds[0]}' is not supported")
    if kinds[1:2] != ["Pooling"]:
        what = f"'{kinds[1]}'" if kinds[1:] else "nothing"
        raise _refused(folder, f"after its Transformer comes {what} in place of Pooling")


def _truncation(folder: Path, config: dict[str, Any]) -> list[Step]:
    size = config.get("truncate_dim")
    if size is None:
        return []
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"truncate_dim is {size!r}")
    return [Step("Truncate", folder, {"size": size})]


def _pooling(path: Path) -> dict[str, Any]:
    config = read_file(path)
    if config is None:
        raise DataError(f"{path}: missing; copy the encoder's folder again")
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [mode for key, mode in _OLD_MODES.items() if config.get(key)] or ["mean"]
    if isinstance(modes, str):
        modes = [modes]
    if len(modes) != 1 or modes[0] not in _OLD_MODES.values():
        raise DataError(
            f"{path}: pooling_mode {' and '.join(map(str, modes))} is not supported; one of "
            f"{', '.join(_OLD_MODES.values())} is"
        )
    return {"pooling": modes[0], "include_prompt": bool(config.get("include_prompt", True))}


def _step(folder: Path, kind: str, place: Path) -> Step:
    config = read_file(place / "config.json") or {}
    if kind not in ("Dense", "LayerNorm", "Normalize"):
        raise _refused(folder, f"its module '{kind}' is not supported")
    for name in ("module_input_name", "module_output_name"):
        if config.get(name) not in (None, "sentence_embedding"):
            raise _refused(folder, f"{name} '{config[name]}' of its module '{kind}'")
    if kind == "Normalize":
        return Step(kind, place, {})
    if not _weights(place):
        raise DataError(
            f"{place}: holds no model.safetensors, the weights of the module '{kind}' (pickled "
            "ones are not read); copy it again, or load the encoder with sentence-transformers and "
            "save it with save_pretrained"
        )
    if kind == "LayerNorm":
        return Step(kind, place, {"dimension": int(config["dimension"])})
    if config.get("use_residual"):
        raise _refused(folder, "use_residual of its module 'Dense' is not supported")
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    if activation.rpartition(".")[0] not in _ACTIVATIONS:
        raise _refused(folder, f"activation_function '{activation}' is not one of torch.nn")
    sizes = {name: int(config[name]) for name in ("in_features", "out_features")}
    bias = bool(config.get("bias", True))
    return Step(kind, place, {**sizes, "bias": bias, "activation_function": activation})


def _weights(place: Path) -> list[Path]:
    return sorted(place.glob("*.safetensors"))


def _transformer(folder: Path, place: Path) -> tuple[dict[str, tuple[int, str]], bool]:
    """Maximum lengths that are stated, with the file that says so, and whether case is dropped."""
    name = next((name for name in _TRANSFORMER_CONFIGS if (place / name).is_file()), "")
    config = (read_file(place / name) or {}) if name else {}
    for key in _ARGUMENTS:
        decides = set(config.get(key) or {}) - _OF_COMPUTING
        if decides:
            raise _refused(folder, f"{name}: {key}.{min(decides)} is not supported")
    for key, value in config.items():
        known = key in _READ or key in _ARGUMENTS or value in (_HARMLESS.get(key) or ())
        if not known and value not in (None, {}, []):
            raise _refused(folder, f"{name}: {key} is not supported with this value")
    common = config.get("max_seq_length")
    lengths = {}
    for field, key in (
        ("query_max_length", "query_length"),
        ("candidate_max_length", "document_length"),
    ):
        stated = config.get(key) or common
        if stated is not None:
            lengths[field] = (int(stated), name)
    return lengths, bool(config.get("do_lower_case"))


Stated = dict[str, tuple[str | None, str]]  # a setting, as stated if it is, and where it is not


def _prompts(config: dict[str, Any]) -> Stated:
    prompts = {name: text or "" for name, text in (config.get("prompts") or {}).items()}
    if not all(isinstance(text, str) for text in prompts.values()):
        raise ValueError("a prompt is not a text")
    # it never holds here: a query has its own prompt, if an empty one
    default = config.get("default_prompt_name")
    if default is not None and default not in {"query", "document", *prompts}:
        raise ValueError(f"default_prompt_name is '{default}', and no prompt has this name")
    return {
        "query_prefix": (prompts.get("query"), ""),
        "candidate_prefix": (prompts.get(candidate_prompt(prompts) or ""), ""),
    }


def candidate_prompt(prompts: dict[str, Any]) -> str | None:
    """The name of the prompt for candidates: the first of these three that is not empty.

    sentence-transformers documents the same order, but takes an empty `document`, which it adds to
    the prompts of every model, for an answer.
    """
    return next((name for name in ("document", "passage", "corpus") if prompts.get(name)), None)


def _similarity(folder: Path, config: dict[str, Any]) -> Stated:
    name = config.get("similarity_fn_name")
    if name not in (None, "cosine", "dot"):
        raise _refused(folder, f"{CONFIG}: similarity_fn_name '{name}' is neither cosine nor dot")
    return {"similarity": (name, "cosine")}


def _is_bert_pooler(pooling: str, steps: Sequence[Step], transformer: Path) -> bool:
    """Whether the first step is BERT's own pooler (a square tanh layer on the first token), as
    LaBSE has it: with the same weights.
    """
    if pooling != "cls" or not steps or steps[0].kind != "Dense":
        return False
    config = steps[0].config
    square = config["in_features"] == config["out_features"] and config["bias"]
    if not square or not config["activation_function"].endswith(".Tanh"):
        return False
    import torch

    dense = _tensors(_weights(steps[0].place), "linear.")
    pooler = _tensors(_weights(transformer), "pooler.dense.")
    return dense.keys() == pooler.keys() == {"weight", "bias"} and all(
        torch.equal(dense[name].float(), pooler[name].float()) for name in dense
    )


def _tensors(files: list[Path], prefix: str) -> dict[str, Any]:
    """Tensors whose names begin with `prefix`, or have it after the model's own, without it."""
    from safetensors import SafetensorError, safe_open

    tensors = {}
    for path in files:
        try:
            with safe_open(path, "pt") as weights:
                for name in weights.keys():  # noqa: SIM118
                    before, there, rest = name.rpartition(prefix)
                    if there and "." not in before.rstrip("."):
                        tensors[rest] = weights.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path}: damaged weights ({error}); copy them again") from None
    return tensors


def _refused(folder: Path, what: str) -> DataError:
    return DataError(
        f"{folder}: {what}; --backbone st:{folder} evaluates it through sentence-transformers, "
        "which encodes in its own way"
    )


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def read_file(path: Path) -> Any:
    """The content of a JSON file, None where it is not there; DataError for a damaged one."""
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error})") from None
