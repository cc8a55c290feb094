"""Where libraries keep their caches: in their own place where it can be written, else in ours.

In containers and on clusters the package and the home folder often cannot be written, and some
libraries then fail, even while they are imported. Each reads from the environment where else to
write, at its import; so `direct_library_caches` is called before that.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bias_bench.errors import BiasBenchError
from bias_bench.system.files import CACHE_FIX, cache_root, can_write


class LibraryCache(NamedTuple):
    """What `library` writes goes where `variable` says; `own` is whether it can do without.

    No run can be scored without those that are `needed`. `kept` is whether there is something to
    read where it cannot be written.
    """

    library: str
    variable: str
    own: Callable[[], bool]
    needed: bool = False
    kept: Callable[[], bool] = lambda: False

    def is_writable(self) -> bool:
        """Whether the library can write its cache, as the environment is now."""
        named = os.environ.get(self.variable)
        return can_write(Path(named).expanduser()) if named else self.own()

    def is_usable(self) -> bool:
        """Whether the library can do with its cache as it is."""
        return self.is_writable() or self.kept()


def direct_library_caches() -> None:
    """Name a folder of our cache to each library that could not write otherwise.

    What the environment names already is kept where it can be written. Raises BiasBenchError where
    there is no cache of ours.
    """
    root = cache_root() / "libraries"
    if not _has_home():  # some ask for it even where they do not need it
        os.environ["HOME"] = str(root)
    for cache in LIBRARY_CACHES:
        if not cache.is_usable() and can_write(root):
            os.environ[cache.variable] = str(root / cache.library)


def require_library_caches() -> None:
    """`direct_library_caches`; BiasBenchError where a library that a run needs cannot write."""
    direct_library_caches()
    for cache in LIBRARY_CACHES:
        if cache.needed and not cache.is_usable():
            raise BiasBenchError(f"{cache.library} cannot write its cache anywhere; {CACHE_FIX}")


def _has_home() -> bool:
    try:
        return bool(Path.home())
    except RuntimeError:
        return False


def _user_cache(name: str) -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / name


def _numba() -> bool:
    """Compiled functions lie beside the source, or else in the user's cache."""
    spec = importlib.util.find_spec("ranx")
    sources = (spec.submodule_search_locations or []) if spec else []
    return any(map(can_write, [*(Path(source, "__pycache__") for source in sources),
                               _user_cache("numba")]))  # fmt: skip


def _ir_datasets() -> bool:
    """Its import, which ranx begins, makes this folder: nobody who has none shall get one."""
    folder = Path.home() / ".ir_datasets"
    return folder.is_dir() and can_write(folder)


def _matplotlib() -> bool:
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return can_write(settings / "matplotlib") and can_write(_user_cache("matplotlib"))


def _hub_folder(name: str, *variables: str) -> Path:
    named = next(filter(None, map(os.environ.get, variables)), None)
    home = os.environ.get("HF_HOME") or _user_cache("huggingface")
    return Path(named or Path(home, name)).expanduser()


def _hub() -> Path:
    return _hub_folder("hub", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")


LIBRARY_CACHES = (
    LibraryCache("numba", "NUMBA_CACHE_DIR", _numba, needed=True),
    LibraryCache("ir_datasets", "IR_DATASETS_HOME", _ir_datasets, needed=True),
    LibraryCache("matplotlib", "MPLCONFIGDIR", _matplotlib),
    LibraryCache(
        "huggingface_hub",
        "HF_HUB_CACHE",
        lambda: can_write(_hub()),
        kept=lambda: _hub().is_dir(),
    ),
    LibraryCache("hf_xet", "HF_XET_CACHE", lambda: can_write(_hub_folder("xet"))),
)
