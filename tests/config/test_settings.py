"""Settings: names, kinds and counts."""

from __future__ import annotations

import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.errors import UsageError
from bias_bench.evaluation.settings import (
    ALL,
    KINDS,
    Setting,
    all_settings,
    parse_setting,
    settings_of_language,
)
from tests.support.helpers import unhurried

XQUAD_R = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
MLQA_R = ("ar", "de", "en", "es", "hi", "vi", "zh")
codes = st.text(string.ascii_lowercase, min_size=2, max_size=3).filter(lambda code: code != ALL)


@unhurried
@given(codes, codes | st.just(ALL))
def test_names_parse_back_to_the_setting(language: str, pool: str) -> None:
    setting = Setting(language, pool)
    assert parse_setting(str(setting)) == setting


@unhurried
@given(codes, codes)
def test_kind_follows_from_the_pool(first: str, second: str) -> None:
    assert Setting(first, first).kind == "monolingual"
    assert Setting(first, ALL).kind == "multilingual"
    assert Setting(first, second).kind == ("cross_lingual" if first != second else "monolingual")


@pytest.mark.parametrize(
    ("text", "setting", "kind"),
    [
        ("en", Setting("en", "en"), "monolingual"),
        ("en-de", Setting("en", "de"), "cross_lingual"),
        ("en-all", Setting("en", ALL), "multilingual"),
    ],
)
def test_names_read_as_documented(text: str, setting: Setting, kind: str) -> None:
    assert parse_setting(text) == setting
    assert str(setting) == text
    assert setting.kind == kind


@pytest.mark.parametrize(
    ("languages", "counts"), [(XQUAD_R, (11, 110, 11)), (MLQA_R, (7, 42, 7)), (("en",), (1, 0, 1))]
)
def test_counts_of_settings(languages: tuple[str, ...], counts: tuple[int, int, int]) -> None:
    settings = all_settings(languages)
    found = Counter(setting.kind for setting in settings)
    assert tuple(found[kind] for kind in KINDS) == counts
    assert len(set(settings)) == len(set(map(str, settings))) == len(settings)


def test_settings_are_ordered_by_kind_then_language_then_pool() -> None:
    names = [str(setting) for setting in all_settings(("en", "de"))]
    assert names == ["en", "de", "en-de", "de-en", "en-all", "de-all"]


def test_settings_of_a_language_cover_every_pool() -> None:
    settings = settings_of_language("hi", XQUAD_R)
    assert [setting.pool for setting in settings] == [*XQUAD_R, ALL]
    assert {setting.query_language for setting in settings} == {"hi"}


@pytest.mark.parametrize(
    ("language", "hint"), [("enn", "did you mean 'en'?"), ("xx", "known: ar, de, en")]
)
def test_unknown_languages_are_named_with_the_nearest_known(language: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings_of_language(language, ("en", "de", "ar"))
    assert str(caught.value) == f"unknown language '{language}': {hint}"


@pytest.mark.parametrize("text", ["", "-", "-en", "en-", "en-de-fr", "en--de"])
def test_malformed_names_say_what_to_write(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_setting(text)
    assert f"'{text}' is not a setting" in str(caught.value)
    assert "en-all" in str(caught.value)
