"""Published figures of a benchmark, beside which measured ones are shown."""

from __future__ import annotations

from typing import Any, NamedTuple

from bias_bench.yaml_values import package_yaml


class PublishedFigures(NamedTuple):
    """Macro averages of one published system, None where its source gives none.

    `precision` is AP by kind of setting, `recipe` the recipe here that is trained alike, if any.
    `averages` are metrics over named sets of languages, by name and metric.
    """

    system: str
    source: str
    recipe: str | None
    precision: dict[str, float | None]
    rank_distance: float | None
    averages: dict[str, dict[str, float]]


class Source(NamedTuple):
    """Where figures come from, and how their protocol may differ from the one here."""

    citation: str
    protocol: str


class Published(NamedTuple):
    """All published figures of a benchmark, with their sources by key."""

    figures: list[PublishedFigures]
    sources: dict[str, Source]

    @property
    def averaged(self) -> list[tuple[str, str]]:
        """The names and metrics of all averages over sets of languages."""
        return list(
            dict.fromkeys(
                (name, metric)
                for row in self.figures
                for name, values in row.averages.items()
                for metric in values
            )
        )


def published_figures(benchmark: str) -> Published | None:
    """The figures known for a benchmark; None where there are none."""
    content: dict[str, Any] = package_yaml("bias_bench.report", "published.yaml")
    rows = content["benchmarks"].get(benchmark)
    if not rows:
        return None
    figures = [_figures(row) for row in rows]
    used = {row.source for row in figures}
    sources = {key: Source(**value) for key, value in content["sources"].items() if key in used}
    return Published(figures, sources)


def _figures(row: dict[str, Any]) -> PublishedFigures:
    return PublishedFigures(
        system=row["system"],
        source=row["source"],
        recipe=row.get("recipe"),
        precision={
            kind: row.get(kind) for kind in ("monolingual", "cross_lingual", "multilingual")
        },
        rank_distance=row.get("rank_distance"),
        averages=row.get("averages", {}),
    )
