"""Training sources: entries of ``training.sources`` become `Pairs`, one file per form.

A form is a loader in `FORMS`. An entry is the name of a known source, or a mapping with the fields
of `SourceSpec`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bias_bench.data.sources.build import LoadedSource, join_sources
from bias_bench.data.sources.miracl import load_miracl, miracl_files
from bias_bench.data.sources.mmarco import load_mmarco, mmarco_files
from bias_bench.data.sources.named import named_sources
from bias_bench.data.sources.pairs import load_pairs
from bias_bench.data.sources.parallel import (
    embedded_files,
    load_embedded,
    load_lines,
    load_squad,
)
from bias_bench.data.sources.source import Options, Place, Source, SourceSpec, validated
from bias_bench.errors import UsageError, nearest
from bias_bench.system.files import cache_root, sha256_file

__all__ = [
    "FORMS", "LoadedSource", "SourceSpec", "load_sources", "parse_entry", "resolve_sources",
    "source_digests",
]  # fmt: skip


class Form(NamedTuple):
    """How a source of this form is read, and which files that reads, as places and names."""

    load: Callable[[Source], LoadedSource]
    files: Callable[[Source], list[tuple[Place, str]]]


def _listed_files(source: Source) -> list[tuple[Place, str]]:
    """The files that an entry lists itself."""
    spec = source.spec
    languages = list(spec.files)
    if spec.form != "pairs":  # which reads all files, and leaves out rows of other languages
        languages = source.keep_languages(source.options(Options).languages, languages)
    names = [*(spec.files[language] for language in languages), spec.path, spec.documents]
    return [(source.place, name) for name in names if name]


FORMS = {
    "squad": Form(load_squad, _listed_files),
    "lines": Form(load_lines, _listed_files),
    "pairs": Form(load_pairs, _listed_files),
    "mmarco": Form(load_mmarco, mmarco_files),
    "miracl": Form(load_miracl, miracl_files),
    "embedded": Form(load_embedded, embedded_files),
}
_FOLDER_FORMS = ("mmarco", "miracl")
Entry = str | Mapping[str, Any] | SourceSpec


def load_sources(entries: Sequence[Entry], data_dir: Path | None) -> LoadedSource:
    """All entries as one: their pairs, and their negatives by row of these pairs.

    Nothing is left out but what an entry's own options leave out. UsageError for entries that
    cannot be meant, DataError for files that are missing or damaged.
    """
    sources = resolve_sources(entries, data_dir)
    return join_sources([FORMS[source.spec.form].load(source) for source in sources])


def source_digests(entries: Sequence[Entry], data_dir: Path | None) -> dict[str, str]:
    """The sha256 of every file that `load_sources` would read, by name; none is parsed.

    Names are as in the entries: relative to `data_dir`, or ``REPOSITORY/NAME`` of the hub, whose
    files are fetched where its cache lacks them. With the entries they decide the pairs. Errors
    are those of `load_sources` for entries and for files that are missing or not as recorded.
    """
    return {
        place.full_name(name): sha256_file(place.file(name))
        for source in resolve_sources(entries, data_dir)
        for place, name in FORMS[source.spec.form].files(source)
    }


def resolve_sources(entries: Sequence[Entry], data_dir: Path | None) -> list[Source]:
    """The entries checked and placed, before any file is read."""
    if not entries:
        raise UsageError("training.sources: empty; name at least one source, for example mini")
    sources: list[Source] = []
    for number, entry in enumerate(entries):
        spec = parse_entry(entry, f"training.sources[{number}]")
        if spec.label in {source.name for source in sources}:
            raise UsageError(
                f"training.sources[{number}]: '{spec.label}' stands there already; give each "
                "entry its own name"
            )
        source = Source(spec.label, spec, _place(spec, _is_known(entry), data_dir))
        _check_sums(source)
        sources.append(source)
    return sources


def parse_entry(entry: Entry, where: str) -> SourceSpec:
    """An entry with everything that its name stands for; UsageError says what is wrong `where`."""
    fields = {"name": entry} if isinstance(entry, str) else entry
    given: SourceSpec = validated(SourceSpec, fields, where)
    if given.form:
        if given.form not in FORMS:
            raise UsageError(f"{where}: unknown form '{given.form}': {nearest(given.form, FORMS)}")
        if given.revision and not given.hub:
            raise UsageError(f"{where}: 'revision' belongs to 'hub'; add the repository or drop it")
        return given
    if not given.name:
        raise UsageError(f"{where}: neither 'name' nor 'form'; give one of them")
    if given.name not in named_sources():
        raise UsageError(
            f"{where}: unknown training source '{given.name}': "
            f"{nearest(given.name, named_sources())} (one of your own needs 'form' too)"
        )
    # keys that are there but empty are not a choice: a resolved configuration spells them all out
    extra = [key for key, value in given if value and key not in ("name", "options")]
    if extra:
        raise UsageError(
            f"{where}: source '{given.name}' brings its own '{extra[0]}'; remove it, or give "
            "'form' for a source of your own"
        )
    known = named_sources()[given.name].spec
    return known.model_copy(update={"options": {**known.options, **given.options}})


def _is_known(entry: Entry) -> bool:
    """Whether an entry names a source instead of describing one."""
    if isinstance(entry, SourceSpec):
        return not entry.form
    return isinstance(entry, str) or not entry.get("form")


def _place(spec: SourceSpec, known: bool, data_dir: Path | None) -> Place:
    """Known sources are looked up in --data-dir, else in the cache, as the benchmarks are."""
    folder = data_dir or (cache_root() / "data" if known else Path())
    fix = "point --data-dir at the folder that holds it"
    benchmark = named_sources()[spec.name].benchmark if known else None
    if benchmark and spec.files:
        option = f" --data-dir {data_dir}" if data_dir else ""
        fix += f", or run `biasbench data fetch {benchmark}{option}`"
    elif not known:
        fix = "check the entry and --data-dir, where relative names begin"
    return Place(spec.label, folder, fix, spec.hub, spec.revision, spec.sha256)


def _check_sums(source: Source) -> None:
    """UsageError for a checksum of a file that the source does not have: it would go unchecked."""
    spec = source.spec
    if spec.form in _FOLDER_FORMS:
        unknown = source.place.lacks(spec.sha256)
        known: list[str] = []
    else:
        known = [name for name in (*spec.files.values(), spec.path, spec.documents) if name]
        unknown = sorted(set(spec.sha256) - set(known))
    if unknown:
        raise UsageError(
            f"{source.where}: sha256 is given for '{unknown[0]}', which is not a file of it: "
            f"{nearest(unknown[0], known) if known else 'give names as relative to --data-dir'}"
        )
