"""Runs with debiasing: what it is fitted on, what it changes, what the run folder says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files as package_files
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bias_bench.config.experiment import make_experiment
from bias_bench.data.pairs import Pairs
from bias_bench.data.registry import load_benchmark
from bias_bench.data.sources import load_sources
from bias_bench.encoders.backbone import resolve_backbone
from bias_bench.encoders.blocks import array_of
from bias_bench.encoders.cached import CachedBackbone
from bias_bench.encoders.debias import apply, fit
from bias_bench.encoders.debiased import Debiased
from bias_bench.encoders.embeds import Request
from bias_bench.encoders.encoder import EncodingSettings
from bias_bench.errors import UsageError
from bias_bench.runs import debiasing
from bias_bench.runs.debiasing import debias_fitting
from bias_bench.runs.graph import Work
from bias_bench.runs.task import Prepared, describe_task
from bias_bench.runs.vectors import encoded
from tests.support.runs import BACKBONE, manifest, results, run, trec_files

NAME = "mini-zero-shot-leace-0"
LEACE = ("--set", "debias=leace", "--set", "encoding.precision=float32")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("debiased")
    assert run(out, *LEACE) == 0
    return out


def prepared(debias: str = "leace", seed: int = 0) -> Prepared:
    backbone = resolve_backbone(BACKBONE, seed)
    return Prepared(
        make_experiment({"debias": debias, "seed": seed, "backbone": BACKBONE}),
        load_benchmark("mini", None),
        CachedBackbone(backbone, EncodingSettings(backbone.profile, "float32", 1024, "cpu")),
    )


def arrays(case: Prepared, requests: list[Request]) -> list[np.ndarray]:
    return [array_of(part) for part in case.source.vectors(requests)]


@pytest.fixture(scope="module")
def data() -> Pairs:
    return load_sources(["mini"], None).pairs


def test_folder_system_and_manifest_say_how_it_was_debiased(finished: Path) -> None:
    folder = finished / "runs" / NAME
    record = manifest(folder)["debias"]
    assert record["method"] == "leace"
    assert record["texts"] == 2 * 72 * 11
    assert len(record["languages"]) == 11
    assert record["data_sets"] == ["mini"]
    assert manifest(folder)["audit"]["verdict"].startswith("clean")
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert metrics["system"].startswith("zero-shot-leace@")
    page = (finished / "reports" / f"{NAME}.html").read_text("utf-8")
    assert "fitted without training on 1,584 texts of mini in 11 languages" in page


def test_rankings_are_those_of_the_debiased_vectors(finished: Path, data: Pairs) -> None:
    """Every pooled rank, from vectors encoded, debiased and compared here."""
    case = prepared()
    fitting = debias_fitting(case, data)
    requests = [*case.requests(), *fitting.requests]
    vectors = arrays(case, requests)
    languages = case.collection.languages
    texts = {
        f"{language} {side} texts to fit on": code
        for code, language in enumerate(languages)
        for side in ("query", "candidate")
    }
    parts = [(vectors[row], texts[r.label]) for row, r in enumerate(requests) if r.label in texts]
    assert len(parts) == 22
    codes = np.concatenate([[code] * len(part) for part, code in parts])
    found = fit("leace", np.concatenate([part for part, _ in parts]), codes)
    own = [apply(found, part, index % 11) for index, part in enumerate(vectors[:22])]
    scores = np.concatenate(own[11:]).astype(np.float64) @ np.concatenate(own[:11]).T
    queries = {query.id: row for row, query in enumerate(case.collection.queries)}
    candidates = {item.id: row for row, item in enumerate(case.collection.candidates)}
    table = pq.read_table(finished / "runs" / NAME / "ranks.parquet").to_pylist()
    pooled = [row for row in table if row["setting"].endswith("-all")]
    assert len(pooled) == 60 * 11 * 11
    for row in pooled:
        of_query = scores[queries[row["query"]]]
        mine = of_query[candidates[row["candidate"]]]
        near = np.abs(of_query - mine) <= 2e-6  # the search sums in float32
        above = int((of_query > mine + 2e-6).sum())
        assert above < row["rank"] <= above + near.sum()


def test_debiasing_changes_the_rankings_and_their_tag(finished: Path, tmp_path: Path) -> None:
    assert run(tmp_path, "--set", "encoding.precision=float32") == 0
    plain, changed = tmp_path / "runs" / "mini-zero-shot-0", finished / "runs" / NAME
    assert manifest(plain)["debias"] is None
    assert trec_files(plain).keys() == trec_files(changed).keys()
    name = "trec/multilingual/en-all.run.gz"
    assert trec_files(plain)[name] != trec_files(changed)[name]
    assert "Debiasing" not in (tmp_path / "reports" / "mini-zero-shot-0.html").read_text("utf-8")


def test_a_second_run_keeps_every_stage(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = results(finished / "runs" / NAME)
    assert run(finished, *LEACE) == 0
    stages = manifest(finished / "runs" / NAME)["stages"]
    said = capsys.readouterr().err
    assert said.count("unchanged, kept") == len(stages)
    assert "zero-shot audit" not in said
    assert run(finished, *LEACE, "--policy", "only-cache") == 0
    assert results(finished / "runs" / NAME) == before


def test_trained_encoder_is_debiased_too_and_its_data_are_read_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ("--recipe", "cross", "--set", "training.steps=2", "--set", "training.batch_size=8")
    assert run(tmp_path, *short, "--set", "debias=lir") == 0
    content = manifest(tmp_path / "runs" / "mini-cross-lir-0")
    assert "train" in content["stages"]
    assert (content["debias"]["method"], content["debias"]["rank"]) == ("lir", 1)
    assert capsys.readouterr().err.count("training data:") == 1


def test_a_language_without_text_to_fit_on_is_named_and_no_folder_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "training.sources=[{name: mini, options: {languages: [ar, en]}}]"
    assert run(tmp_path, "--set", "debias=centre", "--set", source) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "debias=centre: no training-side text in German (de)" in error
    assert "add a source that has it to training.sources" in error
    assert not list((tmp_path / "runs").glob("*"))


def test_every_text_is_centred_by_its_language_and_side(data: Pairs, tmp_path: Path) -> None:
    """Encoded, centred and compared here, with the vectors that are searched."""
    case = prepared(debias="centre-sides")
    fitting = debias_fitting(case, data)
    vectors = arrays(case, [*case.requests(), *fitting.requests])
    means = {
        (request.label[:2], request.side): part.astype(np.float64).mean(axis=0)
        for request, part in zip(fitting.requests, vectors[22:], strict=True)
    }
    assert len(means) == 22
    source = Debiased(case.source, fitting)
    found = encoded(case, source, Work(tmp_path, describe_task(case, "run")))
    for turn, language in enumerate(case.collection.languages):
        for side, mine, whole in (
            ("candidate", vectors[turn], found.candidates[turn].rows(np.arange(84))),
            ("query", vectors[11 + turn], found.queries[turn]),
        ):
            expected = mine - means[language, side]
            expected /= np.linalg.norm(expected, axis=1, keepdims=True)
            np.testing.assert_allclose(whole, expected, atol=1e-6)


def test_benchmark_without_sources_of_its_own_asks_for_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(package_files("bias_bench.data").joinpath("mini"))
    assert run(tmp_path, folder, "--set", "debias=lir") == 2
    assert "training.sources names no data" in capsys.readouterr().err
    given = ("--set", "training.sources=[mini]", "--set", "debias=lir")
    assert run(tmp_path, folder, *given) == 0
    assert manifest(tmp_path / "runs" / "mini-zero-shot-lir-0")["debias"]["data_sets"] == ["mini"]


def test_unknown_method_is_a_usage_error() -> None:
    with pytest.raises(
        UsageError, match=r"setting debias = 'lear'.*'centre-sides', 'lir' or 'leace'"
    ):
        make_experiment({"debias": "lear"})


def test_texts_are_few_of_each_language_and_side_and_parallel_across_languages(
    data: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debiasing, "TEXTS_PER_SIDE", 10)
    requests = debias_fitting(prepared(), data).requests
    assert [(request.label[:2], request.side) for request in requests[:2]] == [
        ("ar", "candidate"),
        ("ar", "query"),
    ]
    assert {len(request.texts) for request in requests} == {10}
    pairs = data
    topic_of = {pairs.query_texts[q]: t for q, t in zip(pairs.query, pairs.topic, strict=True)}
    topics = [{topic_of[text] for text in r.texts} for r in requests if r.side == "query"]
    assert all(drawn == topics[0] for drawn in topics)


def test_texts_depend_on_the_seed_alone(data: Pairs) -> None:
    first = debias_fitting(prepared(), data)
    rows = np.random.default_rng(0).permutation(len(data))
    shuffled = data.take(rows)
    assert debias_fitting(prepared(), shuffled).requests == first.requests
    assert debias_fitting(prepared(seed=1), data).requests != first.requests


def test_texts_that_the_audit_drops_are_not_fitted_on() -> None:
    english = load_benchmark("mini", None).collection.queries_in("en")[0].text
    pairs = load_sources(["mini"], None).pairs
    row = next(row for row, language in enumerate(pairs.query_language) if language == 3)
    texts = list(pairs.query_texts)
    texts[pairs.query[row]] = english
    leaking = replace(pairs, query_texts=tuple(texts))
    cleaned = leaking.take(np.flatnonzero(leaking.topic != leaking.topic[row]))
    drawn = debias_fitting(prepared(), cleaned).requests
    assert all(english not in request.texts for request in drawn)
    assert {len(request.texts) for request in drawn} == {71}
