"""YAML as plain values, read by the safe loader alone."""

from __future__ import annotations

from typing import Any

LARGEST = 100_000  # values in a text


def load_yaml(text: str) -> Any:
    """The value of a YAML text; ValueError for what is none, or for one that would take memory.

    Aliases can say a value again and again, so few lines can stand for more than any memory holds.
    Keys must be texts.
    """
    import yaml

    try:
        content = yaml.safe_load(text)
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
