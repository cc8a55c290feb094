"""Score rankings that another tool made: from TREC files to a folder like that of a run."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bias_bench import __version__
from bias_bench.bias.catalogue import measure_bias
from bias_bench.errors import UsageError
from bias_bench.evaluation.aggregate import aggregate
from bias_bench.evaluation.entries import read_entries
from bias_bench.evaluation.external import External, notes, rank_external, write_external
from bias_bench.evaluation.given_files import GivenFile, given_files
from bias_bench.evaluation.labels import Clusters, read_labels
from bias_bench.evaluation.metrics import parse_metric, scored_metrics
from bias_bench.evaluation.metrics_document import SCHEMA, Metrics
from bias_bench.evaluation.ranks import RankTable
from bias_bench.evaluation.run_record import (
    EXTERNAL,
    FILE,
    Encoding,
    RunRecord,
    ScoredInput,
)
from bias_bench.evaluation.run_record import SCHEMA as RECORD_SCHEMA
from bias_bench.evaluation.scores import mean_scores
from bias_bench.evaluation.settings import parse_setting
from bias_bench.evaluation.trec import entry_lines, require_plain_id
from bias_bench.runs.folder import FOLDER_NAME
from bias_bench.runs.graph import (
    Graph,
    Made,
    Policy,
    Stage,
    Work,
    earlier_record,
    execute,
    require_allowed,
)
from bias_bench.runs.measured import metrics_stage, score_stage, scorer_agreement
from bias_bench.system.console import say, warn
from bias_bench.system.files import (
    atomic_folder,
    folder_lock,
    plain_name,
    require_writable,
    sha256_file,
)
from bias_bench.system.library_caches import require_library_caches

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


class ScoreOptions(NamedTuple):
    """What to score, and where to put it; None and () leave things to their defaults.

    `runs` and `qrels` are FILE, SETTING=FILE or folders, as `given_files` reads them.
    """

    runs: Sequence[str]
    qrels: Sequence[str]
    languages: Path | None = None
    language_pattern: str | None = None
    topics: Path | None = None
    topic_pattern: str | None = None
    benchmark: str | None = None
    system: str | None = None
    seed: int = 0
    name: str | None = None
    out: Path = Path("runs")
    depth: int | None = None
    policy: Policy = "only-missing"
    metrics: Sequence[str] = ()


class Judged(NamedTuple):
    """What rankings are judged by: a benchmark with the digest of its content and the sizes of its
    pools by language, as far as they are known, and what its queries are about.
    """

    name: str
    data: str | None
    pools: dict[str, int]
    clusters: dict[str, Clusters]
    demonstration: bool


def score_external(options: ScoreOptions) -> Path:
    """Score the given rankings into a folder of their own; returns the folder.

    It is made beside its place and put there whole, so that a failed attempt leaves what was there.
    Finished stages are kept.
    """
    if options.depth is not None and options.depth < 1:
        raise UsageError(f"--depth {options.depth}: must be 1 or more")
    runs, qrels = given_files(options.runs, "run"), given_files(options.qrels, "qrels")
    judged = _judged(options, qrels)
    external = _ranked(options, runs, qrels, judged)
    system = require_plain_id(options.system or _tag(runs[0].path))
    default = _NOT_IN_NAMES.sub("-", f"{judged.name}-{system}-{options.seed}")
    name = options.name or plain_name(default, longest=200)
    if not FOLDER_NAME.fullmatch(name):
        raise UsageError(f"'{name}' cannot name a folder: use letters, digits, '.', '_' and '-'")
    folder = options.out / name
    if options.policy != "only-cache":
        require_writable(folder)
        require_library_caches()
    scored_metrics(external.depth, external.depth, list(map(parse_metric, options.metrics)))
    for note in notes(external):
        warn(note)
    record = _record(options, judged, external, system, name, runs, qrels)
    _require_same(folder, record, options.policy)
    require_allowed(earlier_record(folder, options.policy), folder, options.policy)
    decided = {
        "inputs": [_nameless(given) for given in record.inputs],
        "depth": external.depth,
        "tag": system,
        "pools": judged.pools,
        "data": external.data,
        "biasbench": __version__,
    }
    graph = Graph(
        record,
        _experiment(system, options.seed, external.depth),
        external_stages(lambda: external, system, judged.pools, lambda: decided, options.metrics),
    )
    if options.policy == "only-cache":
        execute(graph, folder, options.policy)
        return folder
    new = not folder.exists()
    with folder_lock(folder):
        try:
            with atomic_folder(folder) as beside:
                hidden = shutil.ignore_patterns(".*")
                shutil.copytree(folder, beside, dirs_exist_ok=True, ignore=hidden)
                execute(graph, beside, options.policy)
        finally:
            if new and [path.name for path in folder.iterdir()] == [".lock"]:
                shutil.rmtree(folder)
    say(f"folder: {folder}")
    return folder


def external_stages(
    rank: Callable[[], External],
    tag: str,
    pools: dict[str, int],
    inputs: Callable[[], dict[str, Any]],
    more: Sequence[str] = (),
) -> list[Stage]:
    """The stages of rankings that are known down to a depth alone: rankings, score, metrics.

    `more` are names of metrics beside the usual ones.
    """

    def rankings(work: Work) -> Made:
        external = rank()
        fields = {
            "depth": external.depth,
            "languages": external.languages,
            "counts": {str(ranked.setting): ranked.counts for ranked in external.settings},
            "extra_queries": {
                name: {"number": len(queries), "first": queries[0]}
                for name, queries in sorted(external.extra.items())
            },
            "graded": external.graded,
            "without_queries": [str(setting) for setting in external.empty],
        }
        checked = RunRecord.model_validate({**work.record.dump(), **fields})
        files = write_external(work.folder, external, tag, pools)
        return Made(files, {name: getattr(checked, name) for name in fields})

    return [
        Stage("rankings", rankings, inputs),
        score_stage("rankings", lambda work: work.record.depth or 0, more),
        metrics_stage(("rankings", "score"), _measure, {}),
    ]


def _ranked(
    options: ScoreOptions, runs: Sequence[GivenFile], qrels: Sequence[GivenFile], judged: Judged
) -> External:
    labels = read_labels(
        options.languages,
        options.language_pattern,
        options.topics,
        options.topic_pattern,
        judged.clusters,
    )
    return rank_external(read_entries(runs, qrels, labels), labels, options.depth)


def _judged(options: ScoreOptions, qrels: Sequence[GivenFile]) -> Judged:
    """From a run folder, if the judgements are those of one; else what the options say."""
    folder = Path(options.qrels[0])
    if len(options.qrels) == 1 and (folder / "ranks.parquet").is_file():
        judged = judged_as(folder)
        own_topics = options.topics or options.topic_pattern
        return judged._replace(
            name=options.benchmark or judged.name,
            data=None if own_topics else judged.data,
            clusters={} if own_topics else judged.clusters,
        )
    stem = folder.name if folder.is_dir() else qrels[0].path.name.partition(".")[0]
    return Judged(options.benchmark or stem, None, {}, {}, demonstration=False)


def judged_as(folder: Path) -> Judged:
    """By what a run folder is judged."""
    record, table = RunRecord.load(folder), RankTable(folder / "ranks.parquet")
    clusters = {}
    for setting in table.settings:
        part = table.of(setting)
        columns = (part.queries, part.topics, part.paragraphs, part.articles)
        for query, *names in zip(*columns, strict=True):
            clusters[query] = Clusters(*names)
    return Judged(record.benchmark, record.collection, table.pools, clusters, record.demonstration)


def _tag(path: Path) -> str:
    """The last column of a run file's first entry: what its maker called the system."""
    return entry_lines(path).split(b"\n", 1)[0].split(b" ")[5].decode("utf-8")


def _record(
    options: ScoreOptions,
    judged: Judged,
    external: External,
    system: str,
    name: str,
    runs: Sequence[GivenFile],
    qrels: Sequence[GivenFile],
) -> RunRecord:
    """What is scored."""
    files = [("run", file) for file in runs] + [("qrels", file) for file in qrels]
    for role, path in (("languages", options.languages), ("topics", options.topics)):
        if path:
            files.append((role, GivenFile(path, None, path.name)))
    inputs: list[dict[str, Any]] = [
        {
            "role": role,
            "setting": str(file.setting) if file.setting else None,
            "name": file.name,
            "sha256": sha256_file(file.path),
        }
        for role, file in files
    ]
    for role, pattern in (
        ("language pattern", options.language_pattern),
        ("topic pattern", options.topic_pattern),
    ):
        if pattern:
            inputs.append({"role": role, "pattern": pattern})
    return external_record(judged, f"{system}#{options.seed}", options.seed, name).model_copy(
        update={
            "collection": judged.data or external.data,
            "inputs": [ScoredInput.model_validate(given) for given in inputs],
            "data": {
                given["name"]: given["sha256"] for given in inputs if given["role"] == "qrels"
            },
            "depth": external.depth,
        }
    )


def external_record(judged: Judged, system: str, seed: int, name: str) -> RunRecord:
    """The record of rankings that are judged so; of how they came about nothing is known."""
    return RunRecord(
        schema=RECORD_SCHEMA,
        kind=EXTERNAL,
        name=name,
        benchmark=judged.name,
        demonstration=judged.demonstration,
        licence=None,
        system=system,
        seeds=[seed],
        collection=judged.data or "",
        data={},
        weights={},
        encoding=Encoding(precision="unknown"),
    )


def _require_same(folder: Path, now: RunRecord, policy: Policy) -> None:
    """A folder keeps what was scored into it first, so that no results are replaced unasked.

    What files are called decides nothing, and unfinished scores (of earlier versions) keep nothing.
    """
    if not folder.is_dir() or not any(path.name[:1] != "." for path in folder.iterdir()):
        return
    if not (folder / FILE).is_file():
        raise UsageError(f"{folder}: holds other files; give another --name")
    before = earlier_record(folder, policy)
    if before and not before.external:
        raise UsageError(f"{folder}: holds a run of biasbench; give another --name")
    if before is None or not before.complete or policy == "always":
        return
    for name in ("inputs", "depth", "benchmark", "system", "collection"):
        there, here = getattr(before, name), getattr(now, name)
        if name == "inputs":
            there, here = ([_nameless(given) for given in inputs] for inputs in (there, here))
        if there != here:
            raise UsageError(
                f"{folder}: holds other scores (the {name} differs); give another --name, or "
                "replace them with --policy always"
            )


def _nameless(given: ScoredInput) -> dict[str, Any]:
    return {name: value for name, value in given.dump().items() if name != "name"}


def _experiment(system: str, seed: int, depth: int) -> str:
    """Which system the rankings are of, for readers that group run folders by their settings."""
    import yaml

    content = {"kind": EXTERNAL, "system": system, "seed": seed, "depth": depth}
    return (
        "# No experiment to repeat: rankings of another tool, scored by `biasbench score`.\n"
        "# manifest.json says what was read.\n" + yaml.safe_dump(content, sort_keys=False)
    )


def _measure(work: Work, _: dict[str, Any]) -> Metrics:
    """All that was measured; no bias without a pool of all languages."""
    folder, record = work.folder, work.record
    pooled = any(parse_setting(name).kind == "multilingual" for name in record.counts)
    table = RankTable(folder / "ranks.parquet")
    return Metrics.model_validate(
        {
            "schema": SCHEMA,
            "kind": EXTERNAL,
            "benchmark": record.benchmark,
            "system": record.system,
            "cutoff": record.depth,
            "retrieval": aggregate(mean_scores(folder / "scores.parquet")),
            "counts": {name: counts.dump() for name, counts in record.counts.items()},
            "bias": measure_bias(folder, table, record.languages or []) if pooled else {},
            "scorers": scorer_agreement(work),
        }
    )
