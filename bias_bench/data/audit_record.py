"""What a run's manifest.json says of the audit of its training data."""

from __future__ import annotations

from bias_bench.system.documents import Document


class AuditCount(Document):
    """What the audit found in one set of training data."""

    topics: int
    """Topics held against the benchmark."""
    pairs: int
    """Pairs held against the benchmark."""
    by_kind: dict[str, int]
    """Topics found in the benchmark, by kind of finding."""
    topics_kept: int
    """Topics left to train on."""
    pairs_kept: int
    """Pairs left to train on."""


class AuditFinding(Document):
    """Something that training data and the benchmark share."""

    kind: str
    """Such as ``title``."""
    data_set: str
    """The training data."""
    item: str
    """Id of what it is in the benchmark."""
    matched: str
    """What it is in the training data."""
    similarity: float
    """In [0, 1], 1: identical."""


class AuditRules(Document):
    """Thresholds of the audit."""

    ngram: int
    """Characters of the n-grams that texts are compared by."""
    near: float
    """Share of n-grams that near texts have in common at least, in [0, 1]."""
    contained: float
    """Share of the shorter text's n-grams that the longer one has at least, in [0, 1]."""


class AuditRecord(Document):
    """Training data held against the benchmark."""

    verdict: str
    """In words."""
    rules: AuditRules
    """What counts as found."""
    data_sets: dict[str, AuditCount]
    """By training data."""
    findings: list[AuditFinding]
    """All that was found, and dropped before training."""
