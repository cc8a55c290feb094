"""Saved encoders: the same vectors here and in sentence-transformers; whole folders or none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bias_bench.encoders.backbone import Backbone, Loaded, resolve_backbone
from bias_bench.encoders.embeds import Side
from bias_bench.encoders.encoder import Encoder, EncodingSettings
from bias_bench.encoders.profile import Profile, profile_for
from bias_bench.encoders.save import save_encoder
from bias_bench.errors import BiasBenchError, DataError

TEXTS = [
    "a short one",
    "δεύτερο κείμενο με περισσότερες λέξεις",
    "третий",
    "ข้อความที่สี่",
    "第五个 文本",
    "a long text that is cut at the maximum length " * 12,
]
PROFILE = Profile(
    pooling="mean",
    query_prefix="ask: ",
    candidate_prefix="text: ",
    query_max_length=40,
    candidate_max_length=40,
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return resolve_backbone("scratch:tiny").load().tokenizer


def random_bert(tokenizer: Any, kind: str = "Bert", **changes: Any) -> Any:
    import torch
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=130,
        initializer_range=0.3,  # so that vectors of different texts differ much
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return getattr(transformers, f"{kind}Model")(config, **changes).eval()


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> Any:
    return random_bert(tokenizer)


def encode(backbone: Backbone, side: Side, profile: Profile | None = None) -> np.ndarray:
    settings = EncodingSettings(profile or backbone.profile, "float32", 256, "cpu")
    encoder = Encoder(backbone, settings)
    return encoder.encode(encoder.tokenize(TEXTS, side), lambda _: None)


def encode_unsaved(model: Any, tokenizer: Any, profile: Profile, side: Side) -> np.ndarray:
    return encode(Backbone("unsaved", profile, {}, lambda: Loaded(model, tokenizer)), side)


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
@pytest.mark.parametrize("kind", ["Bert", "XLMRoberta"])
def test_sentence_transformers_gives_the_same_vectors(
    tokenizer: Any, tmp_path: Path, kind: str, pooling: str
) -> None:
    library = pytest.importorskip("sentence_transformers")
    folder = tmp_path / "saved"
    model = random_bert(tokenizer, kind)
    profile = PROFILE.model_copy(update={"pooling": pooling})
    save_encoder(folder, model, tokenizer, profile)
    theirs = library.SentenceTransformer(str(folder), device="cpu")
    assert theirs.max_seq_length == 40
    assert theirs.similarity_fn_name == "cosine"
    sides: list[tuple[Side, list[str]]] = [
        ("query", ["query"]),
        ("candidate", ["passage", "document"]),
    ]
    for side, prompts in sides:
        ours = encode_unsaved(model, tokenizer, profile, side)
        for prompt in prompts:
            vectors = theirs.encode(TEXTS, prompt_name=prompt)
            np.testing.assert_allclose(vectors, ours, atol=1e-5)
            assert (vectors * ours).sum(axis=1).min() > 0.99999
    np.testing.assert_allclose(
        theirs.encode_query(TEXTS), encode_unsaved(model, tokenizer, profile, "query"), atol=1e-5
    )


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_saved_folder_is_a_backbone_with_the_whole_profile(
    model: Any, tokenizer: Any, tmp_path: Path, pooling: str
) -> None:
    profile = PROFILE.model_copy(update={"pooling": pooling, "query_max_length": 17})
    save_encoder(tmp_path / "labse-like", model, tokenizer, profile)
    backbone = resolve_backbone(str(tmp_path / "labse-like"))
    assert backbone.profile == profile
    for side in ("query", "candidate"):
        expected = encode_unsaved(model, tokenizer, profile, side)  # type: ignore[arg-type]
        np.testing.assert_allclose(encode(backbone, side), expected, atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_without_our_own_file_the_profile_is_read_from_the_others(
    model: Any, tokenizer: Any, tmp_path: Path, pooling: str
) -> None:
    profile = PROFILE.model_copy(update={"pooling": pooling})
    save_encoder(tmp_path / "saved", model, tokenizer, profile)
    (tmp_path / "saved" / "biasbench.json").unlink()
    assert resolve_backbone(str(tmp_path / "saved")).profile == profile


def test_maximum_length_for_others_is_the_larger_one(
    model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    profile = PROFILE.model_copy(update={"candidate_max_length": 99})
    save_encoder(tmp_path / "saved", model, tokenizer, profile)
    settings = json.loads((tmp_path / "saved" / "sentence_bert_config.json").read_text("utf-8"))
    assert settings["max_seq_length"] == 99


@pytest.mark.parametrize("pooling", ["mean", "pooler"])
def test_half_precision_halves_the_weights_and_loads_as_float32(
    model: Any, tokenizer: Any, tmp_path: Path, pooling: str
) -> None:
    import torch

    library = pytest.importorskip("sentence_transformers")
    profile = PROFILE.model_copy(update={"pooling": pooling})
    save_encoder(tmp_path / "full", model, tokenizer, profile)
    save_encoder(tmp_path / "half", model, tokenizer, profile, dtype="float16")
    full, half = (
        (tmp_path / name / "model.safetensors").stat().st_size for name in ("full", "half")
    )
    assert 0.45 * full < half < 0.55 * full
    backbone = resolve_backbone(str(tmp_path / "half"))
    loaded = backbone.load()
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    ours = encode(backbone, "query")
    assert (ours * encode_unsaved(model, tokenizer, profile, "query")).sum(axis=1).min() > 0.9999
    theirs = library.SentenceTransformer(str(tmp_path / "half"), device="cpu")
    assert {parameter.dtype for parameter in theirs.parameters()} == {torch.float32}
    np.testing.assert_allclose(theirs.encode(TEXTS, prompt_name="query"), ours, atol=1e-5)


def test_model_in_half_precision_is_saved_to_be_computed_in_float32(
    tokenizer: Any, tmp_path: Path
) -> None:
    import torch

    save_encoder(tmp_path / "saved", random_bert(tokenizer).to(torch.bfloat16), tokenizer, PROFILE)
    config = json.loads((tmp_path / "saved" / "config.json").read_text("utf-8"))
    assert config["dtype"] == "float32"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_saving_twice_writes_the_same_bytes(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    from transformers import AutoModel

    save_encoder(tmp_path / "first", model, tokenizer, PROFILE)
    tokenizer("how it was used last", truncation=True, max_length=5, padding="max_length")
    save_encoder(tmp_path / "second", model, tokenizer, PROFILE)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    # transformers makes up a random pooler for a model without; it is not saved
    again = AutoModel.from_pretrained(tmp_path / "first")
    assert again.pooler is not None
    save_encoder(tmp_path / "third", again, tokenizer, PROFILE)
    name = "model.safetensors"
    assert contents(tmp_path / "third")[name] == contents(tmp_path / "first")[name]


def test_files_say_nothing_of_the_machine(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    save_encoder(tmp_path / "first", model, tokenizer, PROFILE)
    again = resolve_backbone(str(tmp_path / "first")).load()
    save_encoder(tmp_path / "second", again.model, again.tokenizer, PROFILE)
    saved = contents(tmp_path / "second")
    assert sorted(saved) == [
        "1_Pooling/config.json",
        "biasbench.json",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert not [name for name, data in saved.items() if str(tmp_path).encode() in data]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_decides_who_can_read_the_files(
    model: Any, tokenizer: Any, tmp_path: Path, umask: int, mode: int
) -> None:
    pooler = PROFILE.model_copy(update={"pooling": "pooler"})
    before = os.umask(umask)
    try:
        save_encoder(tmp_path / "saved", model, tokenizer, pooler)
    finally:
        os.umask(before)
    for path in (tmp_path / "saved").rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o777 == mode, path.name


def test_an_encoder_that_a_killed_save_had_moved_aside_is_not_replaced_unasked(
    model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    save_encoder(tmp_path / "saved", model, tokenizer, PROFILE)
    before = contents(tmp_path / "saved")
    (tmp_path / "saved").rename(tmp_path / ".replaced-saved")
    other = PROFILE.model_copy(update={"query_prefix": "other: "})
    with pytest.raises(BiasBenchError, match="exists already"):
        save_encoder(tmp_path / "saved", model, tokenizer, other)
    assert contents(tmp_path / "saved") == before


def test_existing_folder_is_replaced_only_when_told(
    model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "saved"
    save_encoder(folder, model, tokenizer, PROFILE)
    before = contents(folder)
    other = PROFILE.model_copy(update={"query_prefix": "other: "})
    with pytest.raises(BiasBenchError, match="exists already"):
        save_encoder(folder, model, tokenizer, other)
    assert contents(folder) == before
    (folder / "stray.txt").write_text("of the old one", encoding="utf-8")
    save_encoder(folder, model, tokenizer, other, replace=True)
    assert resolve_backbone(str(folder)).profile == other
    assert contents(folder).keys() == before.keys()
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_what_is_no_saved_encoder_is_never_replaced(
    model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious", encoding="utf-8")
    (tmp_path / "file").write_text("precious", encoding="utf-8")
    for name in ("thesis", "file"):
        with pytest.raises(BiasBenchError, match="is not an encoder saved by biasbench"):
            save_encoder(tmp_path / name, model, tokenizer, PROFILE, replace=True)
    assert sorted(contents(tmp_path)) == ["file", "thesis/chapter.txt"]


@pytest.mark.parametrize("when", ["written", "put in place"])
def test_failure_leaves_the_old_folder_whole_and_nothing_else(
    model: Any, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    folder = tmp_path / "saved"
    save_encoder(folder, model, tokenizer, PROFILE)
    before = contents(folder)

    def full_disk(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name.startswith(".writing-"):
            full_disk()
        return rename(path, target)

    if when == "written":
        monkeypatch.setattr(type(tokenizer), "save_pretrained", full_disk)
    else:
        monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(BiasBenchError, match=r"cannot be written .No space left on device"):
        save_encoder(folder, model, tokenizer, PROFILE, replace=True)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_remains_of_a_killed_save_do_not_matter(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    for name in (".writing-saved", ".writing-.replaced-saved"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stray.txt").write_text("half", encoding="utf-8")
    save_encoder(tmp_path / "saved", model, tokenizer, PROFILE)
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    assert "stray.txt" not in contents(tmp_path / "saved")


def test_model_without_pooler_cannot_be_saved_for_pooler_pooling(
    tokenizer: Any, tmp_path: Path
) -> None:
    profile = PROFILE.model_copy(update={"pooling": "pooler"})
    with pytest.raises(BiasBenchError, match="no pooler"):
        save_encoder(
            tmp_path / "saved", random_bert(tokenizer, add_pooling_layer=False), tokenizer, profile
        )
    assert not list(tmp_path.iterdir())


def test_pooler_of_another_kind_is_refused(tokenizer: Any, tmp_path: Path) -> None:
    import torch

    model = random_bert(tokenizer)
    model.pooler.activation = torch.nn.GELU()
    profile = PROFILE.model_copy(update={"pooling": "pooler"})
    with pytest.raises(BiasBenchError, match="BertPooler is not a square tanh layer"):
        save_encoder(tmp_path / "saved", model, tokenizer, profile)


@pytest.mark.parametrize(
    ("value", "hint"), [(1e6, "save it in float32"), (float("nan"), "did training diverge")]
)
def test_weight_that_cannot_be_stored_is_named(
    tokenizer: Any, tmp_path: Path, value: float, hint: str
) -> None:
    model = random_bert(tokenizer)
    model.encoder.layer[1].output.dense.weight.data[0, 0] = value
    with pytest.raises(BiasBenchError, match=f"encoder.layer.1.output.dense.weight.*{hint}"):
        save_encoder(tmp_path / "saved", model, tokenizer, PROFILE, dtype="float16")
    assert not list(tmp_path.iterdir())


def test_only_fast_tokenizers_are_saved(model: Any, tmp_path: Path) -> None:
    with pytest.raises(BiasBenchError, match="only fast tokenizers can be saved, not object"):
        save_encoder(tmp_path / "saved", model, object(), PROFILE)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"schema": 2}', "schema 2 is unknown"),
        ("[]", "schema None is unknown"),
        ('{"schema": 1}', "profile: Input should be"),
        ('{"schema": 1, "profile": {"pooling": "min"}}', "profile.pooling: Input should be"),
        ("{", "not valid JSON"),
    ],
)
def test_damaged_profile_file_is_a_data_error(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "biasbench.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=problem) as caught:
        profile_for("anything", folder=tmp_path)
    assert "\n" not in str(caught.value)
