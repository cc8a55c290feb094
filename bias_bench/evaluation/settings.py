"""Settings: which query language is searched against which pool."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, get_args

from bias_bench.data.collection import Collection
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
    def order(self) -> tuple[int, str, str]:
        """What settings are sorted by: kind, then query language, then pool."""
        return KINDS.index(self.kind), *self

    @property
    def kind(self) -> Kind:
        if self.pool == ALL:
            return "multilingual"
        return "monolingual" if self.pool == self.query_language else "cross_lingual"


def parse_setting(text: str) -> Setting:
    """The inverse of ``str(setting)``."""
    language, _, pool = text.partition("-")
    if language in ("", ALL) or "-" in pool or text.endswith("-"):
        raise UsageError(
            f"'{text}' is not a setting; write en, en-de or en-all, and _ for a hyphen within a "
            "code: zh_Hans-de"
        )
    return Setting(language, pool or language)


def settings_of_language(language: str, languages: Sequence[str]) -> list[Setting]:
    """All settings with this query language: every language's pool, then the pool of all."""
    if language not in languages:
        raise UsageError(f"unknown language '{language}': {nearest(language, languages)}")
    return [Setting(language, pool) for pool in (*languages, ALL)]


def searched_settings(collection: Collection, language: str) -> list[Setting]:
    """The settings of a benchmark with this query language that have a topic.

    Those in which no topic that the language asks is answered are left out: nothing can be found.
    """
    answered = collection.answered_in[language]
    return [
        setting
        for setting in _possible_settings(collection, language)
        if (answered if setting.pool == ALL else setting.pool in answered)
    ]


def _possible_settings(collection: Collection, language: str) -> list[Setting]:
    """All with this query language, whether or not they have a topic.

    Where topics are not parallel, candidates of other languages are not judged: their own pool is
    all there is to search.
    """
    if not collection.parallel:
        return [Setting(language, language)]
    return settings_of_language(language, collection.languages)


def all_settings(languages: Sequence[str]) -> list[Setting]:
    """Every setting, ordered by kind, then query language, then pool."""
    return _in_order(
        setting for language in languages for setting in settings_of_language(language, languages)
    )


def settings_of(collection: Collection) -> list[Setting]:
    """The settings of a benchmark that have a topic, in the order of `all_settings`."""
    return _in_order(
        setting
        for language in collection.languages
        for setting in searched_settings(collection, language)
    )


def settings_without_topics(collection: Collection) -> list[Setting]:
    """The settings that are left out, since no topic of theirs is answered; in the same order."""
    kept = set(settings_of(collection))
    return _in_order(
        setting
        for language in collection.languages
        for setting in _possible_settings(collection, language)
        if setting not in kept
    )


def searched_languages(collection: Collection) -> list[str]:
    """The languages that ask something that is answered, in the benchmark's order."""
    return [language for language in collection.languages if collection.answered_in[language]]


def _in_order(settings: Iterable[Setting]) -> list[Setting]:
    return sorted(settings, key=lambda setting: KINDS.index(setting.kind))
