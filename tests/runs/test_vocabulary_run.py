"""Runs whose backbone has pieces that no training text uses: they are evaluated and saved whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bias_bench.cli import run_command
from bias_bench.data.mini import training_texts
from bias_bench.data.registry import load_benchmark
from bias_bench.encoders.backbone import Backbone, Loaded, resolve_backbone
from bias_bench.encoders.encoder import Encoder, EncodingSettings
from bias_bench.runs.backbone import find_backbone
from tests.support.lareqa_files import document, paragraph, write
from tests.support.runs import run
from tests.support.unigram_encoders import PROFILE, save_unigram_encoder

SHORT = ("--recipe", "hybrid", "--set", "training.steps=3", "--set", "training.batch_size=8")
NOTHING_LEARNED = ("--set", "training.learning_rate=1e-30", "--set", "training.weight_decay=0",
                   "--set", "training.stored_precision=float32")  # fmt: skip


def questions() -> list[str]:
    """Questions of the embedded benchmark, which nothing is trained on, as they are and changed."""
    asked = [query.text for query in load_benchmark("mini", None).collection.queries]
    return [change(text) for text in asked for change in (str, str.upper, str.lower, str.title)]


class Start:
    """A backbone's folder, and what was saved there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        changed = [text for text in questions() if not text.islower()]
        self.loaded = save_unigram_encoder(folder, [*training_texts(), *changed])


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    return Start(tmp_path_factory.mktemp("backbone") / "unigram")


@pytest.fixture(scope="module")
def trained(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an encoder trained on the embedded training texts."""
    out = tmp_path_factory.mktemp("trained")
    assert train(out, start, "mini") == 0
    return out / "runs" / "trained" / "model"


def train(out: Path, start: Start, benchmark: str, *arguments: str) -> int:
    backbone = ("--backbone", str(start.folder), "--out", str(out / "runs"), "--name", "trained")
    return run_command(["train", benchmark, *SHORT, *backbone, *arguments])


def vectors(backbone: Backbone, texts: list[str]) -> np.ndarray:
    encoder = Encoder(backbone, EncodingSettings(backbone.profile, "float32", 1024, "cpu"))
    return encoder.encode(encoder.tokenize(texts, "query"), lambda _: None)


def test_a_trained_encoder_cuts_every_text_as_its_backbone_does(
    start: Start, trained: Path
) -> None:
    saved = resolve_backbone(str(trained)).load()
    texts = [PROFILE.query_prefix + text for text in questions()]
    assert saved.tokenizer(texts)["input_ids"] == start.loaded.tokenizer(texts)["input_ids"]
    assert (trained / "tokenizer.json").read_bytes() == (
        start.folder / "tokenizer.json"
    ).read_bytes()
    configs = [json.loads((at / "config.json").read_text()) for at in (trained, start.folder)]
    assert configs[0] == configs[1]
    assert len(saved.model.get_input_embeddings().weight) == configs[0]["vocab_size"]


def test_other_libraries_load_the_whole_vocabulary_and_give_the_same_vectors(
    trained: Path,
) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    library = pytest.importorskip("sentence_transformers")
    texts = questions()[::20]
    ours = vectors(resolve_backbone(str(trained)), texts)
    theirs = library.SentenceTransformer(str(trained), device="cpu")
    np.testing.assert_allclose(theirs.encode_query(texts), ours, atol=1e-5)
    model, tokenizer = AutoModel.from_pretrained(trained), AutoTokenizer.from_pretrained(trained)
    prefixed = [PROFILE.query_prefix + text for text in texts]
    inputs = tokenizer(prefixed, padding=True, truncation=True, max_length=64, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    mean = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    np.testing.assert_allclose(mean.numpy(), ours, atol=1e-5)


def test_an_encoder_that_learned_nothing_is_as_robust_as_its_backbone(
    start: Start, tmp_path: Path
) -> None:
    short = ("--set", "robustness.strengths=[strong]")
    assert run(tmp_path, *short, backbone=str(start.folder)) == 0
    assert run(tmp_path, *SHORT, *NOTHING_LEARNED, *short, backbone=str(start.folder)) == 0
    untrained, same = (tmp_path / "runs" / name for name in ("mini-zero-shot-0", "mini-hybrid-0"))
    for table in ("robustness.parquet", "ranks.parquet"):
        assert (same / table).read_bytes() == (untrained / table).read_bytes(), table


def test_texts_of_the_benchmark_decide_nothing_about_the_encoder(
    start: Start, tmp_path: Path
) -> None:
    saved = []
    for name, sentence in (("bees", "Bees fly."), ("cats", "KATZEN ⡳⡵ МУРЛЫКАЮТ")):
        for language in ("en", "de"):
            content = document([paragraph([sentence], ("q1", 0))])
            write(tmp_path / name, language, content)
        sources = ("--set", "training.sources=[mini]")
        assert train(tmp_path / "out" / name, start, str(tmp_path / name), *sources) == 0
        model = tmp_path / "out" / name / "runs" / "trained" / "model" / "model.safetensors"
        saved.append(model.read_bytes())
    assert saved[0] == saved[1]


def pairs_with(negative: str, path: Path) -> str:
    """Training pairs, each with this negative, as `training.sources` names them."""
    rows = [
        {"query": f"{text}?", "positive": text, "negatives": [negative], "language": "en"}
        for text in training_texts()[:16]
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return f"training.sources=[{{form: pairs, path: {path}}}]"


def test_given_negatives_are_trained_on_with_their_own_pieces_and_decide_the_encoder(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--set", "training.negatives.source=given", "--set", "training.mixture={mono: 1}")
    first, second = (query.text for query in load_benchmark("mini", None).collection.queries[:2])
    source = pairs_with(first, tmp_path / "pairs.jsonl")
    assert train(tmp_path, start, "mini", *given, "--set", source) == 0
    saved = resolve_backbone(str(tmp_path / "runs" / "trained" / "model")).load().model
    (ids,) = start.loaded.tokenizer([first])["input_ids"]
    before, after = (
        model.get_input_embeddings().weight.detach()[ids].half()
        for model in (start.loaded.model, saved)
    )
    assert (before != after).any(dim=1).all()
    source = pairs_with(second, tmp_path / "pairs.jsonl")
    assert train(tmp_path, start, "mini", *given, "--set", source) == 0
    assert "train: outdated: audit:pairs.json changed" in capsys.readouterr().err


def test_negatives_are_mined_again_with_a_part_of_the_vocabulary(
    start: Start, tmp_path: Path
) -> None:
    again = ("--set", "training.negatives={refresh_epochs: 0.001, mining: {number: 4}}")
    assert train(tmp_path, start, "mini", *again) == 0
    assert len(list((tmp_path / "runs" / "trained").glob("negatives-*.jsonl.gz"))) == 2


def test_whole_training_gives_the_same_encoder_but_for_decay(
    start: Start, trained: Path, tmp_path: Path
) -> None:
    assert train(tmp_path, start, "mini", "--set", "training.trim_vocabulary=never") == 0
    texts = questions()[::20]
    whole = resolve_backbone(str(tmp_path / "runs" / "trained" / "model"))
    again = vectors(resolve_backbone(str(trained)), texts)
    np.testing.assert_allclose(vectors(whole, texts), again, atol=1e-3)


def test_what_cannot_be_trimmed_is_trained_whole_or_refused(
    start: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import torch

    class Scaled(torch.nn.Embedding):
        pass

    def scaled(loaded: Loaded) -> Loaded:
        table = loaded.model.get_input_embeddings()
        other = Scaled(table.num_embeddings, table.embedding_dim, _weight=table.weight.detach())
        loaded.model.set_input_embeddings(other)
        return loaded

    def changed(*arguments: Any) -> Backbone:
        backbone = find_backbone(*arguments)
        return backbone._replace(load=lambda: scaled(backbone.load()))

    monkeypatch.setattr("bias_bench.runs.backbone.find_backbone", changed)
    assert train(tmp_path, start, "mini", "--set", "training.trim_vocabulary=always") == 1
    assert "a Scaled, not a plain table" in capsys.readouterr().err
    assert train(tmp_path, start, "mini", "--policy", "always") == 0
    assert "vocabulary kept whole" in capsys.readouterr().err
