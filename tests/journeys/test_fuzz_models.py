"""Files of encoders that may hold anything: an encoder, or one line that says what is wrong."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.encoders.backbone import resolve_backbone
from bias_bench.encoders.bundled import _HEADER, build_model, build_tokenizer, read_bundled_file
from bias_bench.encoders.save import save_encoder
from bias_bench.encoders.scratch import PROFILE, build
from bias_bench.errors import DataError
from tests.support.fuzzing import changed_json, fuzzed, hostile, limited_memory, survives

pytestmark = pytest.mark.timeout(3600)


def bundled_bytes(**changed: int) -> bytes:
    """A whole file in the bundled encoder's form: two layers, 32 wide, eight pieces."""
    hidden, layers, inner, pieces, positions = 32, 2, 64, 8, 16
    names = ["<s>", "<pad>", "</s>", "<unk>", "▁a", "b", "▁", "c"]
    strings = "".join(names).encode()
    ends = [0]
    for name in names:
        ends.append(ends[-1] + len(name.encode()))
    fields = {
        "magic": b"E5S1", "version": 1, "hidden": hidden, "layers": layers, "heads": 2,
        "intermediate": inner, "vocabulary": pieces, "positions": positions, "types": 2,
        "eps": 1e-12, "block": 32, "pieces": pieces, "bos": 0, "eos": 2, "pad": 1, "unk": 3,
        "string_bytes": len(strings), "reserved": 0,
    }  # fmt: skip
    normalizer = struct.pack("<IBI", ord("A"), 1, ord("a"))
    shapes = {"emb.word": pieces * hidden, "emb.pos": positions * hidden, "emb.type": 2 * hidden,
              "emb.ln.w": hidden, "emb.ln.b": hidden}  # fmt: skip
    for layer in range(layers):
        for part, (rows, columns) in {
            "q": (hidden, hidden), "k": (hidden, hidden), "v": (hidden, hidden),
            "ao": (hidden, hidden), "fi": (inner, hidden), "fo": (hidden, inner),
        }.items():  # fmt: skip
            shapes[f"l{layer}.{part}.w"] = rows * columns
            shapes[f"l{layer}.{part}.b"] = rows
        for part in ("aln", "oln"):
            shapes[f"l{layer}.{part}.w"] = shapes[f"l{layer}.{part}.b"] = hidden
    head = _HEADER.pack(*(fields | changed).values())
    head += struct.pack(f"<{len(ends)}I", *ends) + struct.pack(f"<{pieces}f", *[-1.0] * pieces)
    head += strings + struct.pack("<II", 1, len(normalizer)) + normalizer
    directory = sum(2 + len(name) + 21 for name in shapes) + 4
    at = len(head) + directory
    body, entries = b"", struct.pack("<I", len(shapes))
    for name, elements in shapes.items():
        quantised = elements % 32 == 0 and name.endswith(".w") and "ln" not in name
        data = b"\x00\x3c" * (elements // 32) * 9 if quantised else b"\0\0\0\0" * elements
        entries += struct.pack("<H", len(name)) + name.encode()
        entries += struct.pack("<BIQQ", int(quantised), elements, at + len(body), len(data))
        body += data
    return head + entries + body


BUNDLED = bundled_bytes()


def load_bundled(path: Path) -> None:
    file = read_bundled_file(path)
    build_model(file)
    build_tokenizer(file)


def test_the_bundled_form_loads(tmp_path: Path) -> None:
    path = tmp_path / "e5.bin"
    path.write_bytes(BUNDLED)
    load_bundled(path)


@fuzzed
@given(data=hostile([BUNDLED, BUNDLED[:1500]]))
def test_bundled_files(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "e5.bin"
    path.write_bytes(data)
    survives(lambda: load_bundled(path))


HUGE = 2**31 - 1


@pytest.mark.parametrize(
    "field",
    ["hidden", "layers", "heads", "intermediate", "vocabulary", "positions", "types", "pieces",
     "bos", "eos", "pad", "unk", "string_bytes"],
)  # fmt: skip
@pytest.mark.parametrize("value", [HUGE, -1, 0])
def test_a_bundled_file_that_declares_more_than_it_holds_takes_no_memory(
    tmp_path: Path, field: str, value: int
) -> None:
    if (field, value) in {("bos", 0), ("eos", 0), ("pad", 0), ("unk", 0)}:
        return  # piece 0 is there
    path = tmp_path / "e5.bin"
    path.write_bytes(bundled_bytes(**{field: value}))
    with limited_memory(500_000_000), pytest.raises(DataError, match=r"e5\.bin: damaged"):
        load_bundled(path)


def test_tensors_of_a_bundled_file_do_not_overlap_into_more_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "e5.bin"
    where = BUNDLED.index(b"emb.word") + len("emb.word") + 1 + 4 + 8
    for size in (2**40, 2**63, len(BUNDLED) * 4):
        path.write_bytes(BUNDLED[:where] + struct.pack("<Q", size) + BUNDLED[where + 8 :])
        with limited_memory(500_000_000), pytest.raises(DataError, match=r"e5\.bin: damaged"):
            load_bundled(path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "encoder"
    save_encoder(folder, *build("tiny", 0), PROFILE)
    return folder


FILES = [
    "config.json", "tokenizer.json", "tokenizer_config.json", "modules.json", "biasbench.json",
    "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling/config.json",
    "model.safetensors",
]  # fmt: skip


@fuzzed
@given(data=st.data(), name=st.sampled_from(FILES))
def test_folders_of_local_models(saved: Path, data: st.DataObject, name: str) -> None:
    path = saved / name
    sound = path.read_bytes()
    kept = (saved / "biasbench.json").read_bytes()
    changed = hostile([sound[:2000] if name == "tokenizer.json" else sound])
    if name.endswith(".json") and name != "tokenizer.json":
        changed |= changed_json(json.loads(sound))
    try:
        path.write_bytes(data.draw(changed))
        if name not in ("biasbench.json", "model.safetensors", "config.json"):
            # without it the other files say how to encode
            (saved / "biasbench.json").unlink()
        survives(lambda: resolve_backbone(str(saved)).load())
        survives(lambda: resolve_backbone(str(saved)))
    finally:
        path.write_bytes(sound)
        (saved / "biasbench.json").write_bytes(kept)
