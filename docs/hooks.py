"""What the documentation takes from the program itself: the pages of commands and of settings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

_CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
_SETTINGS = """# Settings

Every setting of an experiment, as `--set KEY=VALUE` and experiment files take it
([the command line](cli.md#settings-and-experiment-files)). Recipes change some of these defaults
([training](training.md)). A section that is left out by default comes with its defaults when one of
its settings is given.
"""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages ``commands.md`` and ``settings.md``."""
    from mkdocs.structure.files import File

    for name, page in (("commands.md", commands_page()), ("settings.md", settings_page())):
        files.append(File.generated(config, name, content=page))
    return files


def commands_page() -> str:
    """The help of all commands as Markdown; the lines of examples stand as code."""
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from bias_bench.cli.app import app

    command = get_command(app)
    with command.make_context("biasbench", [], resilient_parsing=True) as context:
        text = get_docs_for_click(obj=command, ctx=context, name="biasbench", title="Commands")
    parts = _CODE.split(text)
    # a placeholder such as <language> is not a tag
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return re.sub(r"^(biasbench .*)$", r"    \1", "".join(parts), flags=re.MULTILINE)


def settings_page() -> str:
    """Every setting with its default, its range and its meaning, as declared in the program."""
    from bias_bench.config.experiment import Experiment

    return "\n".join([_SETTINGS, *_section(Experiment, "", "")])


def _section(model: Any, name: str, absent: str) -> Iterator[str]:
    """A heading, the model's docstring and a table; then the sections of the models within it."""
    from bias_bench.config.setting_keys import KIND, models_of

    kind = model.model_fields.get(KIND)
    yield f"## {name}{f': {kind.default}' if kind else ''}\n" if name else ""
    paragraphs = inspect.cleandoc(model.__doc__).split("\n\n")
    yield "\n\n".join(" ".join(text.split()) for text in paragraphs) + absent + "\n"
    fields = {f"{name}.{key}".lstrip("."): field for key, field in model.model_fields.items()}
    described = {key: field for key, field in fields.items() if field.description}
    if described:
        yield "| key | default | values | meaning |\n|---|---|---|---|"
    for key, field in described.items():
        meaning = " ".join(field.description.split()).replace("|", "\\|")
        yield f"| `{key}` | {_default(field)} | {_values(field)} | {meaning} |"
    for key, field in fields.items():
        for one in models_of(field.annotation):
            left_out = " Left out by default." if field.default is None else ""
            yield ""
            yield from _section(one, key, left_out)


def _default(field: Any) -> str:
    if field.is_required():
        return ""
    return _written(getattr(field.default, "kind", field.default))


def _values(field: Any) -> str:
    """The choices or bounds of a setting; nothing where its type says all."""
    kinds = [field.annotation]
    if get_origin(field.annotation) in (Union, UnionType):
        kinds = list(get_args(field.annotation))
    kinds = [inner for kind in kinds for inner in (kind, *get_args(kind))]
    choices = [value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]
    bounds = [
        f"{sign} {getattr(limit, name)}"
        for limit in field.metadata
        for name, sign in _BOUNDS.items()
        if hasattr(limit, name)
    ]
    return ", ".join([*dict.fromkeys(map(_written, choices)), *bounds])


def _written(value: Any) -> str:
    """A value as YAML has it, as code."""
    import yaml

    if value is None:
        return "none"
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False)
    return f"`{text.removesuffix('...' + chr(10)).strip()}`"
