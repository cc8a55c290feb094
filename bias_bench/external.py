"""Score rankings that another tool made: from TREC files to a folder like that of a run."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bias_bench import __version__, provenance
from bias_bench.bias.catalogue import measure_bias
from bias_bench.console import say, warn
from bias_bench.errors import UsageError
from bias_bench.evaluation.aggregate import aggregate
from bias_bench.evaluation.entries import read_entries
from bias_bench.evaluation.external import External, notes, rank_external, write_external
from bias_bench.evaluation.given_files import GivenFile, given_files
from bias_bench.evaluation.labels import Clusters, read_labels
from bias_bench.evaluation.metrics_document import SCHEMA, Metrics
from bias_bench.evaluation.ranks import RankTable
from bias_bench.evaluation.scores import mean_scores
from bias_bench.evaluation.trec import entry_lines, require_plain_id
from bias_bench.files import (
    atomic_folder,
    folder_lock,
    plain_name,
    require_writable,
    sha256_file,
    write_text,
)
from bias_bench.library_caches import require_library_caches
from bias_bench.manifest import (
    Manifest,
    Policy,
    Stage,
    experiment_record,
)
from bias_bench.run_record import EXTERNAL, RunRecord
from bias_bench.stages.work import measured_agreement, score_settings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
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


class Origin(NamedTuple):
    """Where rankings come from if not from another tool: an experiment.yaml, and more of the
    manifest.
    """

    experiment: str
    manifest: dict[str, Any]


class Benchmark(NamedTuple):
    """What is judged. `data` identifies its content, `pools` are sizes by language, if known."""

    name: str
    data: str | None
    pools: dict[str, int]
    clusters: dict[str, Clusters]
    demonstration: bool


def score_external(options: ScoreOptions, origin: Origin | None = None) -> Path:
    """Score the given rankings into a folder of their own; returns the folder.

    It is made beside its place and put there whole, so that a failed attempt leaves what was there.
    Finished stages are kept.
    """
    if options.depth is not None and options.depth < 1:
        raise UsageError(f"--depth {options.depth}: must be 1 or more")
    runs, qrels = given_files(options.runs, "run"), given_files(options.qrels, "qrels")
    benchmark = _benchmark(options, qrels)
    labels = read_labels(
        options.languages,
        options.language_pattern,
        options.topics,
        options.topic_pattern,
        benchmark.clusters,
    )
    external = rank_external(read_entries(runs, qrels, labels), labels, options.depth)
    system = require_plain_id(options.system or _tag(runs[0].path))
    made = _NOT_IN_NAMES.sub("-", f"{benchmark.name}-{system}-{options.seed}")
    name = options.name or plain_name(made, longest=200)
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' cannot name a folder: use letters, digits, '.', '_' and '-'")
    folder = options.out / name
    require_writable(folder)
    require_library_caches()
    for note in notes(external):
        warn(note)
    described = _describe(options, benchmark, external, system, _inputs(options, runs, qrels))
    experiment = _experiment(system, options.seed, external.depth)
    if origin:
        described, experiment = {**described, **origin.manifest}, origin.experiment
    _require_same(folder, described, options.policy)
    with _held(folder), atomic_folder(folder) as place:
        shutil.copytree(folder, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
        manifest = Manifest(place)
        write_text(place / "experiment.yaml", experiment)
        manifest.update(status="running", name=name, **described, **experiment_record(place))
        _stages(manifest, external, benchmark, options.policy)
        manifest.close("complete")
    say(f"folder: {folder}")
    return folder


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the folder's place; one that was made for that alone goes again."""
    with folder_lock(folder):
        try:
            yield
        finally:
            if folder.is_dir() and [path.name for path in folder.iterdir()] == [".lock"]:
                shutil.rmtree(folder)


def _stages(
    manifest: Manifest,
    external: External,
    benchmark: Benchmark,
    policy: Policy,
) -> None:
    """Write the rankings, score them, measure."""
    folder, content = manifest.folder, manifest.content
    tag = content["system"].rpartition("#")[0]

    def rankings() -> list[Path]:
        with manifest.timed("rankings"):
            paths = write_external(folder, external, tag, benchmark.pools)
        for old in {*folder.glob("trec/*/*"), *folder.glob("qrels/*/*")} - {*paths}:
            old.unlink()  # of a setting that is no longer there
        return paths

    def score() -> list[Path]:
        with manifest.timed("score"):
            return [score_settings(folder, external.depth, manifest)]

    def metrics() -> list[Path]:
        with manifest.timed("metrics"):
            found = _measure(manifest, external)
        return [found.save(folder, content["timings"])]

    given = {"inputs": content["inputs"], "depth": external.depth, "tag": tag}
    decided = {**given, "pools": benchmark.pools, "data": external.data, "biasbench": __version__}
    manifest.run_stage(Stage("rankings", decided, rankings), policy)
    scored = {
        "files": manifest.outputs("rankings"),
        "libraries": provenance.versions(),
        "biasbench": __version__,
    }
    manifest.run_stage(Stage("score", scored, score), policy)
    measured = {
        "files": [manifest.outputs(stage) for stage in ("rankings", "score")],
        "names": [content["benchmark"], content["system"]],
        "biasbench": __version__,
    }
    manifest.run_stage(Stage("metrics", measured, metrics), policy)


def _benchmark(options: ScoreOptions, qrels: Sequence[GivenFile]) -> Benchmark:
    """From a run folder, if the judgements are those of one; else what the options say."""
    folder = Path(options.qrels[0])
    if len(options.qrels) == 1 and (folder / "ranks.parquet").is_file():
        record = RunRecord.load(folder)
        table = RankTable(folder / "ranks.parquet")
        clusters = {}
        for setting in table.settings:
            part = table.of(setting)
            columns = (part.queries, part.topics, part.paragraphs, part.articles)
            for query, *names in zip(*columns, strict=True):
                clusters[query] = Clusters(*names)
        own_topics = options.topics or options.topic_pattern
        return Benchmark(
            name=options.benchmark or record.benchmark,
            data=None if own_topics else record.collection,
            pools=table.pools,
            clusters={} if own_topics else clusters,
            demonstration=record.demonstration,
        )
    stem = folder.name if folder.is_dir() else qrels[0].path.name.partition(".")[0]
    return Benchmark(options.benchmark or stem, None, {}, {}, demonstration=False)


def _tag(path: Path) -> str:
    """The last column of a run file's first entry: what its maker called the system."""
    return entry_lines(path).split(b"\n", 1)[0].split(b" ")[5].decode("utf-8")


def _inputs(
    options: ScoreOptions, runs: Sequence[GivenFile], qrels: Sequence[GivenFile]
) -> list[dict[str, Any]]:
    """What was read: role, setting, name and sha256 of every file, and the patterns."""
    files = [("run", file) for file in runs] + [("qrels", file) for file in qrels]
    for role, path in (("languages", options.languages), ("topics", options.topics)):
        if path:
            files.append((role, GivenFile(path, None, path.name)))
    found: list[dict[str, Any]] = [
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
            found.append({"role": role, "pattern": pattern})
    return found


def _describe(
    options: ScoreOptions,
    benchmark: Benchmark,
    external: External,
    system: str,
    inputs: list[dict[str, Any]],
) -> dict[str, Any]:
    """The part of the manifest that says what was scored."""
    return {
        "kind": EXTERNAL,
        "benchmark": benchmark.name,
        "demonstration": benchmark.demonstration,
        "licence": None,
        "system": f"{system}#{options.seed}",
        "seeds": [options.seed],
        "collection": benchmark.data or external.data,
        "inputs": inputs,
        "data": {file["name"]: file["sha256"] for file in inputs if file["role"] == "qrels"},
        "weights": {},
        "encoding": {"precision": "unknown"},
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


def _require_same(folder: Path, described: dict[str, Any], policy: str) -> None:
    """A folder keeps what was scored into it first, so that no results are replaced unasked.

    What files are called decides nothing, and unfinished scores (of earlier versions) keep nothing.
    """
    if not folder.is_dir() or not any(p for p in folder.iterdir() if p.name[:1] != "."):
        return
    if not (folder / "manifest.json").is_file():
        raise UsageError(f"{folder}: holds other files; give another --name")
    record = RunRecord.load(folder)
    if not record.external:
        raise UsageError(f"{folder}: holds a run of biasbench; give another --name")
    if not record.complete:
        return
    before = record.dump()
    keys = ("inputs", "depth", "benchmark", "system", "collection")
    changed = [key for key in keys if _nameless(before.get(key)) != _nameless(described[key])]
    if changed and policy != "always":
        raise UsageError(
            f"{folder}: holds other scores (the {changed[0]} differs); give another --name, or "
            "replace them with --policy always"
        )


def _nameless(value: Any) -> Any:
    """Inputs without the names of their files; anything else as it is."""
    if not isinstance(value, list):
        return value
    return [{key: part for key, part in file.items() if key != "name"} for file in value]


def _experiment(system: str, seed: int, depth: int) -> str:
    """Which system the rankings are of, for readers that group run folders by their settings."""
    import yaml

    content = {"kind": EXTERNAL, "system": system, "seed": seed, "depth": depth}
    return (
        "# No experiment to repeat: rankings of another tool, scored by `biasbench score`.\n"
        "# manifest.json says what was read.\n" + yaml.safe_dump(content, sort_keys=False)
    )


def _measure(manifest: Manifest, external: External) -> Metrics:
    """All that was measured; no bias without a pool of all languages."""
    folder, content = manifest.folder, manifest.content
    pooled = any(ranked.setting.kind == "multilingual" for ranked in external.settings)
    table = RankTable(folder / "ranks.parquet")
    measured = {
        "schema": SCHEMA,
        "kind": EXTERNAL,
        "benchmark": content["benchmark"],
        "system": content["system"],
        "cutoff": external.depth,
        "retrieval": aggregate(mean_scores(folder / "scores.parquet")),
        "counts": content["counts"],
        "bias": measure_bias(folder, table, external.languages) if pooled else {},
        "scorers": measured_agreement(manifest),
    }
    return Metrics.model_validate(measured)
