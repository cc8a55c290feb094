"""Encoders by name that encode in their own way: a library's, and a server's."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bias_bench
from bias_bench.encoders import libraries, server
from bias_bench.encoders.blocks import array_of
from bias_bench.encoders.embeds import Embeds, Request
from bias_bench.encoders.objects import MTEB_ASKED
from bias_bench.encoders.server import batches
from bias_bench.encoders.sources import KINDS, open_source
from bias_bench.errors import BiasBenchError, DataError, UsageError
from tests.support.embedding_server import KEY, EmbeddingServer, serving
from tests.support.encoder_folders import (
    CONFIG,
    NORMALIZE,
    PROMPTS,
    both,
    change,
    dense,
    in_form,
    modules,
    pooling,
    random_model,
    save_model,
    write,
)
from tests.support.runs import manifest, run, trec_files
from tests.support.toy_encoders import trigrams

FEW = ("--set", "languages=[de, en]", "--set", "robustness=null")
TEXTS = ["one text", "another one", "one text", "the third of them"]
QUERIES = Request("en queries", "query", TEXTS, "en")


def opened(spec: str, device: str = "cpu", **encoding: Any) -> Embeds:
    source = open_source(spec, encoding, device, fetch=False)
    assert source is not None
    return source


def evaluated(model: Any, tmp_path: Path) -> bias_bench.Run:
    """As `run` with `FEW`."""
    out, settings = tmp_path / "runs", {"robustness": None}
    return bias_bench.evaluate(model, "mini", languages=["de", "en"], out=out, settings=settings)


def rankings(folder: Path) -> dict[str, list[list[str]]]:
    """Of all TREC files, without the last column, which names the system."""
    return {
        name: [line.split()[:5] for line in gzip.decompress(data).decode().splitlines()]
        for name, data in trec_files(folder).items()
    }


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIASBENCH_CACHE", str(tmp_path / "cache"))


# Servers


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddingServer]:
    with serving() as found:
        monkeypatch.setenv("OPENAI_BASE_URL", found.url + "/")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setattr(server, "FIRST_WAIT", 0.01)
        yield found


def test_a_run_through_a_server_ranks_as_the_same_model_as_an_object(
    toy: EmbeddingServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, *FEW, "--name", "served", backbone="openai:toy") == 0
    folder = tmp_path / "runs" / "served"
    given = evaluated(trigrams, tmp_path)
    assert rankings(folder) == rankings(given.folder)
    record = manifest(folder)
    host = toy.url.removeprefix("http://")
    assert record["weights"] == {"server": host, "model": "toy", "revision": ""}
    asked = f"model toy of the server {host}; queries without a prefix; candidates without a prefix"
    assert record["encoding"] == {
        "precision": "unknown", "device": host, "similarity": "cosine", "asked": asked,
    }  # fmt: skip
    assert asked in (tmp_path / "reports" / "served.html").read_text("utf-8")
    times = len(toy.asked)
    assert run(tmp_path, *FEW, "--name", "again", backbone="openai:toy") == 0
    assert len(toy.asked) == times  # nothing twice
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
    assert KEY not in capsys.readouterr().err


def test_each_text_is_asked_for_once_with_its_prefix_in_batches_and_put_in_order(
    toy: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "BATCH_TEXTS", 2)
    (vectors,) = opened("openai:toy", query_prefix="ask: ").vectors([QUERIES])
    assert toy.asked == [["ask: one text", "ask: another one"], ["ask: the third of them"]]
    expected = unit(trigrams([f"ask: {text}" for text in TEXTS]))
    np.testing.assert_allclose(array_of(vectors), expected, atol=1e-6)
    assert toy.headers[0]["Authorization"] == f"Bearer {KEY}"
    plain = opened("openai:toy", similarity="dot").vectors([QUERIES])[0]
    np.testing.assert_allclose(array_of(plain), trigrams(TEXTS))


def test_batches_hold_texts_in_order_up_to_both_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BATCH_TEXTS", 3)
    monkeypatch.setattr(server, "BATCH_CHARACTERS", 10)
    texts = ["a" * 4, "b" * 6, "c", "d", "e", "f", "g" * 30]
    assert [[*map(len, batch)] for batch in batches(texts)] == [[4, 6], [1, 1, 1], [1], [30]]
    assert [text for batch in batches(texts) for text in batch] == texts


@pytest.mark.parametrize(
    "failure",
    [
        (429, {"Retry-After": "0"}, {"error": {"message": "slow down"}}),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, {}),
        (500, {}, {}),
        (503, {}, {"error": "overloaded"}),
        "cut",
    ],
    ids=str,
)
def test_a_server_that_fails_for_a_while_is_asked_again(
    toy: EmbeddingServer, failure: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.failures = [failure, failure]
    opened("openai:toy").vectors([QUERIES])
    assert len(toy.asked) == 1
    assert capsys.readouterr().err.count("asking again in 0 s") == 2


def test_a_wait_that_the_server_asks_for_is_kept(
    toy: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(server.time, "sleep", waits.append)
    toy.failures = [(429, {"Retry-After": value}, {}) for value in ("7", "9999")]
    opened("openai:toy").vectors([QUERIES])
    assert waits == [7.0, server.LONGEST_WAIT]


def test_a_server_that_keeps_failing_is_given_up_in_one_line(toy: EmbeddingServer) -> None:
    toy.failures = [(500, {}, {"error": {"message": "out\nof order"}})] * 9
    with pytest.raises(BiasBenchError, match=r"status 500: out of order, the last of 6 attempts"):
        opened("openai:toy").vectors([QUERIES])
    assert len(toy.failures) == 3


def test_a_refusal_is_not_repeated_and_does_not_show_the_key(toy: EmbeddingServer) -> None:
    toy.failures = [(401, {}, {"error": {"message": f"Incorrect API key provided: {KEY}."}})]
    with pytest.raises(BiasBenchError) as found:
        opened("openai:toy").vectors([QUERIES])
    assert str(found.value).endswith("status 401: Incorrect API key provided: ….")
    assert toy.asked == []


def test_the_key_is_not_sent_on(toy: EmbeddingServer) -> None:
    with serving() as other:
        toy.failures = [(307, {"Location": f"{other.url}/embeddings"}, {})]
        with pytest.raises(BiasBenchError, match="status 307"):
            opened("openai:toy").vectors([QUERIES])
        assert other.headers == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (lambda rows: rows[1:], "asked for 3 vectors and got 2"),
        (lambda rows: [*rows, rows[0]], "asked for 3 vectors and got 4"),
        (lambda rows: [{**row, "index": 0} for row in rows], "not one for each text"),
        (lambda rows: [{"vector": row["embedding"]} for row in rows], "OpenAI embeddings form"),
        (lambda rows: [{**row, "embedding": [None, 1.0]} for row in rows], "row 0 holds NaN"),
        (lambda rows: [{**row, "embedding": []} for row in rows], r"shape \(3, 0\)"),
    ],
)
def test_a_wrong_answer_is_a_data_error(toy: EmbeddingServer, rows: Any, message: str) -> None:
    toy.change = rows
    with pytest.raises(DataError, match=message):
        opened("openai:toy").vectors([QUERIES])


def test_vectors_of_another_width_halfway_are_a_data_error(
    toy: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "BATCH_TEXTS", 2)
    toy.change = lambda rows: [
        {**row, "embedding": row["embedding"][: 256 if len(rows) == 2 else 9]} for row in rows
    ]
    with pytest.raises(DataError, match="9 dimensions after those of 256"):
        opened("openai:toy").vectors([QUERIES])


def test_an_interrupted_request_goes_on_at_the_batch(
    toy: EmbeddingServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(server, "BATCH_TEXTS", 1)
    toy.fail_after = 2
    with pytest.raises(BiasBenchError, match="status 401: no more for …"):
        opened("openai:toy").vectors([QUERIES])
    toy.fail_after = None
    (vectors,) = opened("openai:toy").vectors([QUERIES])
    assert toy.asked == [["one text"], ["another one"], ["the third of them"]]
    np.testing.assert_allclose(array_of(vectors), unit(trigrams(TEXTS)), atol=1e-6)
    kept = sorted(path.suffix for path in (tmp_path / "cache" / "vectors").iterdir())
    assert kept == [".json", ".npy"]  # of the whole request


@pytest.mark.usefixtures("toy")
def test_vectors_are_known_by_server_model_prefixes_and_the_word_after_the_sign(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = ["openai:toy", "openai:toy@2026", "openai:@cf/org/toy"]
    found = [opened(spec).identity for spec in named]
    found += [opened("openai:toy", **more).identity
              for more in ({"query_prefix": "q"}, {"similarity": "dot"})]  # fmt: skip
    assert [one["model"] for one in found] == ["toy", "toy", "@cf/org/toy", "toy", "toy"]
    monkeypatch.setenv("OPENAI_BASE_URL", "https://elsewhere.example/v1")
    found.append(opened("openai:toy").identity)
    assert len({json.dumps(one) for one in found}) == 6


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://a/v1", "https://user:pw@a.example/v1", "http://a:b/v1", "x"]
)
def test_an_address_that_is_none_is_a_usage_error(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(UsageError, match="OPENAI_BASE_URL is not an address such as") as found:
        opened("openai:toy")
    assert "pw" not in str(found.value)


def test_without_a_key_openais_own_server_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UsageError, match="no key; set OPENAI_API_KEY"):
        opened("openai:toy").vectors([QUERIES])


@pytest.mark.parametrize("key", ["schlüssel", "sk-a\nb"])
def test_a_key_that_cannot_be_sent_is_a_usage_error(
    toy: EmbeddingServer, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(UsageError, match="characters that no key has"):
        opened("openai:toy").vectors([QUERIES])
    assert toy.headers == []


# sentence-transformers

ASKED = f"queries with its prompt '{PROMPTS['query']}'"
FORMS = {
    "prompts": both(modules(pooling(), NORMALIZE), change(CONFIG, prompts=PROMPTS)),
    "Dense": modules(pooling("cls"), dense(8, "Identity"), NORMALIZE),
    "last token and dot": both(
        modules(pooling("lasttoken")), change(CONFIG, similarity_fn_name="dot")
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sentence_transformers", minversion="6")
    place = save_model(tmp_path_factory.mktemp("st") / "bert", random_model("Bert"))
    in_form(place, pooling(), NORMALIZE)
    write(place / CONFIG, model_type="SentenceTransformer", prompts=PROMPTS)
    return place


@pytest.mark.parametrize("name", FORMS)
def test_an_encoder_by_name_and_as_an_object_give_equal_files(
    folder: Path, tmp_path: Path, name: str
) -> None:
    from sentence_transformers import SentenceTransformer

    place = tmp_path / "encoder"
    shutil.copytree(folder, place)
    FORMS[name](place)
    given = evaluated(SentenceTransformer(str(place), device="cpu"), tmp_path)
    assert rankings(evaluated(f"st:{place}", tmp_path).folder) == rankings(given.folder)


def test_what_only_the_library_loads_is_evaluated_by_its_name(tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers", minversion="6")
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer

    from bias_bench.encoders.backbone import resolve_backbone

    tokenizer: Tokenizer = resolve_backbone("scratch:tiny").load().tokenizer.backend_tokenizer
    embedding = StaticEmbedding(tokenizer, embedding_dim=16)
    library.SentenceTransformer(modules=[embedding], device="cpu").save_pretrained(
        str(tmp_path / "static")
    )
    assert run(tmp_path, *FEW, backbone=f"st:{tmp_path / 'static'}") == 0
    record = manifest(tmp_path / "runs" / "mini-zero-shot-0")
    assert any(name.endswith(".safetensors") for name in record["weights"])
    assert record["encoding"]["asked"].startswith("sentence-transformers; queries without a prompt")


def test_its_vectors_are_cached_until_a_file_of_it_changes(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "encoder"
    shutil.copytree(folder, place)
    source = opened(f"st:{place}")
    assert ASKED in source.described
    assert not source.texts([QUERIES])[0].cached
    source.vectors([QUERIES])
    assert opened(f"st:{place}").texts([QUERIES])[0].cached
    (place / "README.md").write_text("a card\n", encoding="utf-8")
    assert opened(f"st:{place}").texts([QUERIES])[0].cached
    write(place / CONFIG, prompts={})
    assert not opened(f"st:{place}").texts([QUERIES])[0].cached


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            change(CONFIG, similarity_fn_name="euclidean"),
            "similarity 'euclidean': choose",
        ),
        (lambda place: (place / CONFIG).write_text("[1]"), "not an object with prompts by name"),
        (lambda place: (place / "model.safetensors").unlink(), "cannot be loaded"),
        (change("config.json", auto_map={"AutoModel": "code.Own"}, model_type="own"), "cannot be"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(
    folder: Path, tmp_path: Path, how: Any, message: str
) -> None:
    place = tmp_path / "encoder"
    shutil.copytree(folder, place)
    how(place)
    with pytest.raises(BiasBenchError, match=message) as found:
        opened(f"st:{place}").vectors([QUERIES])
    assert "\n" not in str(found.value)


def test_pickled_weights_are_not_read(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "encoder"
    shutil.copytree(folder, place)
    (place / "pytorch_model.bin").write_bytes(b"beside safetensors, so nobody reads it")
    opened(f"st:{place}").vectors([QUERIES])
    (place / "1_Pooling" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"1_Pooling/pytorch_model.bin: pickled weights are not"):
        opened(f"st:{place}")


def test_a_folder_without_an_encoder_is_found_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sentence_transformers", minversion="6")
    (tmp_path / "empty").mkdir()
    assert run(tmp_path, *FEW, backbone=f"st:{tmp_path / 'empty'}") == 3
    assert "holds neither modules.json nor config.json" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_code_that_comes_with_an_encoder_is_not_run(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "encoder"
    shutil.copytree(folder, place)
    (place / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", encoding="utf-8")
    listed = json.loads((place / "modules.json").read_text("utf-8"))
    listed[0]["type"] = "own.Transformer"
    (place / "modules.json").write_text(json.dumps(listed), encoding="utf-8")
    with pytest.raises(DataError, match="cannot be loaded"):
        opened(f"st:{place}").vectors([QUERIES])
    assert not (tmp_path / "ran").exists()


# mteb, and what all have in common


def test_a_model_of_mteb_is_evaluated_by_name_and_as_an_object(tmp_path: Path) -> None:
    mteb = pytest.importorskip("mteb")
    name = "mteb/baseline-random-encoder"
    assert run(tmp_path, *FEW, backbone=f"mteb:{name}") == 0
    folder = tmp_path / "runs" / "mini-zero-shot-0"
    assert manifest(folder)["encoding"]["asked"] == MTEB_ASKED
    given = evaluated(mteb.get_model(name), tmp_path)
    assert rankings(folder) == rankings(given.folder)
    with pytest.raises(DataError, match="mteb does not find it"):
        opened("mteb:org/nothing")


@pytest.mark.parametrize(
    ("kind", "needed"), [("st", "sentence-transformers>=6,<7"), ("mteb", "mteb>=2,<3")]
)
@pytest.mark.parametrize("there", ["", "1.9.0"])
def test_a_package_that_is_missing_or_old_is_named_with_what_installs_it(
    kind: str, needed: str, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def installed(_: str) -> str:
        if not there:
            raise PackageNotFoundError
        return there

    monkeypatch.setattr(libraries, "version", installed)
    with pytest.raises(UsageError) as found:
        opened(f"{kind}:org/name")
    assert f"and {there or 'none'} is installed" in str(found.value)
    assert str(found.value).endswith(f"run `pip install '{needed}'`")


@pytest.mark.parametrize("kind", KINDS)
def test_settings_that_a_source_cannot_follow_are_refused(kind: str, folder: Path) -> None:
    if kind == "mteb":
        pytest.importorskip("mteb")
    name = {"st": str(folder), "mteb": "mteb/baseline-random-encoder", "openai": "toy"}[kind]
    with pytest.raises(UsageError, match=r"setting encoding.pooling: .* leave it out"):
        opened(f"{kind}:{name}", pooling="cls")


def test_they_cannot_be_trained(
    toy: EmbeddingServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--recipe", "hybrid", backbone="openai:toy") == 2
    assert "openai:toy: cannot be trained: its weights are not at hand" in capsys.readouterr().err
    assert toy.asked == []
