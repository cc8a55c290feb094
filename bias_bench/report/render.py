"""What all pages share: the template environment, the style, and writing a page whole."""

from __future__ import annotations

from importlib.resources import files as package_files
from typing import Any


def render(template: str, **values: Any) -> str:
    """A page's HTML; equal values give equal bytes. All text is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bias_bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = package_files("bias_bench.report").joinpath("style.css").read_text("utf-8")
    return environment.get_template(template).render(style=style, **values)
