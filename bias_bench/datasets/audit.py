"""Zero-shot audit: does anything a training set trains on stand in the benchmark too?

Looked at are the topics, titles and texts that rows of the pairs use, and all of the benchmark's.
Its paragraphs are its candidates put together, so a copied paragraph shows as copied candidates.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from bias_bench.console import progress
from bias_bench.datasets.collection import Candidate, Collection, Query
from bias_bench.datasets.pairs import Pairs

Kind = Literal["id", "title", "identical", "near", "contained"]
KINDS: tuple[Kind, ...] = get_args(Kind)

NGRAM = 5  # characters, so that scripts without word boundaries need no tokenizer
# Shared n-grams over all n-grams of both texts. At 0.8 a sentence of 48 characters with one letter
# changed would pass, which is a long one in Chinese; at 0.7 it is found from 33 characters on.
# Lower values find questions of one form ("When did Latvia | Denmark join the EU?" has 0.696).
NEAR = 0.7
# Shared n-grams over those of the shorter text: a benchmark sentence quoted in a training passage,
# or the reverse. Lower values find sentences of one form ("The average household size was …").
CONTAINED = 0.95
# Distinct n-grams of the shorter text (24 characters), below which only identical texts count.
SHORTEST = 20
_TEXTS_AT_ONCE = 50_000  # of training, to bound the memory
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
    """What training pairs share with a benchmark, and what `clean` leaves of each data set."""

    benchmark: str
    findings: tuple[Finding, ...]
    data_sets: dict[str, SetCount]

    @property
    def verdict(self) -> str:
        """``clean``, or how many topics are dropped, by data set and kind; one line."""
        total, parts = 0, []
        for name, count in self.data_sets.items():
            if dropped := count.topics - count.topics_kept:
                kinds = ", ".join(f"{kind} {n:,}" for kind, n in count.by_kind.items() if n)
                parts.append(f"{name} {dropped:,} of {count.topics:,} ({kinds})")
                total += dropped
        if not total:
            return "clean"
        return f"{total:,} topic{'s' * (total > 1)} dropped: {', '.join(parts)}"

    def to_json(self) -> dict[str, Any]:
        """Plain data for manifests and reports."""
        return {
            "benchmark": self.benchmark,
            "verdict": self.verdict,
            "rules": {"ngram": NGRAM, "near": NEAR, "contained": CONTAINED, "shortest": SHORTEST},
            "data_sets": {name: count._asdict() for name, count in self.data_sets.items()},
            "findings": [finding._asdict() for finding in self.findings],
        }


def audit(pairs: Pairs, collection: Collection) -> Audit:
    """Find what training pairs and a benchmark share; the order of rows and items has no say."""
    topics, _ = _topics(pairs)
    known = collection.topic_rows
    findings = [Finding("id", t.data_set, t.id, t.id, t.id, 1.0) for t in topics if t.id in known]
    findings += [*_shared_titles(topics, collection), *_shared_texts(pairs, collection)]
    findings.sort(key=lambda f: (f.data_set, KINDS.index(f.kind), -f.similarity, f))
    return Audit(collection.name, tuple(findings), _counts(pairs, findings))


def clean(pairs: Pairs, audit: Audit) -> Pairs:
    """The pairs of topics without a finding or a title that was found, whatever the data set.

    Texts that no row uses any more stay in the lists, as with `Pairs.take`: train by rows alone.
    """
    topics, rows = _topics(pairs)
    return pairs.take(np.flatnonzero(~_flagged(topics, audit.findings)[rows]))


def fold(text: str) -> str:
    """Text without the differences that do not make another text: NFKC, case and white space."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def fold_title(title: str) -> str:
    """A title as it is compared: underscores are spaces."""
    return fold(title.replace("_", " "))


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
    place = {topic: index for index, topic in enumerate(topics)}
    return topics, np.array([place[topic] for topic in named], dtype=np.int64)[rows]


def _flagged(topics: Sequence[_Topic], findings: Iterable[Finding]) -> np.ndarray:
    """Array of bool [topics]: the topic has a finding, or its title is one that was found."""
    kinds = {(finding.data_set, finding.topic, finding.kind) for finding in findings}
    found = {place[:2] for place in kinds}
    titles = {fold_title(topic.title) for topic in topics if (*topic[:2], "title") in kinds} - {""}
    flags = [topic[:2] in found or fold_title(topic.title) in titles for topic in topics]
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
    items = _least((fold_title(theirs.title), theirs.id) for theirs in collection.topics)
    ours = _least(((topic.data_set, fold_title(topic.title)), topic) for topic in topics)
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
    """Folded texts of the benchmark with the least id of each, part by part."""
    texts: Iterator[Query | Candidate] = chain(collection.queries, collection.candidates)
    while items := _least((fold(t.text), t.id) for t in islice(texts, _ITEMS_AT_ONCE)):
        yield items


def _text_uses(pairs: Pairs) -> dict[str, dict[_Topic, str]]:
    """Folded text -> topics whose rows use it -> the text as it stands there."""
    topics, rows = _topics(pairs)
    uses: dict[str, dict[_Topic, str]] = {}
    for texts, used in (pairs.query_texts, pairs.query), (pairs.candidate_texts, pairs.candidate):
        for key in np.unique(used.astype(np.int64) * len(topics) + rows):
            text, topic = texts[key // len(topics)], topics[key % len(topics)]
            shown = uses.setdefault(fold(text), {})
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
    """All pairs above `NEAR` or `CONTAINED`, as places in the two lists; with repeats.

    A set of n n-grams shares s n of them with another only if that has one of its first
    n - s n + 1, in any order of n-grams (prefix filtering: Chaudhuri et al. 2006, Bayardo et al.
    2007); so nothing is missed. Those that are rare in the benchmark come first, which is quick.
    """
    if not training or not benchmark:
        return
    with progress("audit", len(training), "texts", after=5.0) as advance:
        for start in range(0, len(training), _TEXTS_AT_ONCE):
            part = training[start : start + _TEXTS_AT_ONCE]
            ours, theirs = _ngram_sets(part, benchmark)
            near = _join("near", ours, theirs, _first(ours, NEAR), _first(theirs, NEAR))
            inside = _join("contained", ours, theirs, _first(ours, CONTAINED), theirs)
            around = _join("contained", ours, theirs, ours, _first(theirs, CONTAINED))
            for match in chain(near, inside, around):
                yield match._replace(ours=start + match.ours)
            advance(len(part))


def _ngram_sets(training: Sequence[str], benchmark: Sequence[str]) -> tuple[Any, Any]:
    """The n-grams of each text as csr rows of ones; columns by their frequency in the benchmark."""
    # scikit-learn, since with its n-grams the search is complete: 9 s and 0.6 GB on one core for
    # 26,000 and 50,000 texts. MinHash LSH (datasketch, 128 permutations) takes 12 s and missed a
    # quarter of the copies with small edits; edit distances (rapidfuzz) would take 10 minutes.
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import HashingVectorizer

    hashed = HashingVectorizer(
        analyzer="char", ngram_range=(NGRAM, NGRAM), norm=None, binary=True, n_features=2**30
    ).transform([*training, *benchmark])
    hashes, ngrams = np.unique(hashed.indices, return_inverse=True)
    frequency = np.bincount(ngrams[hashed.indptr[len(training)] :], minlength=len(hashes))
    place = np.argsort(np.argsort(frequency, kind="stable")).astype(np.int32)
    shape = (hashed.shape[0], len(hashes))
    sets = csr_array((hashed.data, place[ngrams], hashed.indptr), shape=shape)
    sets.sort_indices()
    return sets[: len(training)], sets[len(training) :]


def _first(sets: Any, share: float) -> Any:
    """Of each set of n n-grams the n - ceil(share n) + 1 first, as csr."""
    from scipy.sparse import csr_array

    sizes = np.diff(sets.indptr)
    kept = np.minimum(sizes, sizes - np.ceil(share * sizes - 1e-9).astype(np.int64) + 1)
    chosen = np.arange(sets.nnz) - np.repeat(sets.indptr[:-1], sizes) < np.repeat(kept, sizes)
    bounds = np.concatenate([[0], np.cumsum(kept)])
    return csr_array((sets.data[chosen], sets.indices[chosen], bounds), shape=sets.shape)


def _join(kind: Kind, ours: Any, theirs: Any, keys: Any, their_keys: Any) -> Iterator[_Match]:
    """Pairs of sets that share a key and are similar enough; in blocks, to bound the memory."""
    our_sizes, their_sizes = np.diff(ours.indptr), np.diff(theirs.indptr)
    block = max(1, 4_000_000 // int(our_sizes.max() + their_sizes.max() + 1))
    by_key = their_keys.T.tocsr()
    for start in range(0, ours.shape[0], 500):
        product = (keys[start : start + 500] @ by_key).tocoo()
        for first in range(0, product.nnz, block):
            rows = product.row[first : first + block] + start
            columns = product.col[first : first + block]
            shared = np.asarray(ours[rows].multiply(theirs[columns]).sum(axis=1))
            shorter = np.minimum(our_sizes[rows], their_sizes[columns])
            jaccard = shared / (our_sizes[rows] + their_sizes[columns] - shared)
            similarity, enough = jaccard, jaccard >= NEAR
            if kind == "contained":  # and not near, so that a pair is of one kind
                similarity = shared / shorter
                enough = (similarity >= CONTAINED) & ~enough
            for hit in np.flatnonzero(enough & (shorter >= SHORTEST)):
                yield _Match(kind, int(rows[hit]), int(columns[hit]), float(similarity[hit]))
