"""Perturbed questions: seeded, in the script of the text, never empty, and really perturbed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.data.collection import Collection
from bias_bench.data.ids import topic_of
from bias_bench.data.languages import language_name
from bias_bench.data.registry import load_benchmark
from bias_bench.errors import UsageError
from bias_bench.robustness.perturbations import (
    PERTURBATIONS,
    STRENGTHS,
    VARIANTS,
    Variant,
    applicable,
    changed_shares,
    generator,
    perturbed_queries,
)
from bias_bench.robustness.text import Question, clusters, split_words
from bias_bench.robustness.typing_errors import neighbouring_keys
from tests.support.helpers import unhurried

SCRIPT_KEEPING = [kind for kind in PERTURBATIONS if kind != "code_switching"]
# every script of the benchmark and of others that perturbations treat in a way of their own
SCRIPTS = {
    name: regex.compile(rf"\p{{Script={name}}}")
    for name in (
        *("Latin", "Greek", "Cyrillic", "Arabic", "Devanagari", "Thai", "Han", "Hiragana"),
        *("Katakana", "Hangul", "Hebrew", "Bengali", "Telugu", "Georgian", "Armenian", "Lao"),
        *("Cherokee", "Coptic", "Deseret", "Glagolitic", "Khmer", "Myanmar"),
    )
}
# questions of other writing systems, and traps of case, marks, space and punctuation
ODD_TEXTS = [
    *("東京の首都高速道路はどこですか？", "서울의 수도는 어디입니까?", "ভারতের রাজধানী কোথায়?"),
    *("Å ﬁ µm ⓐ ŉ ǰ ΐ ᾳ ß İstanbul ILIK?", "e\u0301te\u0301 a\ufe0f 1\ufe0f\u20e3 👩‍👩‍👧 👍🏽"),
    *("???", "¿", " ", "\t\n", "…", "\u0301", "a", "é", "Б", "ก", "เ", "क्ष", "中", "7", "-", "'"),
    *(
        "x\u00a0y\u3000z",
        "\r\n",
        "\x1f",
        "\u200b",
        "\u202eabc",
        "กำ",
        "เก้าอี้",
        "และๆ ฯลฯ",
        "3.5-4,5% C# R&D",
    ),
]
texts = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.text(max_size=30),
    st.text(st.characters(categories=["L", "M", "Zs", "Po", "Pd", "Nd"]), max_size=30),
    st.text(
        st.sampled_from("aZéıİςΐё ьйЁأ\u064bاक्ा\u093cกเ้ำาะ中文。？ -¿?'\u0301\u0345µ"), max_size=15
    ),
)
strengths = st.floats(0.01, 1)


@cache
def mini() -> Collection:
    return load_benchmark("mini", None).collection


@cache
def perturbed(variant: Variant, seed: int = 0) -> dict[str, list[str]]:
    return perturbed_queries(mini(), *variant, seed=seed)


def scripts(text: str) -> set[str]:
    """Scripts in a text, but for characters that are common to several."""
    return {name for name, pattern in SCRIPTS.items() if pattern.search(text)}


def change(
    kind: str, text: str, language: str, strength: float = 1, seed: int = 0, other: str = ""
) -> str:
    random = np.random.default_rng(seed)
    return PERTURBATIONS[kind].change(Question(text, language, other), strength, random)


def distance(first: str, second: str) -> int:
    """Insertions, deletions and replacements of characters that make one text the other."""
    row = list(range(len(second) + 1))
    for place, letter in enumerate(first, 1):
        above, row = row, [place]
        for column, other in enumerate(second, 1):
            least = min(above[column], row[-1]) + 1
            row.append(min(least, above[column - 1] + (letter != other)))
    return row[-1]


def test_there_are_seven_kinds_at_two_strengths() -> None:
    assert len(VARIANTS) == len(set(VARIANTS)) == 14
    for perturbation in PERTURBATIONS.values():
        assert 0 < perturbation.light < perturbation.strong <= 1


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_perturbation_is_deterministic(variant: Variant) -> None:
    assert perturbed_queries(mini(), *variant, seed=0) == perturbed(variant)


@pytest.mark.parametrize("kind", PERTURBATIONS)
def test_another_seed_perturbs_in_another_way(kind: str) -> None:
    variant = Variant(kind, "light")
    differs = perturbed(variant) != perturbed(variant, seed=1)
    assert differs == (kind not in ("case", "punctuation"))  # nothing is drawn there


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_text_does_not_depend_on_the_queries_before_it(variant: Variant) -> None:
    collection = mini()
    reverse = replace(
        collection,
        queries=tuple(
            query
            for language in collection.languages
            for query in reversed(collection.queries_in(language))
        ),
    )
    found = perturbed_queries(reverse, *variant, seed=0)
    assert {language: texts[::-1] for language, texts in found.items()} == perturbed(variant)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_text_does_not_depend_on_other_topics(variant: Variant) -> None:
    collection = mini()
    kept = {topic.id for topic in collection.topics[20:40]}
    some = replace(
        collection,
        queries=tuple(query for query in collection.queries if topic_of(query.id) in kept),
    )
    found = perturbed_queries(some, *variant, seed=0)
    everything = perturbed(variant)
    assert set(found) <= set(everything)
    for language, texts in found.items():
        assert texts == everything[language][20:40]


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v.kind in SCRIPT_KEEPING], ids=str)
@pytest.mark.parametrize("language", mini().languages, ids=language_name)
def test_the_script_of_a_question_stays(variant: Variant, language: str) -> None:
    for query, text in zip(
        mini().queries_in(language), perturbed(variant).get(language, []), strict=False
    ):
        assert scripts(text) <= scripts(query.text), text
        assert text.strip()


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_most_questions_change_in_every_language_that_has_the_perturbation(
    variant: Variant,
) -> None:
    shares = changed_shares(mini(), perturbed(variant))
    unaffected = {
        *(language for language in mini().languages if not applicable(variant.kind, language)),
        *(["th"] if variant.kind == "punctuation" else []),  # these questions have none
    }
    assert set(shares) == set(mini().languages) - unaffected
    for language, share in shares.items():
        least = 0.2 if (variant.kind, language) == ("diacritics", "ru") else 0.6
        assert share >= least, language


@pytest.mark.parametrize("kind", PERTURBATIONS)
def test_strong_changes_at_least_as_much_as_light(kind: str) -> None:
    light, strong = (perturbed(Variant(kind, strength)) for strength in STRENGTHS)
    assert light.keys() == strong.keys()
    for language in light:
        queries = mini().queries_in(language)[::3]
        totals = [
            sum(
                distance(query.text, text)
                for query, text in zip(queries, texts[language][::3], strict=True)
            )
            for texts in (light, strong)
        ]
        assert 0 < totals[0] <= totals[1], language


@pytest.mark.parametrize("kind", PERTURBATIONS)
@unhurried
@given(
    texts,
    st.sampled_from([*mini().languages, "ja", "ko", "xx"]),
    strengths,
    st.integers(0, 9),
    texts,
)
def test_any_text_stays_one_and_is_perturbed_the_same_way_twice(
    kind: str, text: str, language: str, strength: float, seed: int, other: str
) -> None:
    found = change(kind, text, language, strength, seed, other)
    assert found == change(kind, text, language, strength, seed, other)
    assert bool(found) == bool(text)
    assert found.strip() or not text.strip()
    if kind in SCRIPT_KEEPING:
        assert scripts(found) <= scripts(text)


@unhurried
@given(texts)
def test_words_and_gaps_and_clusters_make_up_the_text(text: str) -> None:
    split = split_words(text)
    assert split.join() == text
    assert len(split.gaps) == max(0, len(split.words) - 1)
    assert all(split.words)
    assert "".join(clusters(text)) == text


@pytest.mark.parametrize("language", ["th", "hi"])
@pytest.mark.parametrize(
    "kind", ["typo", "white_space", "word_order", "diacritics", "punctuation", "case"]
)
def test_vowel_signs_and_tone_marks_keep_a_base(kind: str, language: str) -> None:
    for query in mini().queries_in(language):
        for seed in range(3):
            text = change(kind, query.text, language, 1, seed)
            assert not regex.search(r"(?:^|[\s\p{P}])\p{M}", text), text


def test_a_language_without_any_changed_text_is_left_out() -> None:
    assert set(perturbed(Variant("diacritics", "strong"))) == {
        "ar",
        "de",
        "el",
        "es",
        "ru",
        "tr",
        "vi",
    }
    assert set(perturbed(Variant("case", "light"))) == {"de", "el", "en", "es", "ru", "tr", "vi"}
    assert "th" not in perturbed(Variant("punctuation", "strong"))
    assert applicable("diacritics", "xx")


@pytest.mark.parametrize(
    ("language", "text", "plain"),
    [
        ("vi", "Đá tan chảy vẫn còn nằm dưới mặt đất?", "Da tan chay van con nam duoi mat dat?"),
        ("tr", "Işığın çağrısı, İstanbul şöyle güzel", "Isigin cagrisi, Istanbul soyle guzel"),
        ("de", "Größe über Österreich", "Große uber Osterreich"),
        ("es", "¿Cuál es la función del señor?", "¿Cual es la funcion del senor?"),
        ("el", "Ποιο είναι το βαΐτσα;", "Ποιο ειναι το βαιτσα;"),
        ("ru", "Чей ёжик за́мок построил?", "Чей ежик замок построил?"),
        ("ar", "إلى أيّ تُعلم آخر رئيس مؤمن؟", "الى اي تعلم اخر رئيس مؤمن؟"),
        ("hi", "ज़मीन की चाँदी", "ज़मीन की चाँदी"),
        ("th", "ผึ้งที่ทำงาน", "ผึ้งที่ทำงาน"),
        ("de", "Gro\u0308ße e\u0301", "Große e"),
    ],
)
def test_diacritics_are_dropped_and_letters_kept(language: str, text: str, plain: str) -> None:
    assert change("diacritics", text, language) == plain


def test_a_share_of_the_diacritics_is_dropped() -> None:
    found = change("diacritics", "é é é é", "fr", 0.5)
    assert sorted(found.split()) == ["e", "e", "é", "é"]


@pytest.mark.parametrize(
    ("language", "text", "small", "capitals"),
    [
        ("en", "Who is Ada?", "who is ada?", "WHO IS ADA?"),
        ("tr", "İzmir Isparta'ya kaç?", "izmir ısparta'ya kaç?", "İZMİR ISPARTA'YA KAÇ?"),
        ("el", "Ποιο είναι ΤΟΥΣ ΐ;", "ποιο είναι τους ΐ;", "ΠΟΙΟ ΕΙΝΑΙ ΤΟΥΣ Ϊ;"),
        ("de", "Große Öfen", "große öfen", "GROSSE ÖFEN"),
        ("ru", "Чей Ёж?", "чей ёж?", "ЧЕЙ ЁЖ?"),
        ("en", "5 µm, ⓐ", "5 µm, ⓐ", "5 µM, ⓐ"),
    ],
)
def test_case_follows_the_rules_of_the_language(
    language: str, text: str, small: str, capitals: str
) -> None:
    assert change("case", text, language, 0.5) == small
    assert change("case", text, language, 1.0) == capitals


@pytest.mark.parametrize(
    ("text", "half", "none"),
    [
        ("What's wax-making, then?", "What's wax-making then", "Whats wax making then"),
        ("¿Qué es?", "Qué es?", "Qué es"),
        ("Ποιος ήρθε;", "Ποιος ήρθε", "Ποιος ήρθε"),
        ("ما هذا، إذن؟", "ما هذا، إذن", "ما هذا إذن"),
        ("यह कौन-सा है।", "यह कौन-सा है", "यह कौन सा है"),
        ("这是什么，吗？", "这是什么，吗", "这是什么吗"),
        ("one – two", "one two", "one two"),
        ("बि-बि บี-บี", "बि-बि บี บี", "बि बि บี บี"),
        ("3.5-4,5% C# R&D?", "3.5-4,5% C# R&D", "3.5-4,5% C# R&D"),
        ("Quoi ?", "Quoi", "Quoi"),
        ("?!", "?", "?!"),
    ],
)
def test_punctuation_goes_from_the_end_inwards(text: str, half: str, none: str) -> None:
    assert change("punctuation", text, "xx", 0.5) == half
    assert change("punctuation", text, "xx", 1.0) == none


def test_white_space_is_dropped_or_doubled_between_words_only() -> None:
    text = "who was the first here"
    found = {change("white_space", text, "en", 1, seed) for seed in range(40)}
    for text_found in found:
        assert "".join(text_found.split()) == "whowasthefirsthere"
        assert regex.fullmatch(r"who( {2})?was( {2})?the( {2})?first( {2})?here", text_found)
    assert len(found) > 8
    assert change("white_space", "word", "en") == "word"


def test_white_space_is_put_into_scripts_without_it() -> None:
    assert change("white_space", "蜂王是什么？", "zh") == "蜂 王 是 什 么？"
    # not after a vowel written before its consonant, nor before one written after it
    assert change("white_space", "แมวใน", "th") == "แม ว ใน"
    assert change("white_space", "นาและรังสัตว์", "th") == "นา และ รัง สัตว์"


def test_word_order_moves_words_and_leaves_punctuation_at_the_ends() -> None:
    text = "¿uno dos tres, cuatro cinco seis siete ocho?"
    words = text[1:-1].split()
    for seed in range(10):
        light = change("word_order", text, "es", 0.25, seed)
        assert (light[0], light[-1]) == ("¿", "?")
        moved = [a != b for a, b in zip(words, light[1:-1].split(), strict=True)]
        assert sum(moved) == 2
        assert moved[moved.index(True) + 1]
        strong = change("word_order", text, "es", 1.0, seed)
        assert strong != text
        assert sorted(strong[1:-1].split()) == sorted(words)
    assert change("word_order", "so so so?", "en") == "so so so?"
    assert {change("word_order", "to be", "en", 1, seed) for seed in range(5)} == {"be to"}


def test_pieces_of_two_scripts_do_not_run_together_when_they_move() -> None:
    for seed in range(10):
        found = change("word_order", "one中two中three", "zh", 1, seed)
        assert sorted(regex.findall(r"[a-z]+|中", found)) == ["one", "three", "two", "中", "中"]


def test_code_switching_replaces_the_span_at_the_same_relative_position() -> None:
    german, english = (
        "¿eins zwei drei vier fünf?",
        "one two three four five six seven eight nine ten",
    )
    for seed in range(10):
        found = change("code_switching", german, "de", 0.5, seed, english)
        assert (found[0], found[-1]) == ("¿", "?")
        words = found[1:-1].split()
        start = next(place for place, word in enumerate(words) if word in english)
        span = english.split()[2 * start : 2 * start + 4]
        own = german[1:-1].split()
        assert words == [*own[:start], *span, *own[start + 2 :]]


def test_code_switching_needs_a_parallel_question_and_keeps_an_own_word() -> None:
    assert change("code_switching", "eins zwei?", "de") == "eins zwei?"
    assert change("code_switching", "eins zwei?", "de", other=" ?") == "eins zwei?"
    for seed in range(5):
        found = change("code_switching", "eins zwei?", "de", 1, seed, "one two")
        assert found in ("one zwei?", "eins two?")


@pytest.mark.parametrize("language", mini().languages, ids=language_name)
def test_code_switched_questions_hold_words_of_the_same_topic(language: str) -> None:
    others = {
        topic_of(query.id): [] for query in mini().queries
    }  # topic -> its texts in other languages
    for query in mini().queries:
        if not query.id.startswith(f"{language}:"):
            others[topic_of(query.id)].append(query.text)
    strong = perturbed(Variant("code_switching", "strong"))[language]
    for query, text in zip(mini().queries_in(language), strong, strict=True):
        known = "".join([query.text, *others[topic_of(query.id)]])
        assert set(text) <= {*known, " "}


@pytest.mark.parametrize("language", mini().languages, ids=language_name)
def test_a_light_typing_error_is_one_keystroke_in_one_or_two_words(language: str) -> None:
    light = perturbed(Variant("typo", "light"))[language]
    for query, text in zip(mini().queries_in(language), light, strict=True):
        before, after = clusters(query.text), clusters(text)
        assert before != after
        assert abs(len(before) - len(after)) <= 2
        words = len(query.text.split())
        assert len(set(query.text.split()) - set(text.split())) <= max(1, round(words / 10 + 0.5))


def test_a_wrong_key_is_near_the_right_one() -> None:
    assert set(neighbouring_keys("g")) == set("fhtyvb")
    assert set(neighbouring_keys("а")) == set("впкесм")
    assert set(neighbouring_keys("क")) == set("रतगदसख")
    assert neighbouring_keys("中") == neighbouring_keys("é") == ""


def test_every_kind_of_typing_error_occurs() -> None:
    found = {change("typo", "Word", "en", 1, seed) for seed in range(300)}
    assert {"oWrd", "Wrod", "Wor", "ord", "WWord", "Wordd", "Eord", "Wprd"} <= found
    assert all(distance("Word", text) <= 2 for text in found)
    assert "Word" not in found


def test_digits_are_not_mistyped() -> None:
    for seed in range(20):
        assert "1905" in change("typo", "in 1905 then", "en", 1, seed)


def test_random_numbers_differ_between_seeds_variants_and_queries() -> None:
    keys: list[tuple[int, Variant, str]] = [
        (seed, Variant(kind, strength), query)
        for seed in (0, 1)
        for kind in ("typo", "case")
        for strength in STRENGTHS
        for query in ("en:t1", "en:t2")
    ]
    draws = [int(generator(*key).integers(2**62)) for key in keys]
    assert len(set(draws)) == len(keys)
    assert draws == [int(generator(*key).integers(2**62)) for key in keys]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: perturbed_queries(mini(), "typos", "light", 0), "typo"),
        (lambda: perturbed_queries(mini(), "typo", "storng", 0), "strong"),
    ],
)
def test_unknown_variants_are_named(action: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        action()
