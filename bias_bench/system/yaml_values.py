"""YAML as plain values, read by the safe loader alone."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

LARGEST = 100_000  # values in a text


def load_yaml(text: str, texts: bool = False) -> Any:
    """The value of a YAML text; ValueError for what is not YAML, or for one that would take memory.

    With `texts` every plain value but ``null`` is a text: in ``[no, 1_0]`` both are.

    Aliases can say a value again and again, so few lines can stand for more than any memory holds.
    Keys must be texts.
    """
    import yaml

    try:
        content = (_texts_loader() if texts else yaml.SafeLoader)(text).get_single_data()
    except (yaml.YAMLError, OverflowError, TypeError) as error:
        raise ValueError(str(error) or type(error).__name__) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    number, left = 0, [content]
    while left:
        number += 1
        value = left.pop()
        if number > LARGEST:
            raise ValueError(f"more than {LARGEST:,} values")
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise ValueError(f"the key {str(key)[:40]} is not read as text; quote it")
            left += value.values()
        elif isinstance(value, list | tuple | set):
            left += value
    return content


def package_yaml(package: str, name: str) -> Any:
    """What a YAML file of this package holds; `package` is for example ``bias_bench.data``."""
    import yaml

    return yaml.safe_load(files(package).joinpath(name).read_text("utf-8"))


def _texts_loader() -> Any:
    """A safe loader that takes plain values as texts, except for ``null`` and nothing at all."""
    import yaml

    class Loader(yaml.BaseLoader):
        pass

    Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("(?:null)?$"), ["n", ""])
    Loader.add_constructor("tag:yaml.org,2002:null", lambda *_: None)
    return Loader
