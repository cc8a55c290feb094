"""Made-up data in MIRACL's layout, for tests and for benchmarks.

Passages are words drawn by a law like Zipf's from a made-up vocabulary of their language. A passage
that answers a question holds about half of the question's words, one that was judged not to about a
quarter, and so does one in five of all others, so a search has something to find and something to
miss. Everything follows from the seed; nothing is said about any real system or language.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bias_bench.data.miracl_files import (
    GENERATED,
    SUMS,
    Generated,
    Judgements,
    annotation_file,
    annotation_name,
    corpus_folder,
    miracl_facts,
    read_judgements,
    read_topics,
)
from bias_bench.system.files import atomic_path, make_folder, sha256_file, write_json, write_text

WHAT = "generated for a test; these are not MIRACL's data"
_VOCABULARY = 20_000
_SYLLABLES, _SKEW = (1, 4), 3.0
_PASSAGE = (25, 90)  # words
_TITLE, _QUESTION = (1, 3), (4, 9)
_RELEVANT, _NOT_RELEVANT = (1, 4), (4, 9)  # judged passages of a made-up question
_BLOCK = 10_000  # passages made at a time, so memory does not grow with the corpus
_KEPT = {1: (0.3, 0.7), 0: (0.0, 0.5)}  # shares of a question's words that judged passages hold
_DISTRACTING = 0.2  # share of the other passages that hold words of a question as one judged 0 does
_COMPRESSION = 1


class Plan(NamedTuple):
    """What to generate: `passages` in each language, and questions.

    `judged` is a folder with MIRACL's topics and judgements, of which the first `topics` of each
    language are taken (None: all); without it `topics` questions are made up (None: 20). `words`
    are the fewest and the most of a passage.
    """

    passages: int
    languages: Sequence[str]
    seed: int = 0
    topics: int | None = None
    judged: Path | None = None
    shard: int = 0
    words: tuple[int, int] = _PASSAGE


class _Questions(NamedTuple):
    texts: dict[str, str]
    judged: Judgements


def generate(plan: Plan, folder: Path) -> Path:
    """Write topics, judgements and corpora below `folder`, and a file that says what they are.

    There must be as many passages as are judged.
    """
    languages = [language for language in miracl_facts().languages if language in plan.languages]
    random = {
        language: np.random.default_rng([plan.seed, *language.encode()]) for language in languages
    }
    words = {language: _vocabulary(random[language]) for language in languages}
    questions = {
        language: _questions(plan, language, words[language], random[language])
        for language in languages
    }
    make_folder(folder)
    generated = Generated(
        what=WHAT, seed=plan.seed, passages=dict.fromkeys(languages, plan.passages)
    )
    write_json(folder / GENERATED, generated.model_dump())
    for language in languages:
        _write_annotations(folder, language, questions[language])
        _write_corpus(
            plan, folder, language, questions[language], words[language], random[language]
        )
    return folder


def _vocabulary(random: np.random.Generator) -> np.ndarray:
    """Words of a made-up language: unicode [words], all different, in a random order."""
    syllables = np.array([a + b for a in "bcdfghjklmnprstvwz" for b in "aeiou"])
    drawn = syllables[random.integers(len(syllables), size=(2 * _VOCABULARY, _SYLLABLES[1]))]
    lengths = random.integers(_SYLLABLES[0], _SYLLABLES[1] + 1, size=len(drawn)).tolist()
    words = ("".join(row[:length]) for row, length in zip(drawn.tolist(), lengths, strict=True))
    return np.array(list(dict.fromkeys(words))[:_VOCABULARY])


def _draw(words: np.ndarray, number: int, random: np.random.Generator) -> np.ndarray:
    """Words of a text, frequent ones more often: the first of the vocabulary are frequent."""
    return words[(len(words) * random.random(number) ** _SKEW).astype(np.int64)]


def _between(bounds: tuple[int, int], random: np.random.Generator) -> int:
    return int(random.integers(bounds[0], bounds[1] + 1))


def _questions(
    plan: Plan, language: str, words: np.ndarray, random: np.random.Generator
) -> _Questions:
    if plan.judged is not None:
        return _given_questions(plan.judged, language, plan.topics)
    texts: dict[str, str] = {}
    judged = Judgements({}, {})
    article = 0
    for topic in range(20 if plan.topics is None else plan.topics):
        # neither so frequent as to say nothing nor so rare that nothing else holds them
        own = words[len(words) // 100 : len(words) // 4]
        drawn = random.choice(own, _between(_QUESTION, random), replace=False)
        texts[str(topic)] = " ".join(drawn) + "?"
        grades = [1] * _between(_RELEVANT, random) + [0] * _between(_NOT_RELEVANT, random)
        for grade in grades:
            article += _between((1, 50), random)
            passage = f"{article}#{_between((0, 20), random)}"
            judged.grades.setdefault(str(topic), {})[passage] = grade
            judged.line.setdefault(passage, len(judged.line) + 1)
    return _Questions(texts, judged)


def _given_questions(folder: Path, language: str, number: int | None) -> _Questions:
    topics = annotation_file(folder, language, "topics")
    texts = read_topics(topics)
    judged = read_judgements(annotation_file(folder, language, "qrels"), texts, topics)
    kept = dict(list(texts.items())[:number])
    grades = {topic: judged.grades[topic] for topic in texts if topic in kept}
    lines = [passage for of_topic in grades.values() for passage in of_topic]
    return _Questions(
        kept, Judgements(grades, {passage: judged.line[passage] for passage in lines})
    )


def _write_annotations(folder: Path, language: str, questions: _Questions) -> None:
    topics = "".join(f"{topic}\t{text}\n" for topic, text in questions.texts.items())
    write_text(folder / annotation_name(language, "topics"), topics)
    lines = [
        f"{topic}\tQ0\t{passage}\t{grade}\n"
        for topic, grades in questions.judged.grades.items()
        for passage, grade in grades.items()
    ]
    write_text(folder / annotation_name(language, "qrels"), "".join(lines))


def _write_corpus(
    plan: Plan,
    folder: Path,
    language: str,
    questions: _Questions,
    words: np.ndarray,
    random: np.random.Generator,
) -> None:
    """Shards as published, in the order of articles; one block is in memory at a time."""
    corpus = make_folder(corpus_folder(folder, language))
    shard = plan.shard or miracl_facts().shard
    wanted = _wanted_words(questions, random)
    pieces = [_pieces(text) for text in questions.texts.values()]
    identifiers = _identifiers(plan.passages, sorted(questions.judged.line, key=_place), random)
    sums = []
    for number, start in enumerate(range(0, plan.passages, shard)):
        path = corpus / f"docs-{number}.jsonl.gz"
        with ExitStack() as opened:
            temporary = opened.enter_context(atomic_path(path))
            stream = opened.enter_context(temporary.open("wb"))
            packed = opened.enter_context(gzip.GzipFile("", "wb", _COMPRESSION, stream, mtime=0))
            for first in range(start, min(start + shard, plan.passages), _BLOCK):
                size = min(_BLOCK, start + shard - first, plan.passages - first)
                names = [next(identifiers) for _ in range(size)]
                block = _block(names, wanted, pieces, words, plan.words, random)
                packed.write(block.encode("utf-8"))
        sums.append(f"{sha256_file(path)}  {path.name}\n")
    write_text(corpus / SUMS, "".join(sums))


def _place(identifier: str) -> tuple[int, int]:
    article, _, passage = identifier.partition("#")
    return int(article), int(passage)


def _identifiers(number: int, judged: Sequence[str], random: np.random.Generator) -> Iterator[str]:
    """`number` docids: the judged ones at random places, the others from articles after theirs."""
    places = np.sort(random.choice(number, len(judged), replace=False))
    following = iter(judged)
    article, passage = _place(judged[-1])[0] + 1 if judged else 0, 0
    taken = set(places.tolist())
    for place in range(number):
        if place in taken:
            yield next(following)
            continue
        yield f"{article}#{passage}"
        passage = (passage + 1) % 8
        article += passage == 0


def _wanted_words(questions: _Questions, random: np.random.Generator) -> dict[str, list[str]]:
    """Of each judged passage the words that it shares with its questions."""
    wanted: dict[str, list[str]] = {}
    for topic, grades in questions.judged.grades.items():
        pieces = _pieces(questions.texts[topic])
        for passage, grade in grades.items():
            kept = _some(pieces, _KEPT[min(grade, 1)], random)
            wanted.setdefault(passage, []).extend(kept)
    return wanted


def _some(
    pieces: Sequence[str], share: tuple[float, float], random: np.random.Generator
) -> list[str]:
    """A share of the pieces, drawn evenly from `share`."""
    number = round(float(random.uniform(*share)) * len(pieces))
    return [pieces[place] for place in random.choice(len(pieces), number, replace=False)]


def _pieces(question: str) -> list[str]:
    """Words; pairs of characters where a script puts no spaces between words."""
    text = question.rstrip("?？؟ ")
    words = text.split()
    if len(words) > 2:
        return words
    joined = "".join(words) or question
    return [joined[place : place + 2] for place in range(0, len(joined), 2)]


def _block(
    names: Sequence[str],
    wanted: Mapping[str, Sequence[str]],
    pieces: Sequence[Sequence[str]],
    words: np.ndarray,
    size: tuple[int, int],
    random: np.random.Generator,
) -> str:
    lengths = random.integers(size[0], size[1] + 1, len(names))
    drawn = _draw(words, int(lengths.sum()), random).tolist()
    titles = _draw(words, _TITLE[1] * len(names), random).tolist()
    sizes = random.integers(_TITLE[0], _TITLE[1] + 1, len(names)).tolist()
    distracting = random.random(len(names)) < _DISTRACTING
    questions = random.integers(len(pieces), size=len(names)).tolist()
    lines, start = [], 0
    for row, (name, length) in enumerate(zip(names, lengths.tolist(), strict=True)):
        text = drawn[start : start + length]
        start += length
        own = wanted.get(name, ())
        if name not in wanted and distracting[row]:
            own = _some(pieces[questions[row]], _KEPT[0], random)
        for word in own:
            text[int(random.integers(len(text)))] = word
        title = titles[_TITLE[1] * row : _TITLE[1] * row + sizes[row]]
        fields = {"docid": name, "title": " ".join(title), "text": " ".join(text)}
        lines.append(json.dumps(fields, ensure_ascii=False))
    return "\n".join(lines) + "\n"
