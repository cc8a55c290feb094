"""manifest.json as types: what a run folder holds, and what made it.

Optional fields are of some runs only, or younger than others: schema 1 as every version wrote it.
Hexadecimal digests are of sha256; times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from bias_bench.data.audit_record import AuditRecord
from bias_bench.errors import DataError, nearest
from bias_bench.system.documents import Document, read_document
from bias_bench.system.files import digest, json_text, parse_json, write_json

SCHEMA = 1
FILE = "manifest.json"
EXTERNAL = "external"  # the kind of a folder that holds another tool's rankings
COMPLETE = "complete"
LAST_STAGE = "metrics"  # of every kind of run; a report is beside it
NO_PRECISION = "none"  # of a system that encodes nothing
REPAIR = "restore it from a copy, or compute the run again with --policy always"
_CHECKSUM = "sha256"  # of the rest of the manifest


class OutputFile(Document):
    """A file that a stage made."""

    bytes: int
    """Its size."""
    sha256: str
    """Digest of its content."""


class EncodingProfile(Document):
    """How texts became one vector each."""

    pooling: str
    """Such as ``mean``."""
    query_prefix: str
    """What stood before each query."""
    candidate_prefix: str
    """What stood before each candidate."""
    query_max_length: int
    """Tokens of a query that were read at most."""
    candidate_max_length: int
    """Tokens of a candidate that were read at most."""
    include_prompt: bool = True
    """Whether tokens of the prefix were pooled."""


class Encoding(Document):
    """How vectors came about."""

    precision: str
    """Of the computation: ``float32``, ``bf16``, ``none`` without vectors, or ``unknown``."""
    device: str | None = None
    """Such as ``cpu``."""
    profile: EncodingProfile | None = None
    """Prefixes, lengths and pooling; None of what encodes in its own way, or encodes nothing."""
    origin: dict[str, str] | None = None
    """By field of the profile, the file, profile or default that it comes from."""
    after_pooling: list[str] = Field(default_factory=list)
    """What follows the pooling."""
    similarity: str | None = None
    """``cosine`` or ``dot``."""
    asked: str | None = None
    """How a model that encodes in its own way was asked for vectors."""


class ObjectRecord(Document):
    """A model that was a Python object."""

    class_: str = Field(alias="class")
    """Name of its class."""
    name: str
    """What it was called."""
    asked: str | None = None
    """How it was asked for vectors."""
    similarity: str
    """``cosine`` or ``dot``."""
    dimensions: int
    """Length of its vectors."""


class GitState(Document):
    """The checkout that the code was of; None outside of one."""

    commit: str | None
    """Digest of the commit."""
    dirty: bool | None
    """Whether files had been changed since."""


class Host(Document):
    """The machine."""

    system: str
    """The operating system."""
    processor: str
    """Its name."""
    cores: int | None
    """Cores that could be used."""


class Environment(Document):
    """Where, and with what, a stage was computed."""

    versions: dict[str, str]
    """Of biasbench, Python and libraries."""
    git: GitState
    """The code."""
    host: Host
    """The machine."""
    device: str | None = None
    """What encoders computed on, such as ``cpu``; None without one."""
    precision: str | None = None
    """In which precision they did."""


class StageRecord(Document):
    """A finished stage."""

    number: int = 0
    """Its place in the run, from 0."""
    key: str
    """Digest of what decides its files."""
    inputs: dict[str, str] = Field(default_factory=dict)
    """Digest of each of the values that decide them, by name."""
    needs: dict[str, str] | None = None
    """Digest of the files of earlier stages that decide them, by ``stage`` or ``stage:pattern``."""
    seconds: float = 0.0
    """What it took."""
    parts: dict[str, float] = Field(default_factory=dict)
    """What parts of it took, in seconds, where they were timed."""
    peak_memory_bytes: int | None = None
    """The most that the process had held by its end."""
    memory_budget_bytes: int | None = None
    """What it was allowed; None: no limit."""
    environment: Environment | None = None
    """None in records of earlier versions, which describe the last stage of a run alone."""
    outputs: dict[str, OutputFile]
    """Its files, by path from the run folder."""


class Failure(Document):
    """How the last attempt at a run ended, if not well."""

    stage: str
    """The stage that was being computed."""
    ending: str
    """``failed`` or ``interrupted``."""


class AgreementRecord(Document):
    """How far scorers differed."""

    max_abs_difference: float
    """The largest difference of a value, at least 0, lower is better."""
    compared: int
    """Values that were compared."""
    limit: float
    """The largest difference allowed."""
    worst: str | None = None
    """Where the largest difference is."""
    trec_eval: str | None = None
    """What trec_eval was called through, with its version."""


class DebiasRecord(Document):
    """Debiasing, as it was fitted."""

    method: str
    """Such as ``lir``."""
    rank: int | None = None
    """Directions that ``lir`` removes of each language."""
    languages: list[str]
    """Languages of the texts that it was fitted on."""
    data_sets: list[str]
    """Where the texts are from."""
    texts: int
    """Number of texts."""
    sha256: str
    """Digest of the texts."""


class LexicalParameters(Document):
    """The parameters of BM25."""

    k1: float
    """Saturation of term frequency, at least 0."""
    b: float
    """Length normalisation, in [0, 1]."""


class LexicalRecord(Document):
    """How BM25 analysed and weighed texts."""

    method: str = "bm25"
    """Always ``bm25``."""
    parameters: LexicalParameters
    """How terms are weighed."""
    score_not_found: float | None = None
    """Score of a candidate without a term of the query."""
    analyzers: dict[str, str]
    """By language."""


class FusedRun(Document):
    """A run that was fused."""

    name: str
    """Of its folder."""
    system: str
    """What was run, as ``recipe@backbone#seed``."""
    trec: str
    """Digest of all its TREC files."""


class FusionRecord(Document):
    """How finished runs were made one."""

    method: str
    """``rrf`` or ``wsum``."""
    k: int | None = None
    """Constant of ``rrf``."""
    normalisation: str | None = None
    """Of the scores of ``wsum``."""
    weights: list[float] = Field(default_factory=list)
    """Of the runs in ``wsum``."""
    runs: list[FusedRun]
    """The runs, in order."""


class ScoredInput(Document):
    """A file, or a pattern, that `biasbench score` read."""

    role: str
    """What it says: ``run``, ``qrels``, ``languages``, ``topic pattern``, …"""
    name: str | None = None
    """Of a file."""
    sha256: str | None = None
    """Digest of a file."""


class QueryCounts(Document):
    """The queries of one setting."""

    queries: int
    """Queries that were scored."""
    missing: int = 0
    """Of those, the ones without a single result, which count 0."""
    without_relevant: int = 0
    """Others, without a relevant candidate, which were left out."""


class IndexRecord(Document):
    """An approximate index, as it was asked for; once searched, also what it finds."""

    kind: str
    """Such as ``hnsw``."""

    @property
    def settings(self) -> dict[str, Any]:
        """What was built, and how, by name."""
        return self.model_dump(exclude={"macro", "lowest", "per_pool"})


class RunRecord(Document):
    """The content of manifest.json: what was run on what, by which code, on which machine."""

    schema_: int = Field(alias="schema")
    """The form of this document."""
    status: str | None = None
    """What follows from the stages (`status_of`): ``complete`` or how far the run is."""
    failure: Failure | None = None
    """How the last attempt ended, if not well."""
    kind: str | None = None
    """``external`` for rankings of another tool, and for fused runs."""
    name: str
    """Of the folder, when it was made."""
    benchmark: str
    """The benchmark's name."""
    demonstration: bool = False
    """Whether the benchmark supports no claim."""
    licence: str | None = None
    """Of the benchmark."""
    note: str | None = None
    """What must stand beside every figure."""
    system: str
    """What was run, as ``recipe@backbone#seed``."""
    seeds: list[int] = Field(min_length=1)
    """The experiment's seed first."""
    collection: str
    """Digest of the benchmark's content."""
    data: dict[str, str] = Field(default_factory=dict)
    """Digest of each file of the benchmark."""
    weights: dict[str, str] = Field(default_factory=dict)
    """Digest of each file of the encoder."""
    experiment: str | None = Field(default=None, alias="experiment.yaml")
    """Digest of the experiment."""
    languages: list[str] | None = None
    """Codes of the benchmark's languages."""
    without_queries: list[str] = Field(default_factory=list)
    """Settings that are left out, as no query in them has a relevant candidate."""
    depth: int | None = None
    """Down to where ranks are known; None: all are."""
    encoding: Encoding
    """How vectors came about."""
    model: ObjectRecord | None = None
    """The model, where it was a Python object."""
    interface: str | None = None
    """The function that was called, where no command repeats the run."""
    index: IndexRecord | None = None
    """The approximate index; None: exact search."""
    debias: DebiasRecord | None = None
    """Debiasing, where there was any."""
    lexical: LexicalRecord | None = None
    """BM25, where it was that."""
    fusion: FusionRecord | None = None
    """The runs that were fused, where it was that."""
    audit: AuditRecord | None = None
    """The audit of training data, where there was any."""
    inputs: list[ScoredInput] = Field(default_factory=list)
    """What `biasbench score` read."""
    counts: dict[str, QueryCounts] = Field(default_factory=dict)
    """`biasbench score`: by setting, what was counted."""
    agreement: AgreementRecord | None = None
    """How far scorers differed; None before they ran."""
    stages: dict[str, StageRecord] = Field(default_factory=dict)
    """The finished stages, by name."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Records of earlier versions: `Environment.versions` of the stage that was computed last."""
    git: GitState | None = None
    """Likewise."""
    host: Host | None = None
    """Likewise."""
    timings: dict[str, float] = Field(default_factory=dict)
    """Records of earlier versions: seconds by step."""

    @property
    def complete(self) -> bool:
        """Whether the run has ended well."""
        return self.status == COMPLETE

    @property
    def external(self) -> bool:
        """Whether it holds rankings of another tool, or fused ones."""
        return self.kind == EXTERNAL

    @property
    def environments(self) -> list[tuple[list[str], Environment]]:
        """The environments that stages were computed in, each with the names of those stages."""
        groups: list[tuple[list[str], Environment]] = []
        for name, done in sorted(self.stages.items(), key=lambda item: item[1].number):
            known = done.environment
            if known is None and self.git and self.host:
                known = Environment(versions=self.versions, git=self.git, host=self.host)
            same = [names for names, environment in groups if environment == known]
            if same:
                same[0].append(name)
            elif known:
                groups.append(([name], known))
        return groups

    @property
    def seconds(self) -> dict[str, float]:
        """What each stage, and each timed part of one, took."""
        found = dict(self.timings)
        for name, done in self.stages.items():
            if done.environment or name not in found:
                found |= {name: done.seconds, **done.parts}
        return found

    def outputs(self, need: str) -> dict[str, str]:
        """sha256 of each file of a ``stage``, or of those that match (``stage:pattern``)."""
        name, _, pattern = need.partition(":")
        files = self.stages[name].outputs if name in self.stages else {}
        return {
            path: file.sha256
            for path, file in sorted(files.items())
            if fnmatchcase(path, pattern or "*")
        }

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The record of a run folder.

        DataError where it is absent or damaged, BiasBenchError where it is from a newer version.
        """
        record = cls.parse(read_manifest(folder), folder / FILE, REPAIR)
        return record.model_copy(update={"status": status_of(record)})

    def save(self, folder: Path) -> None:
        """Write it, with a checksum, so that it is there after a power cut too."""
        content = self.dump()
        write_json(folder / FILE, {**content, _CHECKSUM: _digest(content)}, durable=True)


def status_of(record: RunRecord) -> str:
    """How far a run is, from its stages.

    ``complete`` where its last stage, `metrics`, and all that it stands on are there, none of them
    younger than what stands on it; else ``failed in …``, ``interrupted in …``, ``stopped after …``
    or ``not begun``. Records of earlier versions say it themselves.
    """
    stages = record.stages
    if all(done.needs is None for done in stages.values()) and not record.failure:
        return record.status or "not begun"

    def current(name: str) -> bool:
        if name not in stages:
            return False
        needs = stages[name].needs or {}
        return all(
            current(need.partition(":")[0]) and digest(record.outputs(need)) == taken
            for need, taken in needs.items()
        )

    if current(LAST_STAGE):
        return COMPLETE
    if record.failure:
        return f"{record.failure.ending} in {record.failure.stage}"
    reached = [(done.number, name) for name, done in stages.items() if current(name)]
    return f"stopped after {max(reached)[1]}" if reached else "not begun"


def read_manifest(folder: Path) -> dict[str, Any]:
    """A run folder's manifest as JSON, which is as its checksum says; errors as of `load`."""
    path = folder / FILE
    if not path.is_file():
        alike = nearest(folder.name, {run.parent.name for run in folder.parent.glob(f"*/{FILE}")})
        hint = f"; {alike}" if alike.startswith("did you mean") else ""
        raise DataError(f"{folder}: not a run folder (no {FILE}){hint}")
    content = read_document(path, SCHEMA, REPAIR)
    checksum = content.pop(_CHECKSUM, None)  # manifests of earlier versions have none
    if checksum is not None and checksum != _digest(content):
        raise DataError(f"{path}: damaged (its checksum differs); {REPAIR}")
    return content


def _digest(content: dict[str, Any]) -> str:
    """Of the content as it reads back, which has lists for tuples and texts for keys."""
    return digest(parse_json(json_text(content)))
