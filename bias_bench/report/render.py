"""What all pages share: the template environment, style, script, policy, and embedded JSON."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from bias_bench.data.languages import base_language, direction, html_language, language_name
from bias_bench.system.console import duration, warn
from bias_bench.system.files import json_text, write_text

LARGEST_PAGE = 2_000_000  # bytes
_FUNCTIONS = (base_language, direction, duration, html_language, language_name)  # of all templates


def render(template: str, **values: Any) -> str:
    """A page's HTML; equal values give equal bytes. All text is escaped.

    The page's policy lets this package's script run, known by its hash, and forbids every request.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bias_bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update({function.__name__: function for function in _FUNCTIONS})
    script = _part("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return environment.get_template(template).render(
        style=_part("style.css"), script=script, script_hash=digest, **values
    )


def page_size(html: str) -> int:
    """Bytes of a page in its file."""
    return len(html.encode("utf-8", "backslashreplace"))


def write_page(page: Path, html: str, advice: str) -> None:
    """Write a page to its file, with a warning and the advice where it is large."""
    if (size := page_size(html)) > LARGEST_PAGE:
        warn(f"{page}: {size / 1e6:.1f} MB is large for a page; {advice}")
    write_text(page, html)


def embeddable(value: Any) -> str:
    """JSON that can stand inside a script element of a page, whatever text it holds."""
    return json_text(value).replace("<", "\\u003c")


def _part(name: str) -> str:
    return package_files("bias_bench.report").joinpath(name).read_text("utf-8")
