"""The documents: commands in them parse, examples in them run, settings in them are known."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import yaml
from typer.main import get_command

from bias_bench.cli import run_command
from bias_bench.cli.app import app
from bias_bench.config.experiment import (
    Experiment,
    make_experiment,
    nest,
    parse_override,
)
from bias_bench.config.index import HnswIndex, IvfPqIndex
from bias_bench.config.kinds import FINISHED_RUNS, LUCENE
from bias_bench.config.setting_keys import setting_keys
from tests.support.runs import run

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    page: str
    language: str
    text: str


def blocks(*languages: str) -> list[Block]:
    return [
        Block(page.name, *found)
        for page in PAGES
        for found in _BLOCK.findall(page.read_text(encoding="utf-8"))
        if found[0] in languages
    ]


def commands(text: str) -> list[list[str]]:
    """The arguments of every line that calls biasbench, continued lines joined."""
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("biasbench ")]


COMMANDS = [(block.page, found) for block in blocks("sh") for found in commands(block.text)]


@pytest.mark.parametrize(("page", "arguments"), COMMANDS, ids=lambda value: str(value)[:60])
def test_every_command_in_the_documents_parses(page: str, arguments: list[str]) -> None:
    command: Any = get_command(app)
    name, rest = "biasbench", [part for part in arguments if part != "--debug"]
    if rest[0].startswith("-"):  # an option of the program itself; parsing it may act at once
        assert rest[0] in {name for option in command.params for name in option.opts}
        return
    while isinstance(command, click.Group) or hasattr(command, "commands"):
        name, rest = rest[0], rest[1:]
        command = command.commands[name]
    with command.make_context(name, rest) as context:
        assert not context.args, f"{page}: {context.args} is left over"


def test_the_documents_show_every_command() -> None:
    shown = {found[0] for _, found in COMMANDS}
    assert set(get_command(app).commands) <= shown  # type: ignore[attr-defined]


def test_recipes_and_sources_in_the_documents_are_valid() -> None:
    for block in blocks("yaml"):
        content = yaml.safe_load(block.text)
        if isinstance(content, list):
            content = {"training": {"sources": content}}
        make_experiment(content.get("settings", content))


def settings_page() -> str:
    """The page of settings that the documentation is built with."""
    spec: Any = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    return hooks.settings_page()


ROWS = re.findall(r"^\| `([\w.]+)` \| (.*?) \| .*? \| (.+) \|$", settings_page(), re.MULTILINE)
NOT_GIVEN = ("fusion.runs", *(f"training.terms.perturbation.{name}" for name in
             ("radius", "step_size", "steps", "start")))  # fmt: skip


def test_the_page_of_settings_explains_every_key() -> None:
    explained = [key for key, _, _ in ROWS]
    assert len(explained) == len(set(explained))
    keys = {key for key in setting_keys(Experiment) if not key.endswith(".kind")}
    assert set(explained) == keys


@pytest.mark.parametrize(("key", "default"), [row[:2] for row in ROWS])
def test_a_documented_default_is_what_holds_without_it(key: str, default: str) -> None:
    base = nest(key.rpartition(".")[0], {}) if "." in key else {}  # a section may be left out
    for kind in (HnswIndex, IvfPqIndex):
        if key.startswith("retrieval.index.") and key.split(".")[2] in kind.model_fields:
            base = {"retrieval": {"index": kind().kind}}
    if key.startswith("fusion"):
        base = {"backbone": FINISHED_RUNS, "fusion": {"runs": ["a", "b"]}}
    if key.startswith("lexical"):
        base["backbone"] = LUCENE
    assert (default == "") == (key in NOT_GIVEN)
    if default:
        value = "null" if default == "none" else default.strip("`")
        given = parse_override(f"{key}={value}")
        assert make_experiment(base, given) == make_experiment(base)


def test_code_in_the_documents_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path, "--name", "mini-zero-shot-0") == 0
    monkeypatch.chdir(tmp_path)
    ran = 0
    for block in blocks("python"):
        # others load a model of the hub, or are compared elsewhere with what they print
        if block.page in ("extending.md", "run-folder.md"):
            exec(compile(block.text, block.page, "exec"), {})  # noqa: S102 our own documents
            ran += 1
    assert ran >= 3


@pytest.mark.slow
def test_the_first_steps_of_the_documents_work_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those on mini, with the bundled encoder; a trained one takes the place of the user's own."""
    trained = ("--recipe", "hybrid", "--set", "training.steps=1", "--set", "training.batch_size=8")
    assert run(tmp_path, *trained) == 0
    own = tmp_path / "runs" / "mini-hybrid-0" / "model"
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    taken = [
        [str(own) if part == "path/to/encoder" else part for part in command]
        for _, text in _BLOCK.findall(page)
        for command in commands(text)
        if command[0] == "compare" or command[:2] == ["run", "mini"]
    ]
    assert len(taken) == 3
    for command in taken:
        assert run_command(command) == 0, command
    assert (tmp_path / "reports" / "gain.html").is_file()
    assert (tmp_path / "reports" / "mini-zero-shot-0.html").is_file()
