"""Small training data and benchmarks for tests of the audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bias_bench.data.collection import Candidate, Collection, Query, Topic
from bias_bench.data.pairs import Pairs, pairs_from_collection

ENGLISH = "The old lighthouse on the northern cliff was built of grey granite in 1871."


THAI = "ประภาคารเก่าบนหน้าผาทางเหนือสร้างขึ้นจากหินแกรนิตสีเทาเมื่อหลายปีก่อน"


CHINESE = "北方悬崖上的那座旧灯塔是用灰色花岗岩在一八七一年建造的，至今仍然为来往的渔船指引着方向。"


GERMAN = "Der alte Leuchtturm auf der nördlichen Klippe wurde 1871 aus grauem Granit gebaut."


ARABIC = "بنيت المنارة القديمة على الجرف الشمالي من الجرانيت الرمادي عام ألف وثمانمئة وواحد وسبعين."


class Entry(NamedTuple):
    """One topic: its id, title, and per language its question and answer sentence."""

    id: str
    title: str = ""
    texts: dict[str, tuple[str, str]] | None = None


def unlike(seed: str, length: int = 60) -> str:
    """A text that shares nothing with others."""
    letters = np.random.default_rng(list(seed.encode())).integers(0x4E00, 0x9F00, length)
    return f"{seed} {''.join(map(chr, letters))}"


def collection(name: str, entries: Sequence[Entry]) -> Collection:
    """A collection of the entries, in the languages they have; texts default to unlike ones."""
    filled = {
        entry.id: entry.texts
        or {"en": (unlike(f"{name} q {entry.id}"), unlike(f"{name} c {entry.id}"))}
        for entry in entries
    }
    languages = tuple(sorted({language for texts in filled.values() for language in texts}))
    places = [
        (language, row, identifier)
        for language in languages
        for row, (identifier, texts) in enumerate(filled.items())
        if language in texts
    ]
    return Collection(
        name=name,
        languages=languages,
        topics=tuple(Topic(entry.id, entry.id, entry.id, entry.title) for entry in entries),
        queries=tuple(
            Query(f"{language}:{topic}", filled[topic][language][0])
            for language, _, topic in places
        ),
        candidates=tuple(
            Candidate(f"{language}:{row}-0-0", filled[topic][language][1], "")
            for language, row, topic in places
        ),
        relevance=tuple((topic, f"{language}:{row}-0-0") for language, row, topic in places),
    )


def training(*entries: Entry, name: str = "train") -> Pairs:
    return pairs_from_collection(collection(name, entries))


def benchmark(*entries: Entry) -> Collection:
    return collection("bench", [Entry("other"), *entries])


def english(identifier: str, question: str, sentence: str, title: str = "") -> Entry:
    return Entry(identifier, title, {"en": (question, sentence)})


def shown(text: str) -> str:
    """A text as findings show it."""
    return text if len(text) <= 80 else text[:79] + "…"
