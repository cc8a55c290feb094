"""`biasbench data list|fetch|verify|check|cite|audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bias_bench.cli.complete import (
    complete_benchmark,
    complete_known_benchmark,
    complete_training_data,
)
from bias_bench.cli.options import DataDir, OutputFormat, Verbose, listen, option

if TYPE_CHECKING:
    from bias_bench.data.audit import Audit
    from bias_bench.data.folders import FolderCheck
    from bias_bench.data.pairs import Pairs

_LANGUAGES_SHOWN = 20
_ROWS_SHOWN, _FILES_SHOWN = 50, 11

app = typer.Typer(
    help="Benchmarks: what there is, fetch, verify, cite; check your own; audit training data.",
    no_args_is_help=True,
    epilog="Examples:\n\nbiasbench data list\n\nbiasbench data fetch xquad-r",
)
Name = Annotated[
    str,
    typer.Argument(
        help="A benchmark's name, as `biasbench data list` shows.",
        autocompletion=complete_known_benchmark,
    ),
]

Languages = Annotated[
    list[str] | None,
    option("Only this language; may be repeated. Default: all."),
]


def _examples(*lines: str) -> str:
    return "\n\n".join(("Examples:", *lines))


@app.command(
    "list",
    epilog=_examples("biasbench data list --data-dir data", "biasbench data list --format json"),
)
def list_benchmarks(data_dir: DataDir = None, output_format: OutputFormat = "table") -> None:
    """List the known benchmarks and whether their files are in place."""
    from bias_bench.cli.output import print_json
    from bias_bench.data.registry import benchmarks, check_files, data_note
    from bias_bench.system.console import result

    rows: list[dict[str, Any]] = []
    for name, spec in sorted(benchmarks().items()):
        checks = check_files(name, data_dir, deep=False)
        problems = [check.problem for check in checks if check.problem]
        state = "ready" if not problems else f"{len(problems)} of {len(checks)} files missing"
        if len(problems) == len(checks):
            state = "not here"
        if any(problem != "missing" for problem in problems):
            state = f"{len(problems)} files missing or damaged"
        rows.append(
            {
                "name": name,
                "title": spec.title,
                "languages": list(spec.contents),
                "queries": sum(size.queries for size in spec.contents.values()),
                "candidates": sum(size.candidates for size in spec.contents.values()),
                "licence": spec.licence,
                "state": state,
                "note": data_note(name, data_dir),
            }
        )
    if output_format == "json":
        print_json({"benchmarks": rows})
        return
    for row in rows:
        result(
            f"{row['name']}: {row['title']}\n  {len(row['languages'])} languages "
            f"({_shown(row['languages'])}), {row['queries']:,} queries, "
            f"{row['candidates']:,} candidates; {row['licence']}; {row['state']}"
            + (f"\n  {row['note']}" if row["note"] else "")
        )


@app.command(
    epilog=_examples(
        "biasbench data fetch xquad-r",
        "biasbench data fetch miracl --language sw --language yo --data-dir data",
    )
)
def fetch(
    name: Name,
    data_dir: DataDir = None,
    language: Languages = None,
    verbose: Verbose = None,
) -> None:
    """Download a benchmark's files, checked against their sha256; resumes a broken download."""
    from bias_bench.data.download import fetch_benchmark
    from bias_bench.system.console import result

    listen(verbose)
    result(str(fetch_benchmark(name, data_dir, languages=language)))


@app.command(
    epilog=_examples(
        "biasbench data verify mlqa-r --data-dir data", "biasbench data verify mini --format json"
    )
)
def verify(
    name: Name,
    data_dir: DataDir = None,
    language: Languages = None,
    output_format: OutputFormat = "table",
) -> None:
    """Compare every file with its recorded size and sha256; exit code 3 if one differs."""
    from bias_bench.cli.output import print_json
    from bias_bench.data.registry import check_files, file_fix
    from bias_bench.errors import DataError
    from bias_bench.system.console import result

    checks = check_files(name, data_dir, language)
    if output_format == "json":
        files = [
            {"language": check.language, "path": str(check.path), "problem": check.problem}
            for check in checks
        ]
        print_json({"benchmark": name, "files": files})
    else:
        for check in checks:
            result(f"{check.path}: {check.problem or 'ok'}")
    bad = [check.path.name for check in checks if check.problem]
    if bad:
        shown = ", ".join(bad[:_FILES_SHOWN]) + (", …" if len(bad) > _FILES_SHOWN else "")
        raise DataError(
            f"{name}: {len(bad)} of {len(checks)} files missing or damaged ({shown}); "
            f"{file_fix(name, data_dir)}"
        )


@app.command(
    epilog=_examples(
        "biasbench data check path/to/my-benchmark",
        "biasbench data check path/to/my-benchmark --split dev --format json",
    )
)
def check(
    path: Annotated[Path, typer.Argument(help="A folder of your own, in LAReQA's or BEIR's form.")],
    split: Annotated[
        str | None,
        typer.Option(help="The split of BEIR's judgements. Default: the only one, else test."),
    ] = None,
    output_format: OutputFormat = "table",
) -> None:
    """Say what a folder would be taken as, and all that is wrong with it; exit code 3 if anything.

    Nothing is encoded, and nothing is written.
    """
    from bias_bench.cli.output import print_json
    from bias_bench.data.folders import check_folder
    from bias_bench.errors import DataError
    from bias_bench.system.console import result

    checked = check_folder(path, split)
    if output_format == "json":
        print_json(checked.to_json())
    else:
        for line in _described(checked):
            result(line)
    if number := len(checked.problems):
        raise DataError(
            f"{path}: {number:,} problem{'s' * (number > 1)}; correct what is named above, and "
            "check again"
        )


def _described(checked: FolderCheck) -> list[str]:
    split = f", split {checked.split}" if checked.split else ""
    lines = [f"{checked.path}: {f'{checked.form}{split}' if checked.form else 'unknown form'}"]
    lines += [
        f"  {part.language} ({part.name}): {part.queries:,} queries, {part.candidates:,} "
        f"candidates, {part.relevant:,} of them relevant to some query"
        for part in checked.languages
    ]
    if checked.languages:
        grades = ", ".join(f"{number:,} of grade {key}" for key, number in checked.grades.items())
        shared = "shared by languages" if checked.parallel else "each in one language"
        lines.append(f"  {checked.topics:,} topics, {shared}; judgements: {grades}")
        lines.append(f"  significance tests resample by {checked.unit}")
    lines += [f"note: {note}" for note in checked.notes]
    lines += [f"problem: {problem}" for problem in checked.problems[:_ROWS_SHOWN]]
    if len(checked.problems) > _ROWS_SHOWN:
        lines.append(f"… and {len(checked.problems) - _ROWS_SHOWN:,} more; --format json has all")
    return lines


@app.command(epilog=_examples("biasbench data cite xquad-r >> references.bib"))
def cite(name: Name) -> None:
    """Print a benchmark's BibTeX entries."""
    from bias_bench.data.registry import benchmark_spec
    from bias_bench.system.console import result

    result(benchmark_spec(name).citation.rstrip())


@app.command(
    "audit",
    epilog=_examples(
        "biasbench data audit mlqa-r xquad-r --data-dir data",
        "biasbench data audit mini-train mini --format json",
    ),
)
def audit_data(
    train: Annotated[
        str,
        typer.Argument(
            help="Training data: a training source such as ntrex-128, a benchmark's name, "
            "`mini-train`, or a folder in LAReQA's form.",
            autocompletion=complete_training_data,
        ),
    ],
    benchmark: Annotated[
        str,
        typer.Argument(
            help="The benchmark: its name, or a folder in LAReQA's form.",
            autocompletion=complete_benchmark,
        ),
    ],
    data_dir: DataDir = None,
    verbose: Verbose = None,
    output_format: OutputFormat = "table",
) -> None:
    """Report what training data and a benchmark share: ids, titles, equal and similar texts.

    The verdict says what a run would drop from training; this command changes nothing.
    """
    from bias_bench.cli.output import print_json
    from bias_bench.data.audit import audit
    from bias_bench.data.registry import load_benchmark
    from bias_bench.system.console import result

    listen(verbose)
    report = audit(_training_pairs(train, data_dir), load_benchmark(benchmark, data_dir).collection)
    if output_format == "json":
        print_json(report.to_json())
        return
    if report.findings:
        _print_findings(report)
    for name, count in report.data_sets.items():
        result(
            f"{name} against {report.benchmark}: {count.topics_kept:,} of {count.topics:,} topics, "
            f"{count.pairs_kept:,} of {count.pairs:,} pairs have nothing in common with it"
        )
    result(report.verdict)


def _training_pairs(name: str, data_dir: Path | None) -> Pairs:
    from bias_bench.data.mini import training_topics
    from bias_bench.data.pairs import pairs_from_collection
    from bias_bench.data.registry import benchmarks, load_benchmark
    from bias_bench.data.sources import load_sources
    from bias_bench.data.sources.named import named_sources
    from bias_bench.errors import UsageError, nearest

    known = {*benchmarks(), *named_sources(), "mini-train"}
    if name == "mini-train":
        return pairs_from_collection(training_topics())
    if name in named_sources() and name not in benchmarks():
        return load_sources([name], data_dir).pairs
    if name not in known and not Path(name).is_dir():
        raise UsageError(
            f"unknown training data '{name}': {nearest(name, known)} "
            "(or give a folder with one <language>.json each)"
        )
    return pairs_from_collection(load_benchmark(name, data_dir).collection)


def _shown(languages: list[str]) -> str:
    """The codes, or the first and the last of very many; JSON has all."""
    few = languages if len(languages) <= _LANGUAGES_SHOWN else [*languages[:3], "…", languages[-1]]
    return " ".join(few)


def _print_findings(report: Audit) -> None:
    """The findings as a table, at most `_ROWS_SHOWN` of them; JSON has all."""
    from bias_bench.cli.output import print_table
    from bias_bench.report.tables import Column, Table
    from bias_bench.system.console import result

    columns = [Column("kind", "name"), Column("data set", "name")]
    columns += [Column(heading, "text") for heading in ("topic", "matched", "in the benchmark")]
    table = Table([*columns, Column("similarity")])
    for finding in report.findings[:_ROWS_SHOWN]:
        cells = (finding.kind, finding.data_set, finding.topic, finding.matched, finding.item)
        table.add_row(*cells, f"{finding.similarity:.3f}")
    print_table(table)
    if len(report.findings) > _ROWS_SHOWN:
        result(f"… and {len(report.findings) - _ROWS_SHOWN:,} more; --format json has all")
