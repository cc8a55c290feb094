"""Folders of encoders rank as sentence-transformers has them, or are refused by name."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bias_bench import Run, evaluate, load_collection
from bias_bench.data.collection import Collection
from bias_bench.encoders.backbone import resolve_backbone
from bias_bench.errors import DataError
from tests.support.encoder_folders import (
    ALIKE,
    CONFIG,
    NORMALIZE,
    REFUSED,
    SAME,
    Change,
    dense,
    in_form,
    modules,
    pooling,
    random_model,
    save_model,
    write,
)

FLOAT32 = {"encoding.precision": "float32"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("plain") / "bert", random_model("Bert"))


@pytest.fixture(scope="module")
def original(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mean pooling, cosine, no prompts, in sentence-transformers' form."""
    folder = tmp_path_factory.mktemp("original") / "bert"
    shutil.copytree(plain, folder)
    in_form(folder, pooling(), NORMALIZE)
    empty = {"query": "", "document": ""}
    write(folder / CONFIG, model_type="SentenceTransformer", prompts=empty)
    return folder


@pytest.fixture(scope="module")
def few() -> Collection:
    """Twelve topics in two languages."""
    mini = load_collection("mini", languages=["de", "en"])
    kept = {topic.id for topic in mini.topics[:12]}
    return replace(
        mini,
        name="few",
        topics=mini.topics[:12],
        queries=tuple(query for query in mini.queries if query.id.split(":")[1] in kept),
        relevance=tuple(pair for pair in mini.relevance if pair[0] in kept),
    )


@pytest.fixture(scope="module")
def originally(
    original: Path, few: Collection, tmp_path_factory: pytest.TempPathFactory
) -> np.ndarray:
    return ranks(str(original), few, tmp_path_factory.mktemp("ranks"))


def ranks(model: Any, few: Collection, out: Path, **settings: Any) -> np.ndarray:
    run = evaluated(model, few, out, **settings)
    return run.ranks.sort_values(["setting", "query", "candidate"])["rank"].to_numpy()


def evaluated(model: Any, few: Collection, out: Path, **settings: Any) -> Run:
    given = FLOAT32 | settings if isinstance(model, str) else {}
    return evaluate(model, few, out=out, policy="always", settings=given)


def changed(original: Path, tmp_path: Path, how: Change) -> str:
    folder = tmp_path / "encoder"
    shutil.copytree(original, folder)
    how(folder)
    return str(folder)


def share_of_same(first: np.ndarray, second: np.ndarray) -> float:
    return float((first == second).mean())


def as_object(folder: str) -> Any:
    library = pytest.importorskip("sentence_transformers")
    return library.SentenceTransformer(folder, device="cpu")


@pytest.mark.parametrize("name", [*ALIKE, *SAME])
def test_a_folder_ranks_as_sentence_transformers_has_it(
    original: Path, originally: np.ndarray, few: Collection, tmp_path: Path, name: str
) -> None:
    folder = changed(original, tmp_path, (ALIKE | SAME)[name])
    own = ranks(folder, few, tmp_path / "folder")
    theirs = ranks(as_object(folder), few, tmp_path / "object")
    assert share_of_same(own, theirs) > 0.99  # all but where two are as near as the last bits
    unchanged = share_of_same(own, originally)
    assert unchanged < 0.9 if name in ALIKE else unchanged > 0.99


@pytest.mark.parametrize(
    ("kind", "sizes", "tokenizer", "mode"),
    [
        ("XLMRoberta", {}, {}, "mean"),
        ("Qwen3", {"num_key_value_heads": 2, "head_dim": 16}, {}, "lasttoken"),
        (
            "Qwen3",
            {"num_key_value_heads": 2, "head_dim": 16},
            {"padding_side": "left"},
            "lasttoken",
        ),
        ("Qwen3", {"num_key_value_heads": 2, "head_dim": 16}, {"padding_side": "left"}, "mean"),
        (
            "T5",
            {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2},
            {},
            "mean",
        ),
    ],
)
@pytest.mark.parametrize("form", ["plain", "sentence-transformers"])
def test_other_architectures_and_padding_rank_alike(
    few: Collection, tmp_path: Path, kind: str, sizes: dict[str, Any], tokenizer: dict[str, Any],
    mode: str, form: str,
) -> None:  # fmt: skip
    folder = save_model(tmp_path / "encoder", random_model(kind, **sizes), **tokenizer)
    if form != "plain":
        in_form(folder, pooling(mode), NORMALIZE)
    own = ranks(str(folder), few, tmp_path / "folder")
    theirs = ranks(as_object(str(folder)), few, tmp_path / "object")
    assert share_of_same(own, theirs) > 0.99


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_a_folder_that_sentence_transformers_wrote_ranks_alike(
    plain: Path, few: Collection, tmp_path: Path, similarity: str
) -> None:
    library = pytest.importorskip("sentence_transformers")
    parts = pytest.importorskip("sentence_transformers.models")
    transformer = parts.Transformer(str(plain))
    transformer.max_seq_length = 24
    model = library.SentenceTransformer(
        modules=[
            transformer,
            parts.Pooling(32, "weightedmean", include_prompt=False),
            parts.Dense(32, 16),
            parts.LayerNorm(16),
        ],
        prompts={"query": "ask this question: ", "document": "here is the text: "},
        similarity_fn_name=similarity,
        truncate_dim=12,
        device="cpu",
    )
    model.save(str(tmp_path / "saved"))
    own = ranks(str(tmp_path / "saved"), few, tmp_path / "folder")
    assert share_of_same(own, ranks(model, few, tmp_path / "object")) > 0.99
    profile = resolve_backbone(str(tmp_path / "saved")).profile
    assert (profile.query_max_length, profile.similarity) == (24, similarity)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_followed_is_refused_by_name(
    original: Path, tmp_path: Path, name: str
) -> None:
    how, message = REFUSED[name]
    with pytest.raises(DataError) as error:
        resolve_backbone(changed(original, tmp_path, how))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_every_file_that_decides_vectors_is_hashed(original: Path, tmp_path: Path) -> None:
    folder = Path(changed(original, tmp_path, modules(pooling("cls"), dense(8), NORMALIZE)))
    write(folder / "sentence_bert_config.json", max_seq_length=20)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(files) == 11  # two of the tokenizer, four of modules
    before = resolve_backbone(str(folder)).sha256
    for path in files:
        assert path.relative_to(folder).as_posix() in before
        data = path.read_bytes()
        path.write_bytes(data + b" " if path.suffix == ".json" else data[:-1] + b"\x01")
        assert resolve_backbone(str(folder)).sha256 != before, path.name
        path.write_bytes(data)
