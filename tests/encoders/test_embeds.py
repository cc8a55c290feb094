"""Sources of vectors: what each is asked once, and what decides what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bias_bench.encoders import blocks, cached
from bias_bench.encoders.backbone import resolve_backbone
from bias_bench.encoders.blocks import array_of, changed, joined, stored_blocks
from bias_bench.encoders.cached import CachedBackbone
from bias_bench.encoders.debiased import Debiased, Fitting
from bias_bench.encoders.embeds import Embeds, Request
from bias_bench.encoders.encoder import EncodingSettings
from bias_bench.encoders.given import GivenModel
from bias_bench.encoders.objects import Vectors
from bias_bench.errors import UsageError
from bias_bench.system.processes import Processes
from tests.support.runs import run

GREEK = Request("el candidates", "candidate", ["ένα κείμενο", "άλλο ένα"], "el")
ENGLISH = Request("en queries", "query", ["a text", "one more", "a third"], "en")
FITTED = [
    Request("el texts", "candidate", ["πρώτο", "δεύτερο"], "el"),
    Request("en texts", "query", ["first", "second"], "en"),
]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Labels of the requests that any encoder has encoded, in order."""
    labels: list[str] = []
    encode = cached._Tokenized.encode

    def noted(encoder: cached._Tokenized, request: Request, advance: object) -> np.ndarray:
        labels.append(request.label)
        return encode(encoder, request, advance)  # type: ignore[arg-type]

    monkeypatch.setattr(cached._Tokenized, "encode", noted)
    return labels


def source(folder: Path, spec: str = "scratch:tiny") -> CachedBackbone:
    backbone = resolve_backbone(spec)
    settings = EncodingSettings(backbone.profile, "float32", 256, "cpu")
    return CachedBackbone(backbone, settings, folder)


def arrays(embeds: Embeds, requests: Sequence[Request], again: bool = False) -> list[np.ndarray]:
    return [array_of(part) for part in embeds.vectors(requests, again=again)]


def test_what_a_source_has_encoded_itself_is_not_encoded_again(
    tmp_path: Path, encoded: list[str]
) -> None:
    source(tmp_path).vectors([GREEK])
    embeds = source(tmp_path)
    embeds.vectors([GREEK, ENGLISH], again=True)
    assert encoded == [GREEK.label, GREEK.label, ENGLISH.label]
    embeds.vectors([ENGLISH, GREEK], again=True)
    assert len(encoded) == 3
    embeds.vectors([FITTED[0]])  # what it made without being asked to make it again counts too
    embeds.vectors(FITTED, again=True)
    assert encoded[3:] == [FITTED[0].label, FITTED[1].label]


def test_equal_requests_are_encoded_once(tmp_path: Path, encoded: list[str]) -> None:
    twin = GREEK._replace(label="the same again")
    first, second = arrays(source(tmp_path), [GREEK, twin])
    assert len(encoded) == 1
    np.testing.assert_array_equal(first, second)


def test_policy_always_encodes_each_text_of_a_run_once(
    tmp_path: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIASBENCH_CACHE", str(tmp_path / "cache"))
    few = ("--set", "languages=[de, en]", "--set", "robustness.topics=20")
    assert run(tmp_path, *few, "--policy", "always") == 0
    assert encoded[:4] == ["de candidates", "en candidates", "de queries", "en queries"]
    assert len(encoded) == len(set(encoded)) > 4  # the perturbed queries too


def test_texts_are_said_to_be_cached_once_their_vectors_are_there(tmp_path: Path) -> None:
    embeds = source(tmp_path)
    embeds.vectors([GREEK])
    nothing = Request("el queries", "query", [], "el")
    first, second = embeds.texts([GREEK, nothing, ENGLISH])
    assert (first.number, first.characters, first.cached) == (2, 19, True)
    assert (second.number, second.cached) == (3, False)


def test_debiasing_is_fitted_once_and_asks_for_the_language(
    tmp_path: Path, encoded: list[str]
) -> None:
    fitting = Fitting("centre", ("el", "en"), ("data",), FITTED)
    inner = source(tmp_path)
    embeds = Debiased(inner, fitting)
    greek, english = arrays(embeds, [GREEK, ENGLISH])
    assert encoded == [request.label for request in (GREEK, ENGLISH, *FITTED)]
    for request, found, texts in ((GREEK, greek, FITTED[0]), (ENGLISH, english, FITTED[1])):
        plain, mean = arrays(inner, [request, texts])
        expected = plain - mean.mean(axis=0)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(arrays(embeds, [ENGLISH])[0], english)
    assert [texts.number for texts in embeds.texts([GREEK])] == [2, 2, 2]
    assert embeds.record == {**inner.record, "debias": fitting.record}
    with pytest.raises(UsageError, match="these texts are in no language"):
        embeds.vectors([ENGLISH._replace(language=None)])
    with pytest.raises(UsageError, match="el, en, and these texts are in fi"):
        embeds.vectors([ENGLISH._replace(language="fi")])


def test_ready_vectors_are_debiased_as_an_encoders_are(tmp_path: Path) -> None:
    plain = arrays(source(tmp_path), [GREEK, *FITTED[:1], ENGLISH, *FITTED[1:]])
    ready = Vectors(np.concatenate(plain[2:]), np.concatenate(plain[:2]))
    requests = [GREEK, FITTED[0], ENGLISH, FITTED[1]]
    fitting = Fitting("leace", ("el", "en"), ("data",), FITTED)
    given = Debiased(GivenModel(ready, "ready", requests), fitting)
    for mine, theirs in zip(
        arrays(given, requests), arrays(Debiased(source(tmp_path), fitting), requests), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_a_python_object_is_not_shared_by_processes() -> None:
    ready = Vectors(np.eye(3, 4), np.eye(2, 4))
    given = GivenModel(ready, "ready", [GREEK, ENGLISH])
    with pytest.raises(ValueError, match="cannot be shared"):
        given.vectors([GREEK], processes=Processes(0, 2))


def test_identity_of_debiased_vectors_says_what_they_are_fitted_on(tmp_path: Path) -> None:
    fitting = Fitting("lir", ("el", "en"), ("data",), FITTED)
    other = fitting._replace(requests=FITTED[::-1])
    inner = source(tmp_path)
    found = [Debiased(inner, fitting).identity, Debiased(inner, other).identity]
    assert found[0] != found[1]
    assert inner.identity.items() < found[0].items()


def test_parts_on_disk_and_in_memory_are_read_as_one_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 4)
    whole = np.arange(22, dtype=np.float32).reshape(11, 2)
    np.save(tmp_path / "a.npy", whole[:8])
    np.save(tmp_path / "b.npy", whole[8:])
    parts = [stored_blocks(tmp_path / f"{name}.npy") for name in "ab"]
    for vectors in (joined(parts), joined([blocks.ArrayBlocks(whole[:8]), parts[1]])):
        assert vectors.shape == (11, 2)
        np.testing.assert_array_equal(array_of(vectors), whole)
        rows = np.array([9, 0, 7, 10, 7])
        np.testing.assert_array_equal(vectors.rows(rows), whole[rows])
        twice = changed(vectors, lambda block: 2 * block)
        np.testing.assert_array_equal(array_of(twice), 2 * whole)
        np.testing.assert_array_equal(twice.rows(rows), 2 * whole[rows])
    assert isinstance(joined([blocks.ArrayBlocks(whole)] * 2), blocks.ArrayBlocks)
