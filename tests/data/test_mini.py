"""The embedded benchmark and its training topics: form, parallelism, scripts, no overlap."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bias_bench.data import mini
from bias_bench.data.registry import benchmarks, data_folder, load_benchmark

LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
EVALUATION = data_folder("mini", None)
TRAINING = EVALUATION.parent / "mini-train"
FOLDERS = {"mini": EVALUATION, "mini-train": TRAINING}
SCRIPTS = {
    "ar": "ARABIC",
    "el": "GREEK",
    "hi": "DEVANAGARI",
    "ru": "CYRILLIC",
    "th": "THAI",
    "zh": "CJK",
}
OWN_LETTERS = {
    "de": "äöüß",
    "es": "áéíóúñ",
    "tr": "ğışç",
    "vi": "ơưđạ",
    "ar": "ةأ",
    "ru": "ыэй",
}
SIMPLIFIED, TRADITIONAL = "们这国时", "們這國時"


class Content(NamedTuple):
    """One language's file, taken apart."""

    articles: list[dict[str, Any]]

    @property
    def paragraphs(self) -> list[dict[str, Any]]:
        return [paragraph for article in self.articles for paragraph in article["paragraphs"]]

    @property
    def sentences(self) -> list[str]:
        return [sentence for paragraph in self.paragraphs for sentence in paragraph["sentences"]]

    @property
    def questions(self) -> list[dict[str, Any]]:
        return [question for paragraph in self.paragraphs for question in paragraph["qas"]]

    @property
    def texts(self) -> list[str]:
        return self.sentences + [question["question"] for question in self.questions]

    @property
    def titles(self) -> list[str]:
        return [article["title"] for article in self.articles]


def read(folder: Path, language: str) -> Content:
    return Content(json.loads((folder / f"{language}.json").read_text("utf-8"))["data"])


ALL = {
    (name, language): read(folder, language)
    for name, folder in FOLDERS.items()
    for language in LANGUAGES
}
every_file = pytest.mark.parametrize(("name", "language"), ALL, ids=["/".join(key) for key in ALL])


def holding(paragraph: dict[str, Any], start: int) -> int:
    """The sentence that an offset points to."""
    (index,) = (
        row for row, (first, end) in enumerate(paragraph["sentence_breaks"]) if first <= start < end
    )
    return index


def structure(content: Content) -> list[Any]:
    """All that must be the same in every language: no text but the titles, which name articles."""
    return [
        (
            article["title"],
            [
                (
                    len(paragraph["sentences"]),
                    [
                        (
                            question["id"],
                            [holding(paragraph, a["answer_start"]) for a in question["answers"]],
                        )
                        for question in paragraph["qas"]
                    ],
                )
                for paragraph in article["paragraphs"]
            ],
        )
        for article in content.articles
    ]


def script_share(text: str, script: str) -> float:
    """Share of the letters (and vowel signs) of a text that belong to a script."""
    letters = [c for c in text if unicodedata.category(c)[0] in "LM"]
    return sum(unicodedata.name(c, "").startswith(script) for c in letters) / len(letters)


def folded(text: str) -> str:
    """A text without case, punctuation and runs of white space."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def trigrams(text: str) -> set[tuple[str, ...]]:
    words = folded(text).split()
    return set(zip(words, words[1:], words[2:], strict=False))


def containment(one: str, other: str) -> float:
    """Share of the shorter text's word 3-grams that the other text has too."""
    first, second = trigrams(one), trigrams(other)
    return len(first & second) / max(1, min(len(first), len(second)))


# --- form -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FOLDERS)
def test_there_is_one_file_for_each_of_eleven_languages(name: str) -> None:
    assert sorted(path.stem for path in FOLDERS[name].glob("*.json")) == sorted(LANGUAGES)


def test_all_embedded_files_together_are_below_a_megabyte() -> None:
    files = chain.from_iterable(folder.iterdir() for folder in FOLDERS.values())
    assert sum(path.stat().st_size for path in files) < 1_000_000


@every_file
def test_paragraphs_have_three_or_four_sentences(name: str, language: str) -> None:
    paragraphs = ALL[name, language].paragraphs
    assert len(paragraphs) >= 24
    assert {len(paragraph["sentences"]) for paragraph in paragraphs} <= {3, 4}


@pytest.mark.parametrize(("name", "least"), [("mini", 48), ("mini-train", 64)])
def test_every_topic_is_asked_in_all_languages(name: str, least: int) -> None:
    counts = Counter(
        question["id"] for language in LANGUAGES for question in ALL[name, language].questions
    )
    assert len(counts) >= least
    assert set(counts.values()) == {len(LANGUAGES)}


@every_file
def test_structure_is_that_of_english(name: str, language: str) -> None:
    assert structure(ALL[name, language]) == structure(ALL[name, "en"])


@every_file
def test_sentence_breaks_cut_the_context_into_the_sentences(name: str, language: str) -> None:
    for paragraph in ALL[name, language].paragraphs:
        context, breaks = paragraph["context"], paragraph["sentence_breaks"]
        assert [context[start:end] for start, end in breaks] == paragraph["sentences"]
        rest = "".join(
            context[end:start]
            for end, start in zip(
                [0, *(end for _, end in breaks)],
                [*(start for start, _ in breaks), len(context)],
                strict=True,
            )
        )
        assert not rest.strip()


@every_file
def test_every_answer_stands_where_its_offset_points(name: str, language: str) -> None:
    for paragraph in ALL[name, language].paragraphs:
        for question in paragraph["qas"]:
            assert question["answers"]
            for answer in question["answers"]:
                start, text = answer["answer_start"], answer["text"]
                sentence = paragraph["sentences"][holding(paragraph, start)]
                assert text.strip()
                assert text in sentence
                assert paragraph["context"][start : start + len(text)] == text


def test_the_registry_counts_what_the_files_hold() -> None:
    for language, file in benchmarks()["mini"].files.items():
        content = ALL["mini", language]
        assert (file.queries, file.candidates) == (len(content.questions), len(content.sentences))


def test_embedded_files_load_as_benchmark_and_as_training_topics() -> None:
    evaluation, training = load_benchmark("mini", None).collection, mini.training_topics()
    for name, collection in (("mini", evaluation), ("mini-train", training)):
        assert collection.candidate_texts("en", with_context=False) == ALL[name, "en"].sentences
        assert sorted(collection.languages) == sorted(LANGUAGES)
        assert collection.relevant_rows.shape == (len(collection.topics), len(LANGUAGES))
        assert (collection.relevant_rows >= 0).all()
        assert all(topic.article.startswith("en:") for topic in collection.topics)


def test_training_texts_are_the_questions_and_sentences_of_the_training_files_only() -> None:
    held = [text for language in LANGUAGES for text in ALL["mini-train", language].texts]
    texts = mini.training_texts()
    assert Counter(texts) == Counter(held)
    assert texts == mini.training_texts()


# --- texts ------------------------------------------------------------------------------------


@every_file
def test_text_is_nfc_trimmed_and_free_of_control_characters(name: str, language: str) -> None:
    text = (FOLDERS[name] / f"{language}.json").read_text("utf-8")
    assert unicodedata.is_normalized("NFC", text)
    for item in ALL[name, language].texts:
        assert unicodedata.is_normalized("NFC", item)
        assert item == item.strip() != ""
        assert "  " not in item
        # Cc and Cn, unpaired surrogates, private use, and the mark of undecodable text
        assert not {unicodedata.category(c) for c in item} & {"Cc", "Cn", "Cs", "Co"}
        assert "\ufffd" not in item


@every_file
def test_no_sentence_or_question_occurs_twice(name: str, language: str) -> None:
    counts = Counter(map(folded, ALL[name, language].texts))
    assert [text for text, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("name", FOLDERS)
def test_no_text_is_left_untranslated(name: str) -> None:
    """The same words in two languages would be one left as it was."""
    counts = Counter(
        chain.from_iterable({folded(text) for text in ALL[name, lang].texts} for lang in LANGUAGES)
    )
    assert [text for text, count in counts.items() if count > 1] == []


@every_file
def test_texts_are_written_in_the_script_of_their_language(name: str, language: str) -> None:
    """Latin names and units may stand in a text, but no text consists of them."""
    script = SCRIPTS.get(language, "LATIN")
    texts = ALL[name, language].texts
    assert [text for text in texts if script_share(text, script) < 0.5] == []
    assert script_share("".join(texts), script) > 0.98


def test_script_share_tells_scripts_apart() -> None:
    assert script_share("Η μέλισσα.", "GREEK") == 1
    assert script_share("Bee", "GREEK") == 0
    assert script_share("ab αβ 12", "GREEK") == 0.5
    assert script_share("भाषा", "DEVANAGARI") == 1


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("language", OWN_LETTERS)
def test_languages_of_one_script_show_their_own_letters(name: str, language: str) -> None:
    """Two swapped files, or accents lost on the way, would pass the test of scripts."""
    held = set("".join(ALL[name, language].texts).lower())
    assert set(OWN_LETTERS[language]) <= held
    others = [
        other
        for other in LANGUAGES
        if other != language
        and set(OWN_LETTERS[language]) <= set("".join(ALL[name, other].texts).lower())
    ]
    assert others == []


@pytest.mark.parametrize("name", FOLDERS)
def test_chinese_is_in_simplified_characters(name: str) -> None:
    held = set("".join(ALL[name, "zh"].texts))
    assert set(SIMPLIFIED) & held
    assert not set(TRADITIONAL) & held


@every_file
def test_questions_do_not_repeat_their_answer_sentence(name: str, language: str) -> None:
    """A question that quotes its answer sentence would measure matching of words only."""
    for paragraph in ALL[name, language].paragraphs:
        for question in paragraph["qas"]:
            (answer,) = question["answers"]
            sentence = paragraph["sentences"][holding(paragraph, answer["answer_start"])]
            assert folded(question["question"]) not in folded(sentence)
            assert folded(sentence) not in folded(question["question"])


# --- evaluation and training are apart --------------------------------------------------------


def test_evaluation_and_training_share_no_title_and_no_id() -> None:
    evaluation, training = ALL["mini", "en"], ALL["mini-train", "en"]
    assert not {folded(t) for t in evaluation.titles} & {folded(t) for t in training.titles}
    assert not {q["id"] for q in evaluation.questions} & {q["id"] for q in training.questions}


@pytest.mark.parametrize("language", LANGUAGES)
def test_evaluation_and_training_share_no_text(language: str) -> None:
    evaluation, training = (
        {folded(text) for text in ALL[name, language].texts} for name in FOLDERS
    )
    assert not evaluation & training


def test_no_training_text_is_a_near_duplicate_of_an_evaluation_text() -> None:
    close = [
        (one, other)
        for one in ALL["mini", "en"].texts
        for other in ALL["mini-train", "en"].texts
        if containment(one, other) >= 0.5
    ]
    assert close == []


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("Bees make honey from nectar.", "bees make honey from nectar", 1),
        ("Bees make honey from nectar.", "Bees make honey from sugar.", 2 / 3),
        ("Bees make honey from nectar.", "In spring, bees make honey from nectar and sap.", 1),
        ("Bees make honey from nectar.", "Wasps eat fruit and meat.", 0),
        ("Why?", "Why?", 0),
    ],
)
def test_containment_measures_near_duplicates(one: str, other: str, expected: float) -> None:
    assert containment(one, other) == pytest.approx(expected)
