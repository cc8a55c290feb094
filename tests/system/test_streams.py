"""A stream that nobody reads, a signal or a terminal that goes: what is done is not lost."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bias_bench.cli import run_command
from bias_bench.system.streams import LastingStream
from tests.cli.test_cli_failures import PROGRAM, assert_one_error, started
from tests.support.command_line import Command

SCORE = "score --run en-de=a.run --qrels a.qrels --out runs --name scored"
NO_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds a run file and its judgements."""
    (tmp_path / "a.run").write_text("en:1 Q0 de:1-1-1 1 2.0 t\n", encoding="utf-8")
    (tmp_path / "a.qrels").write_text("en:1 0 de:1-1-1 1\n", encoding="utf-8")
    return tmp_path


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell in which `biasbench` is the program of this environment."""
    program = f'biasbench() {{ {shlex.join(PROGRAM)} "$@"; }}'
    return subprocess.run(
        ["bash", "-c", f"{program}; {line}"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def scored(folder: Path) -> bool:
    content = json.loads((folder / "runs" / "scored" / "manifest.json").read_text("utf-8"))
    return bool(content["status"] == "complete")


def test_with_standard_output_closed_the_work_is_done_and_a_line_says_so(folder: Path) -> None:
    done = shell(f"biasbench {SCORE} >&-", folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("warning: standard output is closed: results are in files alone\n")
    assert scored(folder)


@pytest.mark.parametrize("closed", [">&- 2>&-", "<&- >&- 2>&-", "> file 2>&-"])
def test_with_other_streams_closed_the_work_is_done_too(folder: Path, closed: str) -> None:
    done = shell(f"biasbench {SCORE} {closed}", folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert scored(folder)


def test_progress_that_nobody_reads_ends_no_work(folder: Path) -> None:
    line = f"set -o pipefail; biasbench -h > /dev/null; biasbench {SCORE} 2>&1 >/dev/null | true"
    done = shell(line, folder)
    assert done.returncode == 0
    assert scored(folder)


def test_a_reader_that_leaves_early_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*PROGRAM, "data", "list"], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@NO_FULL
def test_a_full_disk_behind_stdout_is_one_line_after_the_work(folder: Path) -> None:
    done = shell("biasbench data cite mini > /dev/full", folder)
    assert done.returncode == 1
    assert_one_error(done.stderr, "standard output: No space left on device")
    assert done.stderr.count("\n") == 1


@NO_FULL
def test_a_full_disk_behind_stdout_does_not_keep_back_what_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        stream = LastingStream(full)
        monkeypatch.setattr(sys, "stdout", stream)
        for _ in range(3):
            print("result", flush=True)  # noqa: T201 - as other libraries do
        stream.write("more")
        stream.flush()
    assert isinstance(stream.error, OSError)


def test_signs_that_the_terminal_cannot_show_are_escaped(folder: Path) -> None:
    (folder / "a.run").write_text("en:1 Q0 de:1-1-1 1 2.0 système\n", encoding="utf-8")
    line = "PYTHONIOENCODING=ascii biasbench score --run en-de=a.run --qrels a.qrels --out runs"
    done = shell(f"{line} --format json", folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["system"] == "système#0"
    table = shell(line, folder)
    assert table.returncode == 0, table.stderr
    assert "1.0000" in table.stdout
    assert table.stdout.isascii()


def test_a_name_that_is_no_utf_8_is_recorded_and_shown(folder: Path) -> None:
    os.rename(folder / "a.run", os.fsencode(folder) + b"/\xff.run")  # noqa: PTH104 - bytes
    line = "biasbench score --run en-de=$'\\xff.run' --qrels a.qrels --name scored --out "
    done = shell(f"{line} runs", folder)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((folder / "runs" / "scored" / "manifest.json").read_text("utf-8"))
    assert {file["name"] for file in manifest["inputs"]} == {"\udcff.run", "a.qrels"}
    assert shell(f"{line} runs", folder).returncode == 0, "the second time"
    refused = shell(f"{line} $'o\\xff'", folder)
    assert refused.returncode == 1
    assert_one_error(refused.stderr, "o\\udcff/scored: this name is not in UTF-8")


def test_a_folder_that_is_gone_is_one_line(folder: Path) -> None:
    done = shell("mkdir gone; cd gone; rmdir ../gone; biasbench data cite mini", folder)
    assert done.returncode == 1
    assert_one_error(done.stderr, "the current folder: No such file or directory")


def test_what_the_environment_says_of_terminals_changes_no_table_in_a_file(folder: Path) -> None:
    plain = shell("biasbench reproduce", folder).stdout
    assert shell("FORCE_COLOR=1 COLUMNS=20 biasbench reproduce", folder).stdout == plain
    assert max(map(len, plain.splitlines())) > 100


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupting_is_one_line_and_the_run_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    with started(tmp_path) as process:
        until_it_works(process, tmp_path)
        process.send_signal(number)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert out == ""
    assert_one_error(err, "interrupted", "the same command goes on")
    assert not list(tmp_path.rglob(".writing-*"))
    (manifest,) = tmp_path.glob("runs/*/manifest.json")
    assert json.loads(manifest.read_text("utf-8"))["status"].startswith("interrupted in")


def until_it_works(process: subprocess.Popen[str], folder: Path) -> None:
    deadline = time.monotonic() + 300
    while not list(folder.glob("runs/*/trec/*/*.run.gz")):
        assert process.poll() is None, "the run ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_terminal_that_closes_under_nohup_ends_nothing(folder: Path) -> None:
    """It stays without a reader: writing to it fails."""
    reading, writing = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, *shlex.split(SCORE)],
        cwd=folder,
        stdout=writing,
        stderr=writing,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # noqa: PLW1509 - as nohup
    ) as process:
        os.close(writing)
        os.close(reading)
        process.send_signal(signal.SIGHUP)
        assert process.wait(300) == 0
    assert scored(folder)


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE", "LOCAL_RANK"])
def test_one_variable_of_torchrun_silences_nothing(
    biasbench: Command, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    done = biasbench("data", "cite", "mini")
    assert done.code == 0
    assert done.out.startswith("@")


def test_of_processes_that_torchrun_started_those_that_share_no_work_all_speak(
    biasbench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1"}
    together["MASTER_PORT"] = "1"
    for name, value in together.items():
        monkeypatch.setenv(name, value)
    assert biasbench("data", "cite", "mini").out.startswith("@")
    silent = biasbench("run", "mini", "--backbone", "scratch:tiny", "--dry-run")
    assert (silent.code, silent.out) == (0, "")


def _torch_cpu() -> Exception:
    return RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory"
    )


def _torch_gpu() -> Exception:
    import torch

    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize("made", [MemoryError, _torch_cpu, _torch_gpu])
def test_memory_that_is_too_small_is_told_with_what_to_lower(
    made: Callable[[], Exception],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise made()

    monkeypatch.setattr("bias_bench.runs.experiments.make_experiments", fail)
    assert run_command(["run"]) == 1
    assert_one_error(capsys.readouterr().err, "out of memory", "encoding.batch_tokens")
