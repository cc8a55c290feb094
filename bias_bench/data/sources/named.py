"""The sources known by name, from ``sources.yaml``: what each consists of, and its licence."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from bias_bench.data.registry import benchmark_spec
from bias_bench.data.sources.source import SourceSpec
from bias_bench.system.yaml_values import package_yaml


class NamedSource(NamedTuple):
    """A source known by name, with the entry that would say the same.

    `benchmark` is the one whose files and licence it shares, if any.
    """

    title: str
    licence: str
    benchmark: str | None
    spec: SourceSpec


@cache
def named_sources() -> dict[str, NamedSource]:
    """All of them, in the order of ``sources.yaml``."""
    return {
        name: _named(name, **fields)
        for name, fields in package_yaml("bias_bench.data", "sources.yaml").items()
    }


def _named(
    name: str,
    title: str,
    form: str,
    licence: str = "",
    benchmark: str | None = None,
    files: dict[str, dict[str, str]] | None = None,
    documents: dict[str, str] | None = None,
    options: dict[str, object] | None = None,
) -> NamedSource:
    if benchmark:
        shared = benchmark_spec(benchmark)
        licence = shared.licence
        files = {
            language: {"path": f"{benchmark}/{language}.json", "sha256": file.sha256}
            for language, file in shared.files.items()
        }
    files = files or {}
    listed = [*files.values(), *([documents] if documents else [])]
    spec = SourceSpec(
        name=name,
        form=form,
        files={language: file["path"] for language, file in files.items()},
        documents=documents["path"] if documents else "",
        sha256={file["path"]: file["sha256"] for file in listed},
        options=options or {},
    )
    return NamedSource(title, licence, benchmark, spec)
