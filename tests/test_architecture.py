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
ROOMS = [
    "datasets", "encoders", "retrieval", "negatives", "training", "evaluation", "bias",
    "robustness", "significance", "report",
]  # fmt: skip
ABOVE_ROOMS = {"api", "cli", "dry_run", "external", "health", "pipeline", "reproduction", "stages"}
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


def first_part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    """The parts of bias_bench that a file imports, at the top or inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("bias_bench.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_no_later_room(path: Path) -> None:
    here = first_part(path)
    if here in ABOVE_ROOMS or here in ("__main__", "__init__"):
        return
    for other in imported_parts(path):
        if here in ROOMS:
            assert other not in ABOVE_ROOMS
            assert other not in ROOMS or ROOMS.index(other) <= ROOMS.index(here)
        else:  # the foundation: errors, files, console, …
            assert other not in ABOVE_ROOMS
            assert other not in ROOMS or here == "experiment"


def test_encoders_know_of_no_run_and_import_each_other_one_way() -> None:
    imports: dict[str, set[str]] = {}
    for path in (PACKAGE / "encoders").glob("*.py"):
        assert not imported_parts(path) & {"manifest", "run_record"}, path.name
        imports[path.stem] = {
            node.module.rpartition(".")[2]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("bias_bench.encoders.")
        }
    order = [*TopologicalSorter(imports).static_order()]  # CycleError for a circle
    assert order.index("embeds") < order.index("cached") < len(order)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


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
