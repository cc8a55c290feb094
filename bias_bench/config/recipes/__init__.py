"""The recipes that ship with the package, one YAML file each."""

from __future__ import annotations

from importlib.resources import files


def recipe_names() -> list[str]:
    """Their names, sorted."""
    names = [item.name for item in files(__name__).iterdir()]
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))
