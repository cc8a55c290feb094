"""Intervals of one run's means, from small made-up ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from bias_bench.evaluation.metrics import Metric, compute
from bias_bench.evaluation.ranks import RankTable, write_ranks
from bias_bench.evaluation.settings import ALL, Setting, all_settings
from bias_bench.report.run_statistics import FEWEST, Estimate, RunStatistics, run_statistics
from tests.support.comparisons import make_run
from tests.support.helpers import rank_rows

LANGUAGES = ["ar", "en", "th"]
TOPICS = [f"t{number}" for number in range(2 * FEWEST)]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> RankTable:
    """Ranks of forty topics in twenty paragraphs, in three languages."""
    folder = make_run(tmp_path_factory.mktemp("runs") / "run", topics=TOPICS)
    return RankTable(folder / "ranks.parquet")


@pytest.fixture(scope="module")
def statistics(table: RankTable) -> RunStatistics:
    return run_statistics(table)


def holds(found: Estimate) -> bool:
    assert found.low is not None
    assert found.high is not None
    return found.low <= found.value <= found.high


def written(
    folder: Path, rows: dict[str, list[tuple[str, str, int]]], cutoff: int | None = None
) -> RankTable:
    """A table of pooled settings: per query language (topic, candidate, rank)."""
    tables: list[pa.Table] = [
        rank_rows(str(Setting(name, ALL)), part) for name, part in rows.items()
    ]
    write_ranks(folder / "ranks.parquet", tables, {"en": 50, "th": 50, ALL: 100}, cutoff)
    return RankTable(folder / "ranks.parquet")


def test_means_are_macro_averages_and_lie_in_their_intervals(
    table: RankTable, statistics: RunStatistics
) -> None:
    by_kind: dict[str, list[float]] = {}
    for setting in all_settings(LANGUAGES):
        values = compute(Metric("AP"), table.of(str(setting)).ranks)
        by_kind.setdefault(setting.kind, []).append(float(values.mean()))
    assert (statistics.topics, statistics.unit) == (len(TOPICS), "paragraph")
    assert statistics.units == FEWEST
    for kind, means in by_kind.items():
        assert statistics.precision[kind].value == pytest.approx(np.mean(means))
        assert holds(statistics.precision[kind])
    assert statistics.crossing is not None
    assert statistics.crossing.value == pytest.approx(
        np.mean(by_kind["monolingual"]) - np.mean(by_kind["cross_lingual"])
    )
    assert set(statistics.distances) == set(LANGUAGES)
    assert statistics.distance is not None
    assert statistics.distance.value == pytest.approx(
        np.mean([values.mean() for values in statistics.distances.values()])
    )
    assert statistics.parallel


def test_deviations_from_the_mean_of_languages_sum_to_none_and_have_wider_intervals(
    statistics: RunStatistics,
) -> None:
    found = statistics.precision_from_mean
    assert sum(one.value for one in found.values()) == pytest.approx(0)
    assert all(map(holds, found.values()))


def test_equal_ranks_give_equal_intervals(table: RankTable, statistics: RunStatistics) -> None:
    again = run_statistics(table)
    assert again.precision == statistics.precision
    assert again.precision_from_mean == statistics.precision_from_mean
    assert again.distance_by_language == statistics.distance_by_language


def test_articles_are_resampled_where_there_are_enough(tmp_path: Path) -> None:
    topics = [f"t{number}" for number in range(4 * FEWEST)]
    folder = make_run(tmp_path / "run", topics=topics)
    found = run_statistics(RankTable(folder / "ranks.parquet"))
    assert (found.unit, found.units) == ("article", FEWEST)
    assert all(map(holds, found.precision.values()))


def test_topics_of_no_known_text_are_units_of_their_own(tmp_path: Path) -> None:
    """Taken as one paragraph, they had no intervals at all."""
    rows = rank_rows("en-all", [(f"t{n}", f"en:{n}", n % 7 + 1) for n in range(40)])
    for name in ("paragraph", "article"):
        empty = pa.array([""] * len(rows), pa.string())
        rows = rows.set_column(rows.schema.get_field_index(name), name, empty)
    write_ranks(tmp_path / "ranks.parquet", [rows], {"en": 50, ALL: 50}, None)
    found = run_statistics(RankTable(tmp_path / "ranks.parquet"))
    assert (found.unit, found.units) == ("topic", 40)
    assert found.precision["multilingual"].known


def test_few_paragraphs_give_no_interval(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", topics=TOPICS[:-2])
    found = run_statistics(RankTable(folder / "ranks.parquet"))
    assert not any(estimate.known for estimate in found.precision.values())
    assert not any(estimate.known for estimate in found.precision_from_mean.values())
    assert found.precision["monolingual"].sign == 0


def test_partly_parallel_topics_are_measured_where_they_are_answered(tmp_path: Path) -> None:
    en = [row for n in range(40) for row in ((f"t{n}", f"en:{n}", 1), (f"t{n}", f"th:{n}", 5))]
    th = [(f"t{n}", f"th:{n}", 2) for n in range(20)]
    found = run_statistics(written(tmp_path, {"en": en, "th": th}))
    assert not found.parallel
    assert found.distances["en"].tolist() == [4.0] * 40
    assert found.distances["th"].tolist() == []
    assert found.distance == Estimate(4.0, 4.0, 4.0)
    assert found.distance_by_language.keys() == {"en"}
    assert found.first_excess is not None
    assert (found.first_excess.value, found.first_excess.sign) == (0.5, 1)
    assert found.precision["multilingual"].value == pytest.approx((0.7 + 0.5) / 2)
    assert found.crossing is None


def test_precision_ends_where_the_rankings_do(tmp_path: Path) -> None:
    rows = {"en": [("t0", "en:0", 1), ("t0", "th:0", 11), ("t1", "en:1", 2), ("t1", "th:1", 3)]}
    found = run_statistics(written(tmp_path, rows, cutoff=10))
    assert found.precision["multilingual"].value == pytest.approx((0.5 + (1 / 2 + 2 / 3) / 2) / 2)


@pytest.mark.parametrize(
    ("estimate", "sign"),
    [
        (Estimate(0.2, 0.1, 0.3), 1),
        (Estimate(-0.2, -0.3, -0.1), -1),
        (Estimate(0.1, 0.0, 0.2), 0),
        (Estimate(0.1), 0),
    ],
)
def test_a_sign_is_that_of_an_interval_without_zero(estimate: Estimate, sign: int) -> None:
    assert estimate.sign == sign
