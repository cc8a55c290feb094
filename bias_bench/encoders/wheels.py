"""Files of optional wheels, found without importing the wheels' code."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def wheel_file(package: str, name: str) -> Path | None:
    """Path of a file inside an installed package, or None when either is not there."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / name
        if path.is_file():
            return path
    return None
