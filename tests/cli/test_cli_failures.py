"""Failures at the command line: exit codes, one line, the nearest name, nothing half-written."""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bias_bench.cli import run_command

PROGRAM = [sys.executable, "-m", "bias_bench"]
RUN = ["run", "--backbone", "scratch:tiny", "--recipe", "zero-shot"]


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("runn", "'run'"),
        ("data lst", "'list'"),
        ("run --sed 1", "--seed"),
        ("run xquad", "'xquad-r'"),
        ("run --recipe hybird", "'hybrid'"),
        ("run --backbone scratch:tinny", "'tiny'"),
        ("run --backbone bundled:multilingual-e5-smal", "'multilingual-e5-small'"),
        ("run --set trainin.steps=3", "'training'"),
        ("run --set training.stps=3", "'training.steps'"),
        ("run --set steps=3", "'training.steps'"),
        ("run --recipe hybrid --set 'training.mixture={monoo: 1}'", "'mono'"),
        ("run --recipe hybrid --set training.sources=[mlqar]", "'mlqa-r'"),
        ("run --set training.terms.negativ_bank={}", "'training.terms.negative_bank'"),
        ("run --policy nevr", "'never'"),
        ("run --set debias=lirr", "'lir'"),
        ("data fetch xquadr", "'xquad-r'"),
        ("data cite mni", "'mini'"),
        ("data verify mlqa-rr", "'mlqa-r'"),
        ("data audit mlqa xquad-r", "'mlqa-r'"),
    ],
)
def test_a_mistyped_name_is_met_with_the_nearest(
    line: str,
    hint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(shlex.split(line)) == 2
    captured = capsys.readouterr()
    (error,) = [text for text in captured.err.splitlines() if "error:" in text]
    assert hint in error
    assert captured.out == ""
    assert not list(tmp_path.iterdir())


def test_a_mistyped_run_folder_is_met_with_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mini-hybrid-0").mkdir()
    (tmp_path / "mini-hybrid-0" / "manifest.json").write_text("{}", encoding="utf-8")
    assert run_command(["report", str(tmp_path / "mini-hybrd-0")]) == 3
    assert_one_error(capsys.readouterr().err, "not a run folder", "'mini-hybrid-0'")
    assert run_command(["report", str(tmp_path / "something-else")]) == 3
    assert_one_error(capsys.readouterr().err, "(no manifest.json)")


def started(out: Path, limit: int = resource.RLIM_INFINITY) -> subprocess.Popen[str]:
    """A run with a cache of its own; `limit` is the largest file it may write, in bytes."""
    script = (
        "import resource, signal\nfrom bias_bench.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # tests may run under nohup
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\nmain({RUN})"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=out,
        env={**os.environ, "BIASBENCH_CACHE": str(out / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_one_error(err: str, *parts: str) -> None:
    assert "Traceback" not in err
    (line,) = [text for text in err.splitlines() if "error:" in text]
    assert all(part in line for part in parts), line


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    with started(tmp_path, limit=50_000) as process:  # smaller than the vectors of a language
        out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert out == ""
    assert_one_error(err, "File too large", "free some space")
    assert not list(tmp_path.rglob(".writing-*"))


def test_vectors_that_do_not_fit_on_the_disk_are_one_line(tmp_path: Path) -> None:
    script = (
        "import resource, numpy, pathlib, signal\n"
        "from bias_bench.encoders.cached import store_vectors\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))\n"
        "store_vectors(pathlib.Path('cache'), 'key', numpy.ones((99, 99), 'f4'), 'label')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith("bias_bench.errors.BiasBenchError: cache/key.npy: cannot be written (")
    assert not list(tmp_path.rglob(".writing-*"))


def test_output_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for option in ("--out", "--reports"):
        assert run_command(["run", option, str(tmp_path / "file" / "below")]) == 1
        assert_one_error(capsys.readouterr().err, "cannot create this folder")
