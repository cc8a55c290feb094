"""--memory: how it is written, what it refuses, and that it changes nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bias_bench.cli import run_command
from bias_bench.data import corpus, corpus_store
from bias_bench.encoders import blocks, cached
from bias_bench.encoders.embeds import Request
from bias_bench.errors import UsageError
from bias_bench.runs import memory as stage_memory
from bias_bench.search import streamed
from bias_bench.system import memory as budgets
from bias_bench.system.files import read_json
from bias_bench.system.memory import parse_size, require_memory, size_text
from tests.support.miracl_data import stand_in
from tests.support.runs import manifest, trec_files


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512M", 512 * 1024**2),
        ("4G", 4 * 1024**3),
        ("4g", 4 * 1024**3),
        ("1.5GiB", 3 * 1024**3 // 2),
        ("2 GB", 2 * 1024**3),
        ("1T", 1024**4),
        ("700000K", 700_000 * 1024),
        ("123456789", 123_456_789),
    ],
)
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert 0 <= parse_size(size_text(size)) - size < 1024**2


@pytest.mark.parametrize("text", ["", "G", "4X", "-1G", "4 G x", "0", "0.0M", "1e9", "4GG"])
def test_what_is_not_a_size_is_refused_with_an_example(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="not a size of memory; give for example 512M or 4G"):
        parse_size(text)
    assert run_command(["search", "--memory", text, "--out", str(tmp_path)]) == 2
    assert "not a size of memory" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_least_that_works_is_named_and_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "resident_memory", lambda: 300 * 1024**2 + 1)
    with pytest.raises(UsageError) as caught:
        require_memory(310 * 1024**2, 20 * 1024**2, "search")
    assert str(caught.value) == (
        "--memory 310M is too small to search; the least that works here is 321M"
    )
    require_memory(parse_size("321M"), 20 * 1024**2, "search")
    require_memory(None, 10**15, "search")


def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that 300 passages are several shards and blocks."""
    for module, name, value in (
        (corpus, "SHARD", 64), (corpus_store, "SHARD", 64), (corpus, "TEXTS", 16),
        (corpus_store, "TEXTS", 16), (blocks, "BLOCK", 32), (streamed, "TILE", 16),
        (streamed, "QUERIES", 8),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(streamed, "_buffers", streamed._Buffers())
    monkeypatch.setattr("bias_bench.search.dense.QUERIES", 8)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BIASBENCH_CACHE", str(tmp_path / "cache"))
    small_parts(monkeypatch)
    return stand_in(tmp_path / "data", passages=300, languages=["yo"])


def command(folder: Path, data: Path, stage: str, *extra: str) -> list[str]:
    return [
        stage, "miracl", "--backbone", "scratch:tiny", "--data-dir", str(data), *extra,
        "--out", str(folder), "--reports", str(folder / "reports"),
    ]  # fmt: skip


@pytest.mark.slow
def test_a_budget_changes_no_result_and_is_recorded_beside_the_peak(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_command(command(tmp_path / "free", data, "search")) == 0
    passes: list[int | None] = []
    ask = stage_memory.queries_at_once

    def watched(*arguments: object) -> int | None:
        ask(*arguments)  # type: ignore[arg-type]
        passes.append(1)
        return 1

    monkeypatch.setattr("bias_bench.runs.vectors.queries_at_once", watched)
    assert run_command(command(tmp_path / "bound", data, "search", "--memory", "8G")) == 0
    assert passes
    free, bound = (tmp_path / name / "miracl-zero-shot-0" for name in ("free", "bound"))
    assert trec_files(free) == trec_files(bound)
    assert (free / "ranks.parquet").read_bytes() == (bound / "ranks.parquet").read_bytes()
    recorded = manifest(bound)["stages"]["search"]
    assert recorded["memory_budget_bytes"] == 8 * 1024**3
    assert 10**8 < recorded["peak_memory_bytes"] < 8 * 1024**3
    assert manifest(free)["stages"]["search"]["memory_budget_bytes"] is None


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["encode", "search"])
def test_a_budget_that_is_too_small_is_one_line_that_names_the_least(
    stage: str, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if stage == "search":
        assert run_command(command(tmp_path, data, "encode")) == 0
    capsys.readouterr()
    assert run_command(command(tmp_path, data, stage, "--memory", "100M")) == 2
    (line,) = (text for text in capsys.readouterr().err.splitlines() if "too small" in text)
    assert re.search(rf"--memory 100M is too small to {stage}; the least .* is \d+M$", line)


@pytest.mark.slow
def test_more_than_the_budget_is_a_warning(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("bias_bench.system.provenance.peak_memory", lambda: 9 * 1024**3)
    assert run_command(command(tmp_path, data, "encode", "--memory", "8G")) == 0
    assert "took 9216M of memory, more than --memory 8192M" in capsys.readouterr().err


@pytest.mark.slow
def test_an_interrupted_encoding_goes_on_at_the_shard(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    assert run_command(command(whole, data, "search")) == 0
    vectors = tmp_path / "cache" / "vectors"
    labels = [read_json(path)["label"] for path in vectors.glob("*.json")]
    assert sorted(labels) == [*(f"yo candidates, {n} of 5" for n in range(1, 6)), "yo queries"]
    content = {path.name: path.read_bytes() for path in vectors.glob("*.npy")}
    for path in vectors.iterdir():
        path.unlink()
    encoded: list[str] = []
    encode = cached._Tokenized.encode

    def interrupted(encoder: cached._Tokenized, request: Request, *more: Any) -> np.ndarray:
        if len(encoded) == 3:
            raise KeyboardInterrupt
        encoded.append(request.label)
        return encode(encoder, request, *more)

    monkeypatch.setattr(cached._Tokenized, "encode", interrupted)
    again = command(tmp_path / "again", data, "search")
    assert run_command(again) == 130
    assert len(list(vectors.glob("*.npy"))) == 3
    monkeypatch.setattr(cached._Tokenized, "encode", encode)
    assert run_command(again) == 0
    assert {path.name: path.read_bytes() for path in vectors.glob("*.npy")} == content
    one, two = (tmp_path / name / "miracl-zero-shot-0" for name in ("whole", "again"))
    assert trec_files(one) == trec_files(two)
