"""Zero-shot audit: does anything a training set trains on stand in the benchmark too?

Looked at are the topics, titles and texts that rows of the pairs use, and all of the benchmark's.
Its paragraphs are its candidates put together, so a copied paragraph shows as copied candidates.
Texts are compared by their letters (`letters`), and by their n-grams, which finds copies with small
edits and typing errors. Translations are not looked for, nor paraphrases.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from bias_bench.data.collection import Candidate, Collection, Query
from bias_bench.data.pairs import Pairs
from bias_bench.system.console import progress

Kind = Literal["id", "title", "identical", "near", "contained"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# Characters, so that scripts without word boundaries need no tokenizer; few, so that one letter
# typed wrong spoils few of them.
NGRAM = 3
# Shared n-grams over all n-grams of both texts. A sentence of which every tenth letter is typed
# wrong has 0.52 to 0.83 in the 11 languages, a short question with a word more 0.62 to 0.93.
# Questions of one form have as much ("When did Latvia | Denmark join the EU?" 0.6); they are
# dropped from the training data too, for a leak costs more than a few topics do.
NEAR = 0.5
# Shared n-grams over those of the shorter text: a benchmark sentence quoted in a training passage,
# or the reverse. Lower values find sentences of one form ("The average household size was …").
CONTAINED = 0.95
# Distinct n-grams of the shorter text (8 and 22 letters): with fewer only identical texts count.
SHORTEST: dict[Kind, int] = {"near": 6, "contained": 20}
UNSEEN = "translations are not looked for"
_PAIRS_AT_ONCE = 10_000_000  # of texts, to bound the memory
_NGRAMS = 2**24  # places that n-grams are hashed to; few texts have two that share one
_ITEMS_AT_ONCE = 200_000  # of the benchmark, likewise


class Finding(NamedTuple):
    """Something of one training topic that the benchmark has too.

    `matched` is the shared id, the title, or an excerpt of the training text; `item` the id of the
    benchmark's nearest topic, query or candidate. A title is found once, with its first topic.
    """

    kind: Kind
    data_set: str
    topic: str
    matched: str
    item: str
    similarity: float


class SetCount(NamedTuple):
    """A training data set before and after; `by_kind` counts topics, some of several kinds."""

    topics: int
    pairs: int
    by_kind: dict[Kind, int]
    topics_kept: int
    pairs_kept: int


class Audit(NamedTuple):
    """What training pairs share with a benchmark, and what `drop_topics` leaves of each data set.

    `dropped` are the ids of topics with a finding, or with a title that was found in whatever data
    set; sorted, by data set, without those that lose none.
    """

    benchmark: str
    findings: tuple[Finding, ...]
    data_sets: dict[str, SetCount]
    dropped: dict[str, list[str]]

    @property
    def verdict(self) -> str:
        """``drop_topics``, or how many topics are dropped, by data set and kind; one line.

        It ends with what the audit cannot see.
        """
        total, parts = 0, []
        for name, count in self.data_sets.items():
            if dropped := count.topics - count.topics_kept:
                kinds = ", ".join(f"{kind} {n:,}" for kind, n in count.by_kind.items() if n)
                parts.append(f"{name} {dropped:,} of {count.topics:,} ({kinds})")
                total += dropped
        said = f"{total:,} topic{'s' * (total > 1)} dropped: {', '.join(parts)}"
        return f"{said if total else 'clean'}; {UNSEEN}"

    def to_json(self) -> dict[str, Any]:
        """Plain data for manifests and reports; its `dropped` is what `drop_topics` takes."""
        return {
            "benchmark": self.benchmark,
            "verdict": self.verdict,
            "rules": {"ngram": NGRAM, "near": NEAR, "contained": CONTAINED, "shortest": SHORTEST},
            "data_sets": {name: count._asdict() for name, count in self.data_sets.items()},
            "findings": [finding._asdict() for finding in self.findings],
            "dropped": self.dropped,
        }


def audit(pairs: Pairs, collection: Collection) -> Audit:
    """Find what training pairs and a benchmark share; the order of rows and items has no say."""
    topics, _ = _topics(pairs)
    known = collection.topic_rows
    findings = [Finding("id", t.data_set, t.id, t.id, t.id, 1.0) for t in topics if t.id in known]
    findings += [*_shared_titles(topics, collection), *_shared_texts(pairs, collection)]
    findings.sort(key=lambda f: (f.data_set, KINDS.index(f.kind), -f.similarity, f))
    dropped: dict[str, list[str]] = {}
    for row in np.flatnonzero(_flagged(topics, findings)):
        dropped.setdefault(topics[row].data_set, []).append(topics[row].id)
    return Audit(collection.name, tuple(findings), _counts(pairs, findings), dropped)


def drop_topics(pairs: Pairs, dropped: Mapping[str, Iterable[str]]) -> Pairs:
    """The pairs without some topics, whose ids are given by data set.

    Texts that no row uses any more stay in the lists, as with `Pairs.take`: train by rows alone.
    """
    topics, rows = _topics(pairs)
    gone = {(data_set, topic) for data_set, names in dropped.items() for topic in names}
    keep = np.array([topic[:2] not in gone for topic in topics], dtype=bool)
    return pairs.take(np.flatnonzero(keep[rows]))


def letters(text: str) -> str:
    """Text without what a reader does not see and what typists leave out: letters and digits alone.

    HTML entities are read; case, compatibility forms, spaces, punctuation, characters of no width,
    controls of direction, diacritics, Arabic vowel signs and tatweel make no difference. Vowel
    signs of other scripts do, as words have no others there.
    """
    while (read := html.unescape(text)) != text:
        text = read
    folded = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKD", folded).translate(_SEEN))


class _Seen(dict[int, str]):
    """What is left of a character, by its code point; worked out once."""

    def __missing__(self, point: int) -> str:
        self[point] = left = _seen(chr(point))
        return left


_SEEN = _Seen()
_TYPED_AS = {"đ": "d", "ı": "i", "ł": "l", "ø": "o", "ى": "ي", "ة": "ه"}
_INVISIBLE = "\u0640\u115f\u1160\u3164\uffa0"  # tatweel and fillers, which are letters to Unicode
# marks that may be left out: European, Hebrew and Arabic; nukta; variants and other combining ones
_MARKS = [
    (0x0300, 0x036F), (0x0483, 0x0489), (0x0591, 0x06ED), (0x093C, 0x093C), (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE00, 0xFE2F), (0xE0100, 0xE01EF),
]  # fmt: skip


def _seen(character: str) -> str:
    kind, point = unicodedata.category(character), ord(character)
    if kind[0] in "PZC" or kind == "Sk" or character in _INVISIBLE:
        return ""
    if kind in ("Mn", "Me") and any(first <= point <= last for first, last in _MARKS):
        return ""
    if kind == "Nd":
        return str(unicodedata.digit(character))
    return _TYPED_AS.get(character, character)


class _Topic(NamedTuple):
    data_set: str
    id: str
    title: str


def _topics(pairs: Pairs) -> tuple[list[_Topic], np.ndarray]:
    """The topics that rows use, sorted, and int [rows]: the place of each row's topic in them."""
    keys = pairs.data_set.astype(np.int64) * len(pairs.topic_ids) + pairs.topic
    distinct, rows = np.unique(keys, return_inverse=True)
    named = [
        _Topic(pairs.data_sets[data_set], pairs.topic_ids[topic], pairs.topic_titles[topic])
        for data_set, topic in zip(*np.divmod(distinct, len(pairs.topic_ids)), strict=True)
    ]
    topics = sorted(set(named))
    row_of = {topic: index for index, topic in enumerate(topics)}
    return topics, np.array([row_of[topic] for topic in named], dtype=np.int64)[rows]


def _flagged(topics: Sequence[_Topic], findings: Iterable[Finding]) -> np.ndarray:
    """Array of bool [topics]: the topic has a finding, or its title is one that was found."""
    kinds = {(finding.data_set, finding.topic, finding.kind) for finding in findings}
    with_finding = {kind_of[:2] for kind_of in kinds}
    titles = {letters(topic.title) for topic in topics if (*topic[:2], "title") in kinds} - {""}
    flags = [topic[:2] in with_finding or letters(topic.title) in titles for topic in topics]
    return np.array(flags, dtype=bool)


def _counts(pairs: Pairs, findings: Sequence[Finding]) -> dict[str, SetCount]:
    topics, rows = _topics(pairs)
    sizes = np.bincount(rows, minlength=len(topics))
    kept = ~_flagged(topics, findings)
    of_kind = {kind: _flagged(topics, [f for f in findings if f.kind == kind]) for kind in KINDS}
    counts = {}
    for name in sorted(set(pairs.data_sets)):
        here = np.array([topic.data_set == name for topic in topics], dtype=bool)
        counts[name] = SetCount(
            topics=int(here.sum()),
            pairs=int(sizes[here].sum()),
            by_kind={kind: int((here & mask).sum()) for kind, mask in of_kind.items()},
            topics_kept=int((here & kept).sum()),
            pairs_kept=int(sizes[here & kept].sum()),
        )
    return counts


def _shared_titles(topics: Iterable[_Topic], collection: Collection) -> list[Finding]:
    items = _least((letters(theirs.title), theirs.id) for theirs in collection.topics)
    ours = _least(((topic.data_set, letters(topic.title)), topic) for topic in topics)
    return [
        Finding("title", data_set, topic.id, _excerpt(topic.title), items[title], 1.0)
        for (data_set, title), topic in ours.items()
        if title and title in items
    ]


def _shared_texts(pairs: Pairs, collection: Collection) -> list[Finding]:
    """For each training text that stands in the benchmark: the most similar item of each kind."""
    uses = _text_uses(pairs)
    same = _least(
        (("identical", text), (-1.0, items[text]))
        for items in _item_parts(collection)
        for text in uses.keys() & items.keys()
    )
    rest = sorted(uses.keys() - {text for _, text in same})
    like = (
        ((match.kind, rest[match.ours]), (-match.similarity, items[match.theirs][1]))
        for items in map(sorted, map(dict.items, _item_parts(collection)))
        for match in _similar(rest, [text for text, _ in items])
    )
    return [
        Finding(kind, topic.data_set, topic.id, _excerpt(shown), item, round(-distance, 4))
        for (kind, text), (distance, item) in _least(chain(same.items(), like)).items()
        for topic, shown in uses[text].items()
        if text
    ]


def _item_parts(collection: Collection) -> Iterator[dict[str, str]]:
    """The benchmark's texts, as `letters` has them, with the least id of each, part by part."""
    texts: Iterator[Query | Candidate] = chain(collection.queries, collection.candidates)
    while items := _least((letters(t.text), t.id) for t in islice(texts, _ITEMS_AT_ONCE)):
        yield items


def _text_uses(pairs: Pairs) -> dict[str, dict[_Topic, str]]:
    """Text as `letters` has it -> topics whose rows use it -> the text as it stands there."""
    topics, rows = _topics(pairs)
    uses: dict[str, dict[_Topic, str]] = {}
    for texts, used in (pairs.query_texts, pairs.query), (pairs.candidate_texts, pairs.candidate):
        for key in np.unique(used.astype(np.int64) * len(topics) + rows):
            text, topic = texts[key // len(topics)], topics[key % len(topics)]
            shown = uses.setdefault(letters(text), {})
            shown[topic] = min(shown.get(topic, text), text)
    return uses


def _least(entries: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """The least value of each key, so that the order of the entries has no say."""
    least: dict[Any, Any] = {}
    for key, value in entries:
        least[key] = min(least.get(key, value), value)
    return least


def _excerpt(text: str, most: int = 80) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


class _Match(NamedTuple):
    kind: Kind
    ours: int
    theirs: int
    similarity: float


def _similar(training: Sequence[str], benchmark: Sequence[str]) -> Iterator[_Match]:
    """All pairs above `NEAR` or `CONTAINED`, as places in the two lists.

    All common n-grams of all pairs are counted, as a product of sparse matrices, in blocks that
    bound the memory; so nothing is missed.
    """
    if not training or not benchmark:
        return
    ours, theirs = _ngram_sets(training), _ngram_sets(benchmark)
    our_sizes, their_sizes = np.diff(ours.indptr), np.diff(theirs.indptr)
    by_ngram = theirs.T.tocsr()
    rows = max(1, _PAIRS_AT_ONCE // len(benchmark))
    with progress("audit", len(training), "texts", after=5.0) as advance:
        for start in range(0, len(training), rows):
            product = (ours[start : start + rows] @ by_ngram).tocoo()
            shared, row, column = product.data, product.row + start, product.col
            first, second = our_sizes[row], their_sizes[column]
            shorter = np.minimum(first, second)
            jaccard = shared / (first + second - shared)
            near = (jaccard >= NEAR) & (shorter >= SHORTEST["near"])
            inside = ~near & (shared >= CONTAINED * shorter) & (shorter >= SHORTEST["contained"])
            for hit in np.flatnonzero(near | inside):
                kind: Kind = "near" if near[hit] else "contained"
                similarity = jaccard[hit] if near[hit] else shared[hit] / shorter[hit]
                yield _Match(kind, int(row[hit]), int(column[hit]), float(similarity))
            advance(min(rows, len(training) - start))


def _ngram_sets(texts: Sequence[str]) -> Any:
    """The n-grams of each text as csr rows of ones."""
    # scikit-learn, since with its n-grams the search is complete. MinHash LSH (datasketch, 128
    # permutations) missed a quarter of the copies with small edits; edit distances (rapidfuzz)
    # would take 10 minutes.
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(
        analyzer="char",
        ngram_range=(NGRAM, NGRAM),
        lowercase=False,
        norm=None,
        alternate_sign=False,
        binary=True,
        n_features=_NGRAMS,
        dtype=np.float32,
    ).transform(texts)
