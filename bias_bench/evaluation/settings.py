"""Settings: which query language is searched against which pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from bias_bench.errors import UsageError, nearest

Kind = Literal["monolingual", "cross_lingual", "multilingual"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ALL = "all"


class Setting(NamedTuple):
    """Query language × pool; `pool` is a language or ``all``. Prints as en, en-de or en-all."""

    query_language: str
    pool: str

    def __str__(self) -> str:
        if self.pool == self.query_language:
            return self.query_language
        return f"{self.query_language}-{self.pool}"

    @property
    def kind(self) -> Kind:
        if self.pool == ALL:
            return "multilingual"
        return "monolingual" if self.pool == self.query_language else "cross_lingual"


def parse_setting(text: str) -> Setting:
    """The inverse of ``str(setting)``."""
    language, _, pool = text.partition("-")
    if language in ("", ALL) or "-" in pool or text.endswith("-"):
        raise UsageError(f"'{text}' is not a setting; write en, en-de or en-all")
    return Setting(language, pool or language)


def settings_of_language(language: str, languages: Sequence[str]) -> list[Setting]:
    """All settings with this query language: every language's pool, then the pool of all."""
    if language not in languages:
        raise UsageError(f"unknown language '{language}': {nearest(language, languages)}")
    return [Setting(language, pool) for pool in (*languages, ALL)]


def all_settings(languages: Sequence[str]) -> list[Setting]:
    """Every setting, ordered by kind, then query language, then pool."""
    settings = [
        setting for language in languages for setting in settings_of_language(language, languages)
    ]
    return sorted(settings, key=lambda setting: KINDS.index(setting.kind))
