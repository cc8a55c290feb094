"""The sources known by name, from ``sources.yaml``: form, files, checksums, licence."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict

from bias_bench.datasets.registry import benchmark_spec
from bias_bench.datasets.sources.source import Sha256, SourceSpec
from bias_bench.yaml_values import package_yaml


class NamedFile(BaseModel):
    """A file relative to --data-dir."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str
    sha256: Sha256


class NamedSource(BaseModel):
    """A source known by name; `benchmark` names the one whose files and licence it shares."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    title: str
    form: str
    licence: str
    benchmark: str | None = None
    files: dict[str, NamedFile] = {}
    documents: NamedFile | None = None
    options: dict[str, Any] = {}


@cache
def named_sources() -> dict[str, NamedSource]:
    """All of them, in the order of ``sources.yaml``."""
    known: dict[str, NamedSource] = {}
    for name, fields in package_yaml("bias_bench.datasets", "sources.yaml").items():
        if benchmark := fields.get("benchmark"):
            spec = benchmark_spec(benchmark)
            fields.setdefault("licence", spec.licence)
            fields.setdefault(
                "files",
                {
                    language: {"path": f"{benchmark}/{language}.json", "sha256": file.sha256}
                    for language, file in spec.files.items()
                },
            )
        known[name] = NamedSource(**fields)
    return known


def named_spec(name: str) -> dict[str, Any]:
    """A known source as the fields of the entry that would say the same."""
    source = named_sources()[name]
    files = [*source.files.values(), *([source.documents] if source.documents else [])]
    return SourceSpec(
        name=name,
        form=source.form,
        files={language: file.path for language, file in source.files.items()},
        documents=source.documents.path if source.documents else "",
        sha256={file.path: file.sha256 for file in files},
        options=source.options,
    ).model_dump()
