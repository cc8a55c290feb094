"""Vocabulary trimming: the same encoder with only the pieces that given texts need.

Multilingual vocabularies are mostly embedding rows that a benchmark never looks up; without them an
encoder is several times smaller, in memory, on disk and in an optimizer's state.

Why a Unigram tokenizer (XLM-R, multilingual E5) gives the covered texts the same pieces afterwards:
it takes the path of the highest summed score from left to right, where the best way to each
position wins and, of equally good ways, the one whose last piece starts first. Let P be that path.

1. Every piece of P is kept, so P is still there with the same score.
2. No other way got better: kept pieces keep their scores, and the unknown token is tried exactly
   where no single character piece fits and costs a constant below the lowest score of all pieces.
   All single characters and a piece of the lowest score are kept, so it is tried at the same places
   at the same cost. A subset of ways gives each position at most its former best score; that also
   holds for rounded sums, since rounding keeps order.
3. So along P, by induction, each position keeps its best score, and a way that now wins by
   starting earlier would have tied and won before.

Neither the normalizer nor the pre-tokenizer looks at the vocabulary. Only an unknown stretch is
looked up as a whole after that; what is found there counts as used, and nothing new can be found.

Single characters also let texts that were not covered be read, in more and shorter pieces.
WordPiece and BPE give no such guarantee (a word that was unknown can become known; merges build on
pieces that never show in a result), so they are refused.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from bias_bench.encoders.backbone import Loaded
from bias_bench.errors import BiasBenchError

_BYTE_PIECE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_CHUNK = 2048  # texts tokenized at a time, so that a stream of texts is never held whole


class TrimmedEncoder(NamedTuple):
    """A trimmed encoder; `kept_ids` int64 [rows_after], ascending, has each new row's old id."""

    model: Any
    tokenizer: Any
    kept_ids: np.ndarray
    rows_before: int
    rows_after: int


def trim_vocabulary(loaded: Loaded, texts: Iterable[str]) -> TrimmedEncoder:
    """Keep what `texts` (with their prefixes, as they will be encoded) and any text's letters need.

    Weights are copied, and `loaded` stays as it is. Token ids change; vectors of `texts` do not.
    Raises BiasBenchError for a tokenizer that cannot be trimmed exactly, or without texts.
    """
    backend = _unigram_backend(loaded.tokenizer)
    form = json.loads(backend.to_str())
    tokens, rows = backend.get_vocab_size(), loaded.model.get_input_embeddings().weight.shape[0]
    also = {old for old in _config_ids(loaded.model).values() if 0 <= old < tokens}
    also.update(loaded.tokenizer.all_special_ids)
    kept = ids_to_keep(form, used_ids(backend, texts), also)
    if kept[-1] >= rows:
        raise BiasBenchError(
            f"the tokenizer has {tokens:,} tokens but the model only {rows:,} embeddings; "
            "they do not belong together"
        )
    new_form = renumber(form, kept)
    return TrimmedEncoder(
        model=_cut_model(loaded.model, kept),
        tokenizer=_tokenizer_from(new_form, loaded.tokenizer),
        kept_ids=kept,
        rows_before=rows,
        rows_after=len(kept),
    )


def used_ids(backend: Any, texts: Iterable[str]) -> set[int]:
    """Ids of the pieces, special tokens included, that a ``tokenizers.Tokenizer`` gives `texts`."""
    # no cut-off and no padding; whoever uses the tokenizer through transformers sets both each time
    backend.no_truncation()
    backend.no_padding()
    stream, used, empty = iter(texts), set(), True
    while chunk := list(islice(stream, _CHUNK)):
        empty = False
        for encoding in backend.encode_batch_fast(chunk):
            used.update(encoding.ids)
    if empty:
        raise BiasBenchError("no text to trim the vocabulary to: the list of texts is empty")
    return used


def ids_to_keep(form: dict[str, Any], used: Iterable[int], also: Iterable[int] = ()) -> np.ndarray:
    """Ids, int64 ascending, that leave the segmentation of texts with the pieces `used` unchanged.

    `form` is the JSON of a Unigram tokenizer, `also` are further ids to keep.
    """
    vocabulary = form["model"]["vocab"]
    kept = {*used, *also, *_processor_ids(form["post_processor"])}
    kept |= {token["id"] for token in form["added_tokens"]}
    if form["model"]["unk_id"] is not None:
        kept.add(form["model"]["unk_id"])
    kept |= {
        row
        for row, (piece, _) in enumerate(vocabulary)
        if len(piece) == 1 or _BYTE_PIECE.fullmatch(piece)
    }
    # the cost of an unknown character hangs on the lowest score
    kept.add(min(range(len(vocabulary)), key=lambda row: vocabulary[row][1]))
    return np.array(sorted(kept), dtype=np.int64)


def renumber(form: dict[str, Any], kept: np.ndarray) -> dict[str, Any]:
    """The JSON of a Unigram tokenizer with the tokens `kept` only, numbered in their order."""
    new_id = {old: new for new, old in enumerate(kept.tolist())}
    model = form["model"]
    unknown = model["unk_id"]
    return {
        **form,
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {**token, "id": new_id[token["id"]]}
            for token in sorted(form["added_tokens"], key=lambda token: token["id"])
        ],
        "post_processor": _renumber_processor(form["post_processor"], new_id),
        "model": {
            **model,
            "unk_id": None if unknown is None else new_id[unknown],
            # ids past the model's own are added tokens
            "vocab": [model["vocab"][old] for old in kept.tolist() if old < len(model["vocab"])],
        },
    }


def _unigram_backend(tokenizer: Any) -> Any:
    from tokenizers.models import Unigram

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise BiasBenchError(
            f"vocabulary trimming needs a fast tokenizer, not {type(tokenizer).__name__}"
        )
    if not isinstance(backend.model, Unigram):
        raise BiasBenchError(
            f"this encoder's tokenizer is {type(backend.model).__name__}; only the vocabulary of "
            "Unigram tokenizers (XLM-R, multilingual E5) can be trimmed without changing vectors"
        )
    return backend


def _processor_ids(processor: dict[str, Any] | None) -> set[int]:
    """The ids that a post-processor adds to each text."""
    ids: set[int] = set()

    def note(old: int) -> int:
        ids.add(old)
        return old

    _map_processor(processor, note)
    return ids


def _renumber_processor(
    processor: dict[str, Any] | None, new_id: dict[int, int]
) -> dict[str, Any] | None:
    return _map_processor(processor, new_id.__getitem__)


def _map_processor(processor: dict[str, Any] | None, change: Any) -> dict[str, Any] | None:
    """A post-processor's JSON with every token id changed."""
    kind = processor["type"] if processor else None
    if processor is None or kind == "ByteLevel":
        return processor
    if kind == "Sequence":
        parts = [_map_processor(part, change) for part in processor["processors"]]
        return {**processor, "processors": parts}
    if kind == "TemplateProcessing":
        tokens = {
            name: {**token, "ids": [change(old) for old in token["ids"]]}
            for name, token in processor["special_tokens"].items()
        }
        return {**processor, "special_tokens": tokens}
    if kind in ("BertProcessing", "RobertaProcessing"):
        ends = {key: [processor[key][0], change(processor[key][1])] for key in ("sep", "cls")}
        return {**processor, **ends}
    raise BiasBenchError(f"the tokenizer's post-processor '{kind}' is not known; cannot trim it")


def _tokenizer_from(form: dict[str, Any], like: Any) -> Any:
    """A transformers tokenizer of that form, with the settings of `like`.

    It is of the general class: a model's own class would build its normalizer anew on loading.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer.from_str(json.dumps(form))
    for token in form["added_tokens"]:
        if backend.token_to_id(token["content"]) != token["id"]:
            raise BiasBenchError(
                f"the tokenizer's added token '{token['content']}' cannot be renumbered; "
                "its vocabulary cannot be trimmed"
            )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        **like.special_tokens_map,
        extra_special_tokens=list(like.extra_special_tokens),
        model_max_length=like.model_max_length,
        model_input_names=list(like.model_input_names),
        padding_side=like.padding_side,
        truncation_side=like.truncation_side,
        split_special_tokens=like.split_special_tokens,
    )


def _config_ids(model: Any) -> dict[str, int]:
    """The ids of special tokens in a model's configuration, by key: ``pad_token_id`` and others."""
    return {
        key: value
        for key, value in model.config.to_dict().items()
        if key.endswith("_token_id") and isinstance(value, int)
    }


def _cut_model(model: Any, kept: np.ndarray) -> Any:
    """A copy of `model` with the word embeddings `kept`; the whole table is never copied."""
    import torch

    new_id = {old: new for new, old in enumerate(kept.tolist())}
    ids = {key: old for key, old in _config_ids(model).items() if old in new_id}
    pad = ids.get("pad_token_id")
    if pad is not None and new_id[pad] != pad and _counts_positions_from_pad(model):
        raise BiasBenchError(
            f"the padding token {pad} would become {new_id[pad]}, and this model counts its "
            "positions from there; its vocabulary cannot be trimmed"
        )
    weight = model.get_input_embeddings().weight
    rows = weight.detach()[torch.from_numpy(kept).to(weight.device)]
    cut = torch.nn.Parameter(rows, requires_grad=weight.requires_grad)
    trimmed = copy.deepcopy(model, {id(weight): cut})
    embedding = trimmed.get_input_embeddings()
    embedding.num_embeddings = len(kept)
    if embedding.padding_idx is not None:
        embedding.padding_idx = new_id.get(embedding.padding_idx)
    trimmed.config.vocab_size = len(kept)
    for key, old in ids.items():
        setattr(trimmed.config, key, new_id[old])
    return trimmed


def _counts_positions_from_pad(model: Any) -> bool:
    """RoBERTa and its kin number positions from the padding token's id plus one."""
    import torch

    return any(
        isinstance(getattr(module, "padding_idx", None), int)
        and not isinstance(module, torch.nn.Embedding)
        for module in model.modules()
    )
