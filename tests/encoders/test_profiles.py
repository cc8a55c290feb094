"""Which prefixes, pooling, lengths and similarity hold, and what says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bias_bench import evaluate
from bias_bench.config.experiment import make_experiment, nest
from bias_bench.encoders.backbone import (
    Backbone,
    Loaded,
    described,
    recorded,
    resolve_backbone,
)
from bias_bench.encoders.cached import CachedBackbone
from bias_bench.encoders.embeds import Request
from bias_bench.encoders.encoder import Encoder, EncodingSettings
from bias_bench.errors import DataError, UsageError
from bias_bench.runs.backbone import as_set
from tests.support.command_line import Command
from tests.support.encoder_folders import (
    CONFIG,
    NORMALIZE,
    change,
    dense,
    in_form,
    pickled,
    pooling,
    random_model,
    save_model,
    without,
    write,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("plain") / "bert", random_model("Bert"))


@pytest.fixture
def folder(plain: Path, tmp_path: Path) -> Path:
    """In sentence-transformers' form, with mean pooling and without prompts."""
    shutil.copytree(plain, tmp_path / "encoder")
    in_form(tmp_path / "encoder", pooling(), NORMALIZE)
    return tmp_path / "encoder"


def on_hub(folder: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a folder into the hub's cache as if it had been fetched; returns its snapshot."""
    from huggingface_hub import constants

    place = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return Path(shutil.copytree(folder, place / "snapshots" / COMMIT))


def set_by(backbone: Backbone, **settings: Any) -> Backbone:
    layers = [nest(key.replace("__", "."), value) for key, value in settings.items()]
    return as_set(backbone, make_experiment(*layers))


def prefixes(backbone: Backbone) -> tuple[str, str]:
    return backbone.profile.query_prefix, backbone.profile.candidate_prefix


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("intfloat/multilingual-e5-base", ("query: ", "passage: ")),
        ("intfloat/multilingual-e5-base@main", ("query: ", "passage: ")),
        ("someone/multilingual-e5-base", ("", "")),
        ("intfloat/multilingual-e5-base-tuned", ("", "")),
        ("BAAI/bge-m3", ("", "")),
    ],
)
def test_a_profile_by_name_holds_for_exactly_the_models_it_names(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str,
    expected: tuple[str, str],
) -> None:  # fmt: skip
    on_hub(folder, name.partition("@")[0], tmp_path, monkeypatch)
    backbone = resolve_backbone(name, fetch=False)
    assert prefixes(backbone) == expected
    said = f"profile of {name.partition('@')[0]}" if expected[0] else "none stated"
    assert backbone.origin["query_prefix"] == said
    assert backbone.origin["pooling"] == "1_Pooling/config.json"


def test_what_the_files_state_goes_before_the_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / CONFIG, prompts={"query": "ask: "})
    on_hub(folder, "intfloat/multilingual-e5-base", tmp_path, monkeypatch)
    backbone = resolve_backbone("intfloat/multilingual-e5-base", fetch=False)
    assert prefixes(backbone) == ("ask: ", "passage: ")
    assert backbone.origin["query_prefix"] == CONFIG


def test_the_name_of_a_folder_says_nothing(folder: Path) -> None:
    renamed = folder.rename(folder.with_name("multilingual-e5-small"))
    assert prefixes(resolve_backbone(str(renamed))) == ("", "")


@pytest.mark.parametrize("prompts", [{}, {"web_search_query": "Instruct: find it\nQuery: "}])
def test_an_instruct_model_without_an_instruction_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, biasbench: Command,
    prompts: dict[str, str],
) -> None:  # fmt: skip
    name = "intfloat/multilingual-e5-large-instruct"
    write(folder / CONFIG, prompts=prompts)
    on_hub(folder, name, tmp_path, monkeypatch)
    found = biasbench("run", "mini", "--backbone", name, "--out", tmp_path / "runs", "--dry-run")
    assert found.code == 2
    assert "--set encoding.query_prefix" in found.err
    for prefix in ("Instruct: find it\nQuery: ", ""):
        backbone = set_by(resolve_backbone(name, fetch=False), encoding__query_prefix=prefix)
        assert prefixes(backbone) == (prefix, "")
    write(folder / CONFIG, prompts={"query": "Instruct: find it\nQuery: "})
    named = folder.rename(folder.with_name("e5-instruct"))
    assert set_by(resolve_backbone(str(named))).profile.query_prefix.startswith("Instruct")


def test_a_plain_language_model_has_prefixes_in_training_alone(plain: Path) -> None:
    backbone = resolve_backbone(str(plain))
    assert prefixes(set_by(backbone)) == ("", "")
    trained = set_by(backbone, training__steps=5)
    assert prefixes(trained) == ("query: ", "passage: ")
    assert trained.origin["query_prefix"] == "training"
    set_in = {"training__query_prefix": "q: ", "training__steps": 5}
    assert prefixes(set_by(backbone, **set_in)) == ("q: ", "passage: ")
    assert prefixes(set_by(backbone, **set_in, encoding__query_prefix=""))[0] == ""


def test_an_encoder_keeps_its_prefixes_in_training(folder: Path) -> None:
    assert prefixes(set_by(resolve_backbone(str(folder)), training__steps=5)) == ("", "")


@pytest.mark.parametrize(
    ("kind", "stated", "expected", "origin"),
    [
        ("Bert", {}, 130, "config.json"),
        ("XLMRoberta", {}, 128, "positions in the weights"),
        ("XLMRoberta", {"model_max_length": 100}, 100, "tokenizer_config.json"),
        ("Bert", {"model_max_length": 10**30}, 130, "config.json"),
        ("Bert", {"model_max_length": 512}, 130, "config.json"),
    ],
)
def test_lengths_are_bounded_by_the_positions_there_are(
    tmp_path: Path, kind: str, stated: dict[str, int], expected: int, origin: str
) -> None:
    saved = save_model(tmp_path / "encoder", random_model(kind), **stated)
    for form in ("plain", "sentence-transformers"):
        if form != "plain":
            in_form(saved, pooling(), NORMALIZE)
            write(saved / "sentence_bert_config.json", max_seq_length=None)
        backbone = resolve_backbone(str(saved))
        profile = backbone.profile
        assert profile.query_max_length == profile.candidate_max_length == expected
        assert backbone.origin["query_max_length"] == origin
        settings = EncodingSettings(profile, "float32", 256, "cpu")
        encoder = Encoder(backbone, settings)
        tokens = encoder.tokenize(["a long text " * 300], "candidate")
        assert encoder.encode(tokens, lambda _: None).shape == (1, 32)


@pytest.mark.parametrize("key", ["encoding.candidate_max_length", "training.query_max_length"])
def test_a_length_beyond_the_positions_is_found_before_anything_is_written(
    tmp_path: Path, biasbench: Command, key: str
) -> None:
    given = ("run", "mini", "--backbone", "scratch:tiny", "--out", tmp_path / "runs")
    recipe = ("--recipe", "mono" if key.startswith("training") else "zero-shot")
    found = biasbench(*given, *recipe, "--set", f"{key}=512")
    assert found.code == 2
    assert f"{key} = 512: scratch:tiny has positions for 130 tokens" in found.err
    assert not (tmp_path / "runs").exists()


def test_the_run_its_record_and_its_page_say_what_holds_and_why(
    folder: Path, tmp_path: Path, biasbench: Command
) -> None:
    write(folder / CONFIG, prompts={"query": "ask <it>: "}, similarity_fn_name="dot")
    in_form(folder, pooling("cls", include_prompt=False), dense(8, "Identity"))
    places = ("--out", tmp_path / "runs", "--reports", tmp_path / "reports", "--name", "a")
    settings = ("--set", "languages=[de, en]", "--set", "encoding.candidate_prefix=text")
    given = ("run", "mini", "--recipe", "zero-shot", "--backbone", folder)
    found = biasbench(*given, *places, *settings)
    assert found.code == 0
    assert (
        f"encoder: queries with 'ask <it>: ' ({CONFIG}); candidates with 'text' (setting); "
        "cls pooling (1_Pooling/config.json); without the prefix (1_Pooling/config.json); "
        f"at most 130 tokens (config.json); then Dense 32 to 8 (Identity); dot ({CONFIG})"
    ) in found.err
    record = json.loads((tmp_path / "runs" / "a" / "manifest.json").read_text("utf-8"))["encoding"]
    assert record["profile"]["query_prefix"] == "ask <it>: "
    assert (record["similarity"], record["origin"]["similarity"]) == ("dot", CONFIG)
    assert record["origin"]["candidate_prefix"] == "setting"
    assert record["after_pooling"] == ["Dense 32 to 8 (Identity)"]
    page = (tmp_path / "reports" / "a.html").read_text("utf-8")
    assert f"with the prefix “ask &lt;it&gt;: ” <small>({CONFIG})</small>" in page
    assert "then Dense 32 to 8 (Identity); compared by inner product" in page


def test_a_bundled_encoders_profile_and_record_stay_as_they_were() -> None:
    backbone = resolve_backbone("bundled:multilingual-e5-small")
    assert recorded(backbone)["profile"] == {
        "pooling": "mean", "query_prefix": "query: ", "candidate_prefix": "passage: ",
        "query_max_length": 512, "candidate_max_length": 512,
    }  # fmt: skip
    assert "queries with 'query: ' (profile of multilingual-e5-small)" in described(backbone)


def test_similarity_is_a_setting_in_every_search(folder: Path, tmp_path: Path) -> None:
    in_form(folder, pooling())

    def run(name: str, **settings: Any) -> np.ndarray:
        given = {"encoding.precision": "float32", "robustness": False, **settings}
        found = evaluate(
            str(folder), "mini", languages=["de", "en"], out=tmp_path, name=name, settings=given
        )
        return (
            found.scores.query("metric == 'AP@100'")
            .sort_values(["setting", "query"])["value"]
            .to_numpy()
        )

    cosine = run("cosine")
    dot = run("dot", **{"encoding.similarity": "dot"})
    assert not np.allclose(cosine, dot, atol=0.01)
    graph = {"kind": "hnsw", "search": 400}
    by_index = run("index", **{"encoding.similarity": "dot", "retrieval.index": graph})
    assert (np.abs(by_index - dot) < 1e-6).mean() > 0.95
    write(folder / CONFIG, similarity_fn_name="dot")
    assert np.array_equal(run("stated"), dot)
    assert np.array_equal(run("set", **{"encoding.similarity": "cosine"}), cosine)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (change(CONFIG, similarity_fn_name="dot"), "--set encoding.similarity=cosine trains it"),
        (lambda folder: in_form(folder, pooling(), dense(8)), "has Dense 32 to 8 (Tanh) after"),
        (lambda folder: in_form(folder, pooling(include_prompt=False)), "include_prompt false"),
        (change(CONFIG, truncate_dim=8), "has Truncate to 8 after pooling"),
    ],
)
def test_what_training_would_drop_is_not_trained(folder: Path, how: Any, message: str) -> None:
    in_form(folder, pooling())
    how(folder)
    with pytest.raises(UsageError) as error:
        set_by(resolve_backbone(str(folder)), training__steps=5)
    assert message in str(error.value)


def test_a_hub_encoder_without_its_tokenizer_is_a_data_error(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, biasbench: Command
) -> None:
    for name, how, message in (
        ("org/half", without("tokenizer.json"), "holds no tokenizer.json"),
        ("org/old", pickled, "holds no model.safetensors, and pickled weights"),
    ):
        how(on_hub(plain, name, tmp_path, monkeypatch))
        found = biasbench("run", "mini", "--backbone", name, "--out", tmp_path / "runs")
        assert found.code == 3
        assert message in found.err
        assert not (tmp_path / "runs").exists()


def test_a_tokenizer_of_another_model_is_a_data_error(tmp_path: Path) -> None:
    larger = save_model(tmp_path / "larger", random_model("Bert", vocab_size=9_000))
    with pytest.raises(DataError, match=r"tokenizer.json. knows 2,000 pieces.*of 9,000"):
        resolve_backbone(str(larger)).load()
    smaller = resolve_backbone(
        str(save_model(tmp_path / "smaller", random_model("Bert", vocab_size=1_500)))
    )
    encoder = Encoder(smaller, EncodingSettings(smaller.profile, "float32", 256, "cpu"))
    with pytest.raises(DataError, match=r"tokenizer.json. gives the piece 1,\d\d\d, and the mod"):
        encoder.tokenize(["a text of many pieces, one of them late"] * 2, "query")


def test_texts_of_unknown_pieces_are_a_data_error(plain: Path, tmp_path: Path) -> None:
    backbone = resolve_backbone(str(plain))
    settings = EncodingSettings(backbone.profile, "float32", 256, "cpu")
    source = CachedBackbone(backbone, settings, tmp_path)
    request = Request("am candidates", "candidate", ["ሰላም ለዓለም", "ጤና ይስጥልኝ"])
    with pytest.raises(DataError, match=r"am candidates: \d+% of their pieces are unknown"):
        source.vectors([request])
    known = request._replace(texts=["hello world", "good morning"])
    assert source.vectors([known])[0].shape[0] == 2


def test_layers_that_share_weights_may_be_more_than_tensors(tmp_path: Path) -> None:
    model = random_model("Albert", embedding_size=16, num_hidden_layers=40)
    folder = save_model(tmp_path / "albert", model)
    assert resolve_backbone(str(folder)).load().model.config.num_hidden_layers == 40
    write(folder / "config.json", num_hidden_groups=10**6)
    with pytest.raises(DataError, match="is 1000000, for"):
        resolve_backbone(str(folder)).load()


def test_an_encoder_with_a_decoder_other_than_t5_is_refused(tmp_path: Path) -> None:
    sizes = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32,
             "decoder_ffn_dim": 32, "encoder_attention_heads": 2,
             "decoder_attention_heads": 2}  # fmt: skip
    folder = save_model(tmp_path / "bart", random_model("Bart", **sizes))
    with pytest.raises(DataError, match="a bart is an encoder with a decoder"):
        resolve_backbone(str(folder)).load()


def test_a_text_needs_no_padding_piece(plain: Path) -> None:
    backbone = resolve_backbone(str(plain))
    settings = EncodingSettings(backbone.profile, "float32", 256, "cpu")
    texts = ["short", "a text that is longer than the other one"]

    def encode(loaded: Loaded) -> np.ndarray:
        encoder = Encoder(backbone._replace(load=lambda: loaded), settings)
        return encoder.encode(encoder.tokenize(texts, "query"), lambda _: None)

    expected = encode(backbone.load())
    loaded = backbone.load()
    loaded.tokenizer.pad_token = None
    np.testing.assert_allclose(encode(loaded), expected, atol=1e-5)
