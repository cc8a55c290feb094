"""Rules of the house: rooms depend one way, imports are light, files are short."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import bias_bench

PACKAGE = Path(bias_bench.__file__).parent
# each may use those before it; `__init__` and `__main__` at the top only open the last ones
ROOMS = [
    "errors", "system", "config", "data", "encoders", "search", "training", "evaluation", "bias",
    "robustness", "significance", "report", "runs", "api", "cli",
]  # fmt: skip
HEAVY = [
    "torch",
    "transformers",
    "pandas",
    "ranx",
    "numba",
    "faiss",
    "matplotlib",
    "jnius",
    "pyserini",
]
FILES = sorted(PACKAGE.rglob("*.py"))


def module(path: Path) -> str:
    """The name of a file's module within the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path) for path in FILES}


def imports(path: Path, everywhere: bool) -> set[str]:
    """The modules of the package that a file imports: anywhere, or at its top alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    found = {name.partition(".")[2] for name in names if name.startswith("bias_bench.")}
    return (found & MODULES) - {module(path)}


def test_every_part_is_in_a_room() -> None:
    parts = {module(path).partition(".")[0] for path in FILES}
    assert parts - {"__init__", "__main__"} == {*ROOMS}


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_room_imports_no_later_room(path: Path) -> None:
    here = module(path).partition(".")[0]
    if here in ROOMS:
        others = {name.partition(".")[0] for name in imports(path, everywhere=True)}
        assert {other for other in others if ROOMS.index(other) > ROOMS.index(here)} == set()


def test_files_import_each_other_one_way() -> None:
    graph = {module(path): imports(path, everywhere=False) for path in FILES}
    assert [*TopologicalSorter(graph).static_order()]  # CycleError names a circle


@pytest.mark.parametrize("path", FILES, ids=module)
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


@pytest.mark.parametrize("document", ["RunRecord", "Metrics", "ComparisonDocument"])
def test_documents_are_read_as_types(document: str) -> None:
    """Nobody asks a document, or its JSON, for a field by a string."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
    assert f"{document}.load(" in text or f"{document}(" in text
    for path in FILES:
        lines = path.read_text(encoding="utf-8").splitlines()
        asked = [line for line in lines if ".dump()[" in line or ".dump().get(" in line]
        assert asked == [], path


@pytest.mark.parametrize("code", ["import bias_bench", "import bias_bench.cli.app"])
def test_importing_loads_no_heavy_library(code: str) -> None:
    script = f"import sys\n{code}\nprint([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_help_loads_no_heavy_library() -> None:
    script = (
        "import sys\nfrom bias_bench.cli import run_command\nrun_command(['run', '--help'])\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "experiment.yaml" in done.stdout
    assert done.stderr.strip() == "[]"


def test_nothing_unpickles_or_runs_a_shell() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        for forbidden in ("import pickle", "torch.load(", "shell=True", "allow_pickle=True"):
            assert forbidden not in text, f"{path.name} uses {forbidden}"
