"""A comparison as a document: what `biasbench compare --format json` writes, field by field.

Means and differences are in the metric's unit, which `unit` names; numbers that do not exist are
None (``null``). What was not asked for (`equivalence`, `t`, `wilcoxon`, `tukey`) is absent from
the JSON.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bias_bench.data.units import Unit
from bias_bench.errors import BiasBenchError, DataError
from bias_bench.evaluation.settings import KINDS
from bias_bench.significance.measures import Direction, capped_name
from bias_bench.significance.options import ALSO, Correction, Family
from bias_bench.system.files import parse_json

SCHEMA = 1

SIGN_FLIPS: Final = "sign flips of clusters"
SEED_BOOTSTRAP: Final = "bootstrap of seeds and clusters"
Test = Literal["sign flips of clusters", "bootstrap of seeds and clusters"]
Count = Annotated[int, Field(strict=True, ge=0)]
Number = Annotated[float, Field(strict=True)]
PValue = Annotated[float, Field(strict=True, ge=0, le=1)]
KindName = Annotated[str, Field(pattern=f"^({'|'.join(KINDS)})$")]
Further = Annotated[str, Field(pattern=f"^({'|'.join(ALSO)})$")]
Interval = tuple[Number | None, Number | None]  # low, high; both None where nothing is known


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Equivalence(_Part):
    """Two one-sided tests of a difference against the margin, not adjusted."""

    equivalent: PValue | None = Field(description="small where the difference is within ± margin")
    no_worse: PValue | None = Field(
        description="small where the system is no worse than the margin allows; None where no "
        "direction is better"
    )
    interval: Interval = Field(description="of confidence 1 - 2 × level, to set beside ± margin")


class FurtherTest(_Part):
    """A test on request, blind to clusters and not adjusted."""

    statistic: Number | None = Field(description="t, or Wilcoxon's signed-rank statistic")
    p: PValue | None = Field(description="two-sided")
    flags: tuple[str, ...] = Field(description="assumptions that fail here, a line each")


class Cell(_Part):
    """A system beside the baseline in one setting, or on the macro average of one kind."""

    baseline: Number = Field(description="the baseline's mean")
    system: Number = Field(description="the system's mean")
    difference: Number = Field(description="`system` - `baseline`")
    interval: Interval = Field(description="of the difference, on its own")
    simultaneous: Interval = Field(description="of the difference; all of a family hold at once")
    p: PValue | None = Field(description="two-sided, of “no difference”; None without tests")
    p_adjusted: PValue | None = Field(description="`p` adjusted over its family")
    d_z: Number | None = Field(
        description="difference over the standard deviation of the units' mean differences; its "
        "sign is that of the difference"
    )
    rank_biserial: Number | None = Field(
        ge=-1,
        le=1,
        description="matched-pairs rank-biserial correlation of the topics' differences; "
        "positive where the system's are larger",
    )
    wins: Count = Field(
        description="topics on which the system is better (larger without direction)"
    )
    ties: Count = Field(description="topics on which both are equal")
    losses: Count = Field(description="topics on which the system is worse")
    n: Count = Field(description="units of resampling that have a value here")
    settings: Count | None = Field(
        default=None, description="settings that a macro average is over"
    )
    equivalence: Equivalence | None = Field(default=None, description="with a margin")
    t: FurtherTest | None = Field(default=None, description="Student's t-test, if asked for")
    wilcoxon: FurtherTest | None = Field(default=None, description="Wilcoxon's test, if asked for")


class Unanswered(_Part):
    """Queries of a run that have no result at all."""

    queries: Count = Field(description="how many")
    of: Count = Field(description="how many the run has in the compared settings")


class System(_Part):
    """A system and its runs."""

    system: str = Field(description="recipe@backbone#seed, without #seed where it has several")
    label: str = Field(description="the shortest name that sets it apart from the others")
    runs: tuple[str, ...] = Field(description="names of its run folders")
    seeds: tuple[Count, ...] = Field(description="the seed of each run")
    unanswered: dict[str, Unanswered] = Field(description="by run, where there are such queries")


class ComparedSystem(System):
    """A system set against the baseline."""

    test: Test | None = Field(description="where p-values are from; None without tests")
    groups: dict[KindName, Cell] = Field(description="macro averages by kind of setting")
    settings: dict[str, Cell] = Field(description="by setting, such as ``en-de``")


class PooledFigures(BaseModel):
    """Quality and bias in the pool of all languages; None where a run has no such figure.

    In JSON their names carry the cut-off, where there is one: ``AP@100``, ``rank_distance@100``.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, Number | None] = Field(init=False)

    @property
    def precision(self) -> float | None:
        """AP, from 0 to 1; higher is better."""
        return self._named("AP")

    @property
    def distance(self) -> float | None:
        """Rank distance, in ranks; lower is better, beside a good AP."""
        return self._named("rank_distance")

    def _named(self, base: str) -> float | None:
        return next(v for k, v in self.__pydantic_extra__.items() if k.partition("@")[0] == base)


class Overview(PooledFigures):
    """One system's pooled figures: macro averages over all its queries, the mean of its seeds.

    With a cut-off k there is ``R@k`` too: the share of the relevant candidates in the top k.
    """

    system: str = Field(description="as in `systems`")
    label: str = Field(description="as in `systems`")
    same_language_top1: Number | None = Field(
        ge=0,
        le=1,
        description="share of queries whose first result is in the query's language; without bias "
        "that language's share of the pool",
    )
    seeds: tuple[PooledFigures, ...] = Field(description="AP and rank distance of each seed")

    @property
    def retrieved(self) -> float | None:
        """R at the cut-off, from 0 to 1; higher is better."""
        return self._named("R")


class Omitted(_Part):
    """What was left out because not all runs have it."""

    topics: Count = Field(description="topics without a value that all runs have")
    settings: tuple[str, ...] = Field(description="names of settings without one")
    cells: Count = Field(description="further values of a topic in a setting")
    missing: Count = Field(description="values of a topic in a setting that no run has")


class Pair(_Part):
    """Two systems on the macro average of one kind of setting."""

    system: str = Field(description="name of the one")
    other: str = Field(description="name of the other")
    difference: Number = Field(description="`system` - `other`")
    p: PValue = Field(description="two-sided, adjusted over the pairs of this kind")
    d_z: Number | None = Field(description="as in `Cell`")


class AllPairs(_Part):
    """All pairs of systems, by step-down max-T."""

    permutations: Count = Field(description="draws of the test")
    groups: dict[KindName, tuple[Pair, ...]] = Field(description="by kind, the same pairs in each")


class ComparisonDocument(_Part):
    """Systems beside a baseline. `load` reads it, `as_json` is what JSON holds."""

    schema_version: Literal[1] = Field(alias="schema", description="of this form")
    benchmark: str = Field(description="name of the benchmark of all runs")
    metric: str = Field(description="what is compared, with its cut-off")
    cutoff: Count | None = Field(description="the last rank that is known; None where all are")
    direction: Direction = Field(description="which values of the metric are better")
    unit: str = Field(description="of the metric, in words")
    better: str = Field(description="`direction` in words")
    significance: Annotated[bool, Field(strict=True)] = Field(
        description="whether differences were tested"
    )
    baseline: str = Field(description="name of the baseline's system")
    cluster: Unit = Field(description="the unit of resampling")
    permutations: Count | None = Field(description="draws and replicates; None without tests")
    correction: Correction | None = Field(description="None without tests")
    family: Family | None = Field(description="what `p_adjusted` is over; None without tests")
    confidence: Number | None = Field(
        gt=0.5, lt=1, description="of the intervals; None without tests"
    )
    margin: int | float | None = Field(
        gt=0, description="of equivalence, in the metric's unit; None if not asked for"
    )
    seed: Count = Field(description="of the random draws")
    also: tuple[Further, ...] = Field(description="further tests asked for")
    topics: Count = Field(description="topics that were compared")
    clusters: Count = Field(description="units of resampling that they make")
    omitted: Omitted = Field(description="what was left out")
    overview: tuple[Overview, ...] = Field(description="all systems, the baseline first")
    baseline_system: System = Field(description="the baseline")
    systems: tuple[ComparedSystem, ...] = Field(min_length=1, description="all others")
    tukey: AllPairs | None = Field(default=None, description="with three systems or more")
    warnings: tuple[str, ...] = Field(description="what to know before believing the figures")
    methods: tuple[str, ...] = Field(description="sentences for a paper: what was done")
    references: tuple[str, ...] = Field(description="works that `methods` cites")

    @property
    def level(self) -> float:
        """The level of significance that goes with the intervals' confidence."""
        return round(1 - (self.confidence or 0.95), 10)

    @property
    def percent(self) -> str:
        """The confidence of the intervals in per cent."""
        return f"{100 * (self.confidence or 0.95):g}"

    @property
    def tests(self) -> set[Test | None]:
        """Where p-values are from, over all systems."""
        return {entry.test for entry in self.systems}

    def as_json(self) -> dict[str, Any]:
        """The object that JSON holds."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @model_validator(mode="after")
    def _figures_are_named(self) -> ComparisonDocument:
        names = {capped_name(name, self.cutoff) for name in ("AP", "rank_distance")}
        of_mean = names | ({capped_name("R", self.cutoff)} if self.cutoff else set())
        for row in self.overview:
            for figures, names_needed in ((row, of_mean), *((seed, names) for seed in row.seeds)):
                if figures.__pydantic_extra__.keys() != names_needed:
                    raise ValueError(f"overview of {row.system} must have {sorted(names_needed)}")
        return self


def load(source: Path | str) -> ComparisonDocument:
    """The comparison that a file (Path) or a JSON text (str) holds.

    Raises DataError, one line that names the field, for what is not a comparison or cannot be
    read; BiasBenchError for one of another schema.
    """
    where = source if isinstance(source, Path) else "the comparison"
    try:
        text = source.read_text("utf-8") if isinstance(source, Path) else source
        content = parse_json(text)
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror})") from None
    except ValueError as error:  # of the bytes, or of the text
        raise DataError(f"{where}: not valid JSON ({error})") from None
    if isinstance(content, dict) and content.get("schema", SCHEMA) != SCHEMA:
        raise BiasBenchError(
            f"{where}: schema {content['schema']!r} is not known to this version of biasbench; "
            "update it"
        )
    try:
        return ComparisonDocument.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the whole"
        raise DataError(f"{where}: {field}: {first['msg']}; compare the runs again") from None
