"""Memory that ran out is one line that says what to lower, not a bug of the program."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bias_bench.cli.out_of_memory import out_of_memory
from bias_bench.encoders import encoder
from bias_bench.errors import BiasBenchError
from bias_bench.training import step
from tests.support.runs import run

TOO_MUCH = 2**50  # bytes, more than any machine has
SHORT = ("--recipe", "hybrid", "--set", "training.steps=2", "--set", "training.batch_size=8")


def of_torch(*_: Any) -> None:
    """The real error of torch's allocator."""
    torch.empty(TOO_MUCH, dtype=torch.uint8)


def of_a_gpu(*_: Any) -> None:
    raise torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 8.00 GiB"
    )


def one_line(err: str) -> str:
    assert "Traceback" not in err
    assert "unexpected" not in err
    (line,) = [text for text in err.splitlines() if "error:" in text]
    return line


@pytest.mark.parametrize("fail", [of_torch, of_a_gpu])
def test_training_names_the_settings_of_a_batch(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fail: Callable[..., None],
) -> None:
    monkeypatch.setattr(step, "pool", fail)
    assert run(tmp_path, *SHORT) == 1
    line = one_line(capsys.readouterr().err)
    assert "lower training.batch_size, or set training.gradient_cache=true" in line
    assert ("on the GPU (20.00 GiB more were asked for)" in line) == (fail is of_a_gpu)


def test_encoding_names_its_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BIASBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(encoder, "pool", of_torch)
    assert run(tmp_path) == 1
    line = one_line(capsys.readouterr().err)
    assert line.endswith(
        "out of memory (1125899906842624 bytes more were asked for); lower encoding.batch_tokens"
    )


def raised(fail: Callable[[], Any]) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever a library raises
        fail()
    return caught.value


def wrapped() -> None:
    try:
        of_torch()
    except RuntimeError as error:
        raise BiasBenchError("cannot load this encoder") from error


def of_the_system() -> None:
    raise OSError(errno.ENOMEM, "Cannot allocate memory")


@pytest.mark.parametrize(
    "fail", [of_torch, of_a_gpu, wrapped, of_the_system, lambda: np.empty(TOO_MUCH)]
)
def test_whoever_ran_out_of_memory_is_understood(fail: Callable[[], Any]) -> None:
    line = out_of_memory(raised(fail))
    assert line
    assert "lower training.batch_size, encoding.batch_tokens or --memory" in line


@pytest.mark.parametrize(
    "error",
    [RuntimeError("size mismatch"), OSError(errno.ENOSPC, "full"), BiasBenchError("bad input")],
)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    assert out_of_memory(error) is None
