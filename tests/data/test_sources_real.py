"""The named training sources on the real data."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from bias_bench.data.sources import (
    LoadedSource,
    load_sources,
)
from bias_bench.data.sources.named import named_sources
from tests.support.source_files import (
    ELEVEN,
    shown,
    topics_of,
)


@pytest.fixture(scope="module")
def real(data_dir: Path) -> Callable[[str], LoadedSource]:
    loaded: dict[str, LoadedSource] = {}

    def load(name: str) -> LoadedSource:
        if name not in loaded:
            loaded[name] = load_sources([name], data_dir)
        return loaded[name]

    return load


@pytest.mark.parametrize(("name", "lines"), [("ntrex-128", 1997), ("flores-200", 1012)])
def test_real_parallel_lines(
    real: Callable[[str], LoadedSource], data_dir: Path, name: str, lines: int
) -> None:
    pairs = real(name).pairs
    files = [data_dir / path for path in named_sources()[name].spec.files.values()]
    texts = [path.read_text(encoding="utf-8").split("\n")[:lines] for path in files]
    blank = sum(not all(line.strip() for line in row) for row in zip(*texts, strict=True))
    assert len(pairs) == (lines - blank) * 11 * 10
    assert pairs.languages == ELEVEN
    assert (pairs.query_language != pairs.candidate_language).all()
    directions = Counter(zip(pairs.query_language, pairs.candidate_language, strict=True))
    assert set(directions.values()) == {lines - blank}
    # every pair is the same line in the two languages' own files
    for row in range(0, len(pairs), 997):
        number = int(pairs.topic_ids[pairs.topic[row]].removeprefix("line-")) - 1
        query, candidate = pairs.query_language[row], pairs.candidate_language[row]
        assert pairs.query_texts[pairs.query[row]] == texts[query][number].strip()
        assert pairs.candidate_texts[pairs.candidate[row]] == texts[candidate][number].strip()


def test_real_ntrex_documents_and_repeated_lines(real: Callable[[str], LoadedSource]) -> None:
    pairs = real("ntrex-128").pairs
    assert len(set(pairs.topic_titles)) == 123
    # lines 424 and 427, 1399 and 1403, 391 and 546 are the same in some language
    assert pairs.group.max() + 1 == 1997 - 3
    group = dict(zip(topics_of(pairs), pairs.group.tolist(), strict=True))
    assert group["line-424"] == group["line-427"] != group["line-425"]


@pytest.mark.parametrize(
    ("name", "language", "questions", "paragraphs"),
    [("arcd", "ar", 693, 231), ("cmrc2018", "zh", 3219, 848), ("iapp", "th", 5761, 1523)],
)
def test_real_monolingual_questions(
    real: Callable[[str], LoadedSource],
    name: str,
    language: str,
    questions: int,
    paragraphs: int,
) -> None:
    pairs = real(name).pairs
    assert pairs.languages == (language,)
    assert len(pairs) == len(set(topics_of(pairs))) == questions
    assert len(pairs.candidate_texts) == paragraphs
    assert sum(map(bool, pairs.topic_titles)) > 0.99 * questions
    assert pairs.group.max() < paragraphs


def test_real_tydi_questions_have_a_passage_in_their_own_language(
    real: Callable[[str], LoadedSource],
) -> None:
    pairs = real("tydiqa-goldp").pairs
    assert pairs.languages == ("ar", "bn", "en", "fi", "id", "ko", "ru", "sw", "te")
    assert len(pairs) == len(set(topics_of(pairs))) == 5_077
    assert (pairs.query_language == pairs.candidate_language).all()


@pytest.mark.parametrize("name", ["mlqa-r", "xquad-r"])
def test_real_lareqa_pairs_counted_from_the_files(
    real: Callable[[str], LoadedSource], data_dir: Path, name: str
) -> None:
    """Questions and the sentences that answer them, straight from the JSON."""
    question: dict[tuple[str, str], str] = {}
    answer: dict[tuple[str, str], str] = {}
    languages_of: dict[str, list[str]] = defaultdict(list)
    for path in sorted((data_dir / name).glob("*.json")):
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
            for part in article["paragraphs"]:
                for item in part["qas"]:
                    start = item["answers"][0]["answer_start"]
                    (index,) = (
                        index
                        for index, (first, end) in enumerate(part["sentence_breaks"])
                        if first <= start < end
                    )
                    key = path.stem, item["id"]
                    question[key] = item["question"].strip()
                    answer[key] = part["sentences"][index].strip()
                    languages_of[item["id"]].append(path.stem)
    pairs = real(name).pairs
    assert (
        len(languages_of) == len(set(topics_of(pairs))) == {"mlqa-r": 1148, "xquad-r": 1190}[name]
    )
    expected = Counter(
        (topic, query, question[query, topic], candidate, answer[candidate, topic])
        for topic, languages in languages_of.items()
        for query in languages
        for candidate in languages
    )
    actual = Counter(
        (topic, *rest) for topic, rest in zip(topics_of(pairs), shown(pairs), strict=True)
    )
    assert actual == expected
    groups = defaultdict(set)
    for topic, group in zip(topics_of(pairs), pairs.group.tolist(), strict=True):
        groups[topic].add(group)
    assert all(len(of_topic) == 1 for of_topic in groups.values())


def test_real_sources_join(real: Callable[[str], LoadedSource], data_dir: Path) -> None:
    joined = load_sources(["mlqa-r", "arcd"], data_dir)
    assert joined.negatives is None
    assert joined.pairs.data_sets == ("mlqa-r", "arcd")
    assert len(joined.pairs) == len(real("mlqa-r").pairs) + 693
    assert shown(joined.pairs)[-693:] == shown(real("arcd").pairs)
