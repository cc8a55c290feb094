"""metrics.json as types: what a run came to, with the unit, range and direction of every figure.

Optional fields are of some runs only, or younger than others: schema 1 as every version wrote it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.run_record import IndexRecord, QueryCounts
from bias_bench.evaluation.settings import Kind
from bias_bench.system.documents import Document, Measured, read_document
from bias_bench.system.files import write_json

SCHEMA = 1
FILE = "metrics.json"
LanguageTable = dict[str, dict[str, float | None]]  # rows, columns; None where nothing was measured


class NamedAverage(Document):
    """The mean over a named set of languages, each searched alone."""

    languages: list[str]
    """Codes of the languages."""
    values: dict[str, float]
    """By metric, in [0, 1], higher is better."""


class KindMeans(Document):
    """Retrieval in all settings of one kind; every value in [0, 1], higher is better."""

    macro: dict[str, float]
    """By metric, the mean over settings."""
    per_setting: dict[str, dict[str, float]]
    """By setting and metric, the mean over queries."""
    averages: dict[str, NamedAverage] = Field(default_factory=dict)
    """The benchmark's own averages, by name."""


class Average(Document):
    """Any figure by query language, in its own unit."""

    macro: float
    """The mean over languages."""
    per_language: dict[str, float]
    """By query language, the mean over queries."""


class RankAverage(Average):
    """An average that follows from ranks."""

    cutoff: int | None = None
    """Down to where ranks are known; None: all are."""


class FoundDistance(Document):
    """Rank distance of the queries with a parallel answer near the top."""

    macro: float | None = None
    """Mean over languages, in ranks, at least 0, lower is better; None without such queries."""
    share: float
    """Share of queries that have such an answer, in [0, 1], higher is better."""
    led: float | None = None
    """Share of queries with one in first place, in [0, 1], higher is better."""


class SignedDifferences(Document):
    """Mean differences of ranks, row less column; above 0 the row's language stands behind."""

    candidate_languages: LanguageTable
    """Between candidate languages."""
    to_query_language: LanguageTable
    """By query language, of each candidate language to the query's own."""


class RankDistanceMeans(RankAverage):
    """Ranks between the first and the last parallel answer, at least 0; lower is better."""

    median: float
    """Mean over languages of the median over queries, in ranks."""
    median_per_language: dict[str, float] = Field(default_factory=dict)
    """By query language, the median over queries, in ranks."""
    normalised: float | None = None
    """`macro` by the largest possible distance, in [0, 1], lower is better."""
    left_out: int = 0
    """Queries whose topic is answered in one language only."""
    not_retrieved: int = 0
    """Queries without a parallel answer above the cut-off."""
    log: Measured[Average] = None
    """The same of natural logarithms of ranks; lower is better."""
    mean_pairwise: Measured[Average] = None
    """Mean distance of two answers, in ranks, lower is better."""
    found: FoundDistance | None = None
    """Of the queries with an answer in the top ten."""
    signed_differences: SignedDifferences | None = None
    """Which languages stand behind which."""


class LanguageShare(Average):
    """Share of the query's language in the first results, in [0, 1]; neutral: that of the pool."""

    shares: LanguageTable = Field(default_factory=dict)
    """Share of every candidate language, by query language."""


class SameLanguageFirst(RankAverage):
    """Share of queries whose own-language answer leads its translations, in [0, 1]."""

    chance: Average
    """What it would be without preference."""
    first: LanguageTable = Field(default_factory=dict)
    """Share of queries that an answer in each candidate language leads, by query language."""


class Exposure(Document):
    """Attention by language against targets, by the name of the target."""

    cutoff: int
    """Ranks that get attention."""
    awrf: dict[str, Measured[Average]]
    """1 less the Jensen-Shannon divergence, in [1 - ln 2, 1], higher is closer."""
    ee_l: dict[str, Measured[Average]]
    """Squared distance of the shares, in [0, 2], lower is closer."""
    same_as: dict[str, str] = Field(default_factory=dict)
    """Targets that equal another, and which."""
    anchors: dict[str, dict[str, dict[str, float]]] = Field(default_factory=dict)
    """By anchor, measure and target: rankings blind to language, and those of one alone."""
    shares: LanguageTable = Field(default_factory=dict)
    """Share of attention of every candidate language, by query language."""


class LanguageValue(Document):
    """A language and its AP."""

    language: str
    """Its code."""
    value: float
    """Its AP, in [0, 1], higher is better."""


class Gaps(Average):
    """How far AP in [0, 1] is from even over languages."""

    worst: LanguageValue
    """The language with the lowest AP."""
    range: float
    """Best less worst AP, in [0, 1]; 0: even."""
    gini: float
    """Mean difference of two languages over twice the mean, in [0, 1); 0: even."""


class LanguageGaps(Document):
    """Gaps in AP between languages."""

    query: Gaps
    """Between query languages, in the pool of all languages."""
    candidate: Gaps
    """Between candidate languages, of single answers."""


class FriedmanResult(Document):
    """Whether candidate languages are ranked in a systematic order."""

    statistic: float
    """Chi-square distributed where there is none, at least 0."""
    degrees: int
    """Degrees of freedom."""
    p: float
    """p-value, in [0, 1]."""
    blocks: int
    """Units that were ranked."""
    relative_ranks: dict[str, float]
    """By candidate language, from 0, always first, to 1, always last."""


class Friedman(Document):
    """The tests over all queries and by query language."""

    unit: str = "topic"
    """What a block is; earlier versions took topics as independent."""
    all_queries: FriedmanResult
    """Over all query languages."""
    per_language: dict[str, FriedmanResult]
    """By query language."""
    cutoff: int | None = None
    """Down to where ranks are known; None: all are."""


class LanguageNdcg(Average):
    """nDCG@20 with gain 1 for the query's language and less for others, in [0, 1]."""

    gain_of_others: float
    """Gain of relevant candidates in other languages, in [0, 1]."""
    own_only: Average
    """The same with gain 0 for other languages."""


class RankShift(RankAverage):
    """What ranks gain by being in the query's language, in percent of the most they could."""

    chance: Average
    """The mean with every language in the place of the query's, in percent."""


class MergeCeiling(RankAverage):
    """AP of the best merge of rankings of one language each, in [0, 1], higher is better."""

    ap: Average
    """AP in the pool of all languages of the same queries, in [0, 1], higher is better."""
    gap: Average
    """The ceiling less that, lower is better: lost as scores of languages do not compare."""
    reached: float
    """Pooled AP over the ceiling, at least 0; 1: nothing is lost between languages."""
    left_out: int
    """Queries with several answers in a language, or one in a pool that was not searched."""


class Hubness(Average):
    """Skewness of how often candidates are in a top ten, by candidate language; 0: symmetric."""

    cutoff: int
    """Results of a query that are counted."""
    never: Average
    """Share of candidates in no query's top ten, by candidate language, in [0, 1]."""


class ProbeResult(Document):
    """Accuracy of a linear classifier of languages, in [0, 1]; lower is more language-agnostic."""

    macro: float
    """Over all texts."""
    chance: float
    """What naming the most frequent language is right for, in [0, 1]."""
    per_language: dict[str, float]
    """Share of each language's texts that are told, in [0, 1]."""
    cross_covariance: float
    """How far vectors and languages vary together, at least 0; 0: nothing for such a classifier."""
    texts: int
    """Number of texts."""


class ProbeRecord(ProbeResult):
    """The probe of the encoder, and of the one that it was trained from."""

    before: ProbeResult | None = None
    """The encoder before training, where it was trained."""
    adversary_accuracy: float | None = None
    """Share that the adversary of training was right for in the end, in [0, 1]."""


class Bias(Document):
    """Language bias in the pool of all languages; None for what was not measured.

    Metrics without a type of their own hold means, counts and tables (docs/definitions.md).
    """

    rank_distance: Measured[RankDistanceMeans] = None
    """Ranks between parallel answers."""
    worst_rank: Measured[RankAverage] = None
    """Rank of the last parallel answer, at least 1, lower is better."""
    same_language_top1: Measured[LanguageShare] = None
    """Languages of the first result."""
    same_language_top10: Measured[LanguageShare] = None
    """Languages of the first ten results."""
    same_language_first: Measured[SameLanguageFirst] = None
    """Which language's answer is first."""
    top_hit: dict[str, Measured[Average]] = Field(default_factory=dict)
    """First results by relevance and language: shares of queries, in [0, 1], which sum to 1."""
    exposure: Measured[Exposure] = None
    """Attention by language against targets, with anchors."""
    rank_biased_overlap: Measured[Average] = None
    """Of the rankings of parallel queries, in [0, 1], 1: the same; higher is better."""
    kendall: Measured[Average] = Field(default=None, alias="kendall@10")
    """Tau-b of the top tens of parallel queries, in [-1, 1], higher is better."""
    target_removal: Measured[RankAverage] = None
    """AP lost with the own language's answer less that with another's, in (-1, 1); neutral: 0."""
    single_target: Measured[RankAverage] = None
    """AP of the own language's answer alone less that of another's, in (-1, 1); neutral: 0."""
    language_gaps: Measured[LanguageGaps] = None
    """Gaps in AP between languages."""
    friedman: Measured[Friedman] = None
    """Whether candidate languages are ranked in a systematic order."""
    peer: Measured[Average] = None
    """p-value of equal ranks by language, in [0, 1], higher is fairer."""
    lang_ndcg: Measured[LanguageNdcg] = Field(default=None, alias="lang_ndcg@20")
    """nDCG that gains more from the query's language, in [0, 1], higher is better."""
    tlr: Measured[Average] = Field(default=None, alias="tlr@20")
    """Recall at 20 of relevant candidates in other languages, in [0, 1], higher is better."""
    mlrs: Measured[RankShift] = None
    """What ranks gain by being in the query's language, in percent; neutral: `chance`."""
    mrc: Measured[Average] = Field(default=None, alias="mrc@10")
    """Rho of the top tens of parallel queries, in [-1, 1], higher is better."""
    merge_ceiling: Measured[MergeCeiling] = None
    """AP that the rankings of each language allow, and what pooled AP lacks of it."""
    hubness: Measured[Hubness] = None
    """Whether a few candidates crowd the top of many rankings."""
    language_probe: ProbeRecord | None = None
    """How well embeddings tell their language."""


class PerturbationEffect(Document):
    """Means over queries, clean and perturbed."""

    ap_clean: float
    """AP of the clean queries, in [0, 1], higher is better."""
    ap: float
    """AP of the perturbed queries, in [0, 1], higher is better."""
    loss: float
    """The first less the second, in [-1, 1], lower is better."""
    first_clean: float
    """Share of clean queries whose first result is relevant, in [0, 1], higher is better."""
    first_lost: float
    """Share of queries where it was, and is not when perturbed, in [0, 1], lower is better."""
    overlap: float
    """Rank-biased overlap of the two top tens, in [0, 1], higher is better."""
    changed: float
    """Share of queries whose text was changed, in [0, 1]."""


class Perturbed(Document):
    """What one perturbation of one strength does."""

    macro: Measured[PerturbationEffect]
    """The mean over the languages that have it; None without one."""
    per_language: dict[str, PerturbationEffect]
    """By query language."""
    not_applicable: list[str] = Field(default_factory=list)
    """Languages that do not have it."""


class RobustnessMeans(Document):
    """What perturbations of the questions do."""

    topics: int
    """Topics that were asked again."""
    of: int
    """Topics of the benchmark."""
    seed: int
    """What decides the topics and the perturbations."""
    perturbations: dict[str, dict[str, Perturbed]]
    """By kind and strength."""


class LowestRecall(Document):
    """The pool in which an index finds least."""

    pool: str
    """A language, or ``all``."""
    value: float
    """Its recall, in [0, 1], higher is better."""


class PoolRecall(Document):
    """The index of one pool, with its recall as ``recall@10``."""

    vectors: int
    """Candidates in it."""
    queries: int
    """Queries that recall was measured on."""


class IndexRecall(IndexRecord):
    """Approximate indexes: their settings, and by depth what they find of the exact results."""

    macro: dict[str, float]
    """By ``recall@10``: the mean over pools, in [0, 1], higher is better."""
    lowest: dict[str, LowestRecall]
    """By ``recall@10``: where it is lowest."""
    per_pool: dict[str, PoolRecall]
    """By pool."""

    @model_validator(mode="after")
    def _every_recall_is_known(self) -> Self:
        pools = [pool.model_extra or {} for pool in self.per_pool.values()]
        for name in self.macro:
            if name not in self.lowest or not all(isinstance(p.get(name), float) for p in pools):
                raise ValueError(f"{name} is not known of every pool")
        return self


class ScorerAgreement(Document):
    """How far scorers differ."""

    max_abs_difference: float
    """The largest difference of a value, at least 0, lower is better."""
    compared: int
    """Values that were compared."""


class Scorers(Document):
    """The scorers beside each other."""

    agreement: ScorerAgreement
    """Of all of them with the exact ranks."""


class Metrics(Document):
    """The content of metrics.json: every aggregate of a run."""

    schema_: int = Field(alias="schema")
    """The form of this document."""
    kind: str | None = None
    """``external`` for rankings of another tool."""
    benchmark: str
    """The benchmark's name."""
    system: str
    """What was run, as ``recipe@backbone#seed``."""
    cutoff: int | None = None
    """Down to where ranks are known; None: all are."""
    retrieval: dict[Kind, KindMeans] = Field(min_length=1)
    """By kind of setting."""
    counts: dict[str, QueryCounts] = Field(default_factory=dict)
    """By setting."""
    without_queries: list[str] = Field(default_factory=list)
    """Settings that are left out, as no query in them has a relevant candidate."""
    bias: Bias
    """Language bias."""
    scorers: Scorers
    """The scorers beside each other."""
    robustness: RobustnessMeans | None = None
    """What perturbations do, where that was asked for."""
    found: dict[str, float] | None = None
    """BM25: by setting, the share of relevant candidates with a term of the query, in [0, 1]."""
    index: IndexRecall | None = None
    """What approximate indexes find, where there are any."""
    timings: dict[str, float] = Field(default_factory=dict)
    """Seconds by step."""

    @property
    def average_precision(self) -> str:
        """``AP``, or AP down to where the rankings end."""
        return f"AP@{self.cutoff}" if self.cutoff else "AP"

    @model_validator(mode="after")
    def _every_kind_has_average_precision(self) -> Self:
        for kind, means in self.retrieval.items():
            if self.average_precision not in means.macro:
                raise ValueError(f"retrieval.{kind}.macro has no {self.average_precision}")
        return self

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The metrics of a run folder.

        BiasBenchError where it has none, or those of a newer version; DataError where they are
        damaged.
        """
        path, advice = folder / FILE, "repeat the run"
        if not path.is_file():
            raise BiasBenchError(f"{folder}: holds no {FILE}; finish it with `biasbench run`")
        return cls.parse(read_document(path, SCHEMA, advice), path, advice)

    def save(self, folder: Path, timings: dict[str, float]) -> Path:
        """Write them with what the run took so far, in seconds by step; returns the file."""
        write_json(folder / FILE, self.model_copy(update={"timings": timings}).dump())
        return folder / FILE
