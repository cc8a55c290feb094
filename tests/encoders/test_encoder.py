"""Encoders: batching, determinism, caching, and backbones from folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.encoders import encoder
from bias_bench.encoders.backbone import Backbone, resolve_backbone
from bias_bench.encoders.blocks import array_of
from bias_bench.encoders.cached import CachedBackbone
from bias_bench.encoders.embeds import Request
from bias_bench.encoders.encoder import (
    Encoder,
    EncodingSettings,
    gains_from_bf16,
    length_sorted_batches,
    pool,
    resolve_device,
    resolve_precision,
)
from bias_bench.errors import BiasBenchError, DataError, UsageError

TEXTS = [
    "a short one",
    "δεύτερο κείμενο με περισσότερες λέξεις",
    "третий",
    "ข้อความที่สี่",
    "the fifth " * 20,
]


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return resolve_backbone("scratch:tiny")


def settings_of(backbone: Backbone, **changes: Any) -> EncodingSettings:
    values = {
        "profile": backbone.profile,
        "precision": "float32",
        "batch_tokens": 64,
        "device": "cpu",
    }
    return EncodingSettings(**{**values, **changes})


def encode(backbone: Backbone, texts: list[str], **changes: Any) -> np.ndarray:
    encoder = Encoder(backbone, settings_of(backbone, **changes))
    return encoder.encode(encoder.tokenize(texts, "query"), lambda _: None)


def cached(backbone: Backbone, folder: Path, request: Request) -> np.ndarray:
    (blocks,) = CachedBackbone(backbone, settings_of(backbone), folder).vectors([request])
    return array_of(blocks)


@given(st.lists(st.integers(1, 200), max_size=60), st.integers(16, 400))
def test_batches_cover_every_text_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(length_sorted_batches(lengths, budget))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[row] for row in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget
    flat = [lengths[row] for batch in batches for row in batch]
    assert flat == sorted(lengths, reverse=True)


def test_vectors_are_unit_float32_and_repeat_exactly(backbone: Backbone) -> None:
    first, second = encode(backbone, TEXTS), encode(backbone, TEXTS)
    assert first.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1.0, atol=1e-6)
    assert first.tobytes() == second.tobytes()


def test_order_and_batch_size_change_vectors_by_rounding_only(backbone: Backbone) -> None:
    plain = encode(backbone, TEXTS)
    np.testing.assert_allclose(encode(backbone, TEXTS[::-1])[::-1], plain, atol=1e-5)
    np.testing.assert_allclose(encode(backbone, TEXTS, batch_tokens=100_000), plain, atol=1e-5)


def test_padding_does_not_reach_the_vector(backbone: Backbone) -> None:
    alone = np.concatenate([encode(backbone, [text]) for text in TEXTS])
    np.testing.assert_allclose(encode(backbone, TEXTS, batch_tokens=100_000), alone, atol=1e-5)


def test_prefix_and_maximum_length_of_each_side_are_applied(backbone: Backbone) -> None:
    encoder = Encoder(backbone, settings_of(backbone))
    query, candidate = (
        encoder.tokenize(["x " * 500], side)[0].tolist() for side in ("query", "candidate")
    )
    assert len(query) == backbone.profile.query_max_length
    assert len(candidate) == backbone.profile.candidate_max_length
    assert query[:5] != candidate[:5]


def test_scratch_encoder_depends_on_the_seed_and_spares_the_global_one(backbone: Backbone) -> None:
    import torch

    state = torch.random.get_rng_state()
    other = resolve_backbone("scratch:tiny", seed=1)
    assert other.sha256 != backbone.sha256
    assert not np.allclose(encode(other, TEXTS), encode(backbone, TEXTS))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_scratch_tokenizer_trains_to_the_same_vocabulary_every_time() -> None:
    first, second = (resolve_backbone("scratch:tiny").load().tokenizer for _ in range(2))
    assert first.get_vocab() == second.get_vocab()
    assert len(first) <= 2000


def test_cached_vectors_equal_computed_ones_and_need_no_model(
    backbone: Backbone, tmp_path: Path
) -> None:
    request = Request("texts", "query", TEXTS)
    computed = cached(backbone, tmp_path, request)

    def refuse() -> Any:
        raise AssertionError("the model was loaded although its vectors are cached")

    offline = backbone._replace(load=refuse)
    assert cached(offline, tmp_path, request).tobytes() == computed.tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"batch_tokens": 65},
        {"precision": "bf16"},
        {
            "profile": resolve_backbone("scratch:tiny").profile.model_copy(
                update={"query_prefix": "q"}
            )
        },
    ],
)
def test_cache_key_changes_with_everything_that_decides_vectors(
    backbone: Backbone, change: dict[str, Any]
) -> None:
    def key(backbone: Backbone, settings: EncodingSettings, *request: Any) -> str:
        (texts,) = CachedBackbone(backbone, settings).texts([Request(*request)])
        return texts.key

    settings = settings_of(backbone)
    before = key(backbone, settings, "label", "query", TEXTS)
    assert before == key(backbone, settings, "other label", "query", TEXTS, "en")
    assert before != key(backbone, settings_of(backbone, **change), "", "query", TEXTS)
    assert before != key(backbone, settings, "", "candidate", TEXTS)
    assert before != key(backbone, settings, "", "query", TEXTS[1:])
    assert before != key(backbone._replace(sha256={}), settings, "", "query", TEXTS)


def test_flipped_byte_in_the_cache_is_noticed_and_encoded_again(
    backbone: Backbone, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = Request("texts", "query", TEXTS)
    first = cached(backbone, tmp_path, request)
    (path,) = tmp_path.glob("*.npy")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    again = cached(backbone, tmp_path, request)
    assert again.tobytes() == first.tobytes()
    assert "damaged" in capsys.readouterr().err


def test_empty_request_is_a_clear_error(backbone: Backbone) -> None:
    with pytest.raises(BiasBenchError, match="nothing to encode"):
        encode(backbone, [])


def test_nan_weights_are_reported_not_ranked(backbone: Backbone) -> None:
    loaded = backbone.load()
    loaded.model.encoder.layer[0].output.dense.weight.data.fill_(float("nan"))
    with pytest.raises(BiasBenchError, match="NaN"):
        encode(backbone._replace(load=lambda: loaded), TEXTS)


def test_automatic_precision_is_bf16_only_with_matrix_units(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for features, expected in (
        ([], "float32"),
        (["avx512_bf16"], "float32"),
        (["amx_bf16"], "bf16"),
    ):
        monkeypatch.setattr(encoder, "cpu_features", lambda found=features: found)
        assert resolve_precision("auto", "cpu") == expected
    assert resolve_precision("bf16", "cpu") == "bf16"


@pytest.mark.parametrize(
    ("features", "processor", "gains"),
    [
        ([], "AMD EPYC 9004", False),
        (["avx512_bf16"], "AMD EPYC 9004", True),
        (["avx512_bf16"], "Intel(R) Xeon(R) Processor", False),
        (["avx512_bf16", "amx_bf16"], "Intel(R) Xeon(R) Processor", True),
    ],
)
def test_training_is_in_bf16_only_where_that_is_faster(
    monkeypatch: pytest.MonkeyPatch, features: list[str], processor: str, gains: bool
) -> None:
    monkeypatch.setattr(encoder, "cpu_features", lambda: features)
    monkeypatch.setattr(encoder, "processor", lambda: processor)
    assert gains_from_bf16("cpu") is gains


def test_unusable_device_is_one_clear_line() -> None:
    with pytest.raises(BiasBenchError, match="device 'cuda:99' cannot be used here"):
        resolve_device("cuda:99")
    with pytest.raises(BiasBenchError, match="device 'toaster'"):
        resolve_device("toaster")


def test_pooling_follows_the_mask() -> None:
    import torch
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    hidden = torch.tensor([[[1.0, 0.0], [3.0, 2.0], [100.0, 100.0]]])
    output = BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=hidden[:, 1])
    mask = torch.tensor([[1, 1, 0]])
    assert pool(output, mask, "mean").tolist() == [[2.0, 1.0]]
    assert pool(output, mask, "cls").tolist() == [[1.0, 0.0]]
    assert pool(output, mask, "pooler").tolist() == [[3.0, 2.0]]
    with pytest.raises(BiasBenchError, match="no pooler"):
        pool(BaseModelOutputWithPooling(last_hidden_state=hidden), mask, "pooler")


@pytest.fixture
def saved(backbone: Backbone, tmp_path: Path) -> Path:
    """A local folder with the scratch encoder in transformers' form."""
    folder = tmp_path / "my-multilingual-e5"
    loaded = backbone.load()
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


def test_local_folder_gives_the_same_vectors_as_the_model_it_was_saved_from(
    backbone: Backbone, saved: Path
) -> None:
    local = resolve_backbone(str(saved))
    ours = encode(backbone, TEXTS)
    np.testing.assert_allclose(encode(local, TEXTS, profile=backbone.profile), ours, atol=1e-6)


def test_architecture_without_a_pooler_loads_too(backbone: Backbone, tmp_path: Path) -> None:
    from transformers import DistilBertConfig, DistilBertModel

    folder = tmp_path / "distil"
    config = DistilBertConfig(vocab_size=2000, dim=16, hidden_dim=32, n_layers=1, n_heads=2)
    DistilBertModel(config).save_pretrained(folder)
    backbone.load().tokenizer.save_pretrained(folder)
    local = resolve_backbone(str(folder))
    profile = local.profile.model_copy(update={"pooling": "mean"})
    assert encode(local, TEXTS, profile=profile).shape == (5, 16)


def test_weights_that_lack_a_layer_are_refused(saved: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = saved / "model.safetensors"
    weights = load_file(path)
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(DataError, match=r"weights lack 'encoder\.layer\.1\.output"):
        resolve_backbone(str(saved)).load()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_folder_without_a_needed_file_says_which(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        resolve_backbone(str(saved))


def test_damaged_safetensors_are_a_data_error(saved: Path) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"damaged weights|cannot load"):
        resolve_backbone(str(saved)).load()


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("bundled:multilingual-e5-smal", "did you mean 'multilingual-e5-small'"),
        ("scratch:tny", "did you mean 'tiny'"),
        ("no-such-folder", "hub id such as"),
        ("./missing/folder", "an existing"),
    ],
)
def test_unknown_backbone_names_what_would_do(spec: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        resolve_backbone(spec)


def test_hub_id_that_cannot_be_fetched_is_a_data_error() -> None:
    with pytest.raises(DataError, match=r"some-org/some-model: not on this disk"):
        resolve_backbone("some-org/some-model")
