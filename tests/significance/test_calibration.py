"""The calibration of the tests: simulated data whose truth is known, and the page that shows it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from benchmarks.calibration.__main__ import main
from benchmarks.calibration.coverage import COVERAGE, SETTING, interval_coverage
from benchmarks.calibration.errors import (
    BH,
    ERROR,
    FDR,
    FWER,
    NONE,
    POOLED,
    POWER,
    QUERY_T,
    STEP_DOWN,
    Size,
    null_errors,
    shifted_power,
)
from benchmarks.calibration.estimates import Row, Scenario, as_tsv, find, from_tsv, rows
from benchmarks.calibration.pairs import ANY, INFLATION, JUDGED, ONE, Judged, pair_tables
from benchmarks.calibration.pairs import main as judge_pairs
from benchmarks.calibration.tables import tables
from benchmarks.calibration.worlds import (
    UNITS,
    WORLDS,
    Source,
    centred,
    flipped,
    read_source,
    resampled,
    structure,
)
from bias_bench.errors import DataError
from tests.support.comparisons import make_run

DOCS = Path(__file__).parents[2] / "docs"
TOPICS, PARAGRAPHS, ARTICLES = 120, 60, 20
SIZE = Size(simulations=120, permutations=99, replicates=99)


@pytest.fixture(scope="module")
def dependent() -> Source:
    """Differences of which most is shared within an article, by all settings alike."""
    random = np.random.default_rng(0)
    topics = np.arange(TOPICS)
    units = {"topic": topics, "paragraph": topics // 2, "article": topics // 6}
    shared = random.normal(size=(ARTICLES, 1))[units["article"]]
    values = 0.4 + shared + 0.5 * random.normal(size=(TOPICS, 6))
    return centred(values, units, [[0, 1], [2, 3], [4, 5]])


def _row(table: list[Row], **wanted: object) -> Row:
    row = find(table, **wanted)
    assert row is not None
    return row


@pytest.mark.parametrize("world", WORLDS)
def test_what_ignores_dependence_errs_too_often_and_what_respects_it_does_not(
    dependent: Source, world: str
) -> None:
    table = null_errors(dependent, SIZE, world, "article")
    for cluster in ("topic", "paragraph"):
        assert _row(table, cluster=cluster, method=STEP_DOWN).low > 0.1
        assert _row(table, cluster=cluster, method=POOLED).low > 0.1
    for method in (STEP_DOWN, POOLED):
        assert _row(table, cluster="article", method=method).low < 0.05
        assert _row(table, cluster="article", method=method).high < 0.2
    assert _row(table, method=QUERY_T, quantity=ERROR).low > 0.4


def test_without_correction_some_setting_is_often_significant() -> None:
    values = np.random.default_rng(1).normal(size=(60, 30))
    units = {"topic": np.arange(60), "paragraph": np.arange(60) // 2, "article": np.arange(60) // 6}
    table = null_errors(centred(values, units, [[0]]), SIZE, "flipped", "topic")
    assert _row(table, cluster="topic", method=NONE, quantity=FWER).low > 0.5
    assert _row(table, cluster="topic", method=STEP_DOWN, quantity=FWER).low < 0.05


def test_intervals_by_too_small_a_unit_hold_too_rarely(dependent: Source) -> None:
    table = interval_coverage(dependent, SIZE, "article")
    by = {
        cluster: _row(table, cluster=cluster, method=SETTING, quantity=COVERAGE)
        for cluster in UNITS
    }
    assert by["topic"].high < 0.82
    assert by["article"].value > 0.87


def test_large_shifts_are_found_where_they_are(dependent: Source) -> None:
    small = SIZE._replace(simulations=6)
    scaled = dependent._replace(values=dependent.values / 1e4)
    table = shifted_power(scaled, small, "article", ["article"], shifted=2)
    largest = [row for row in table if row.shift == 0.03]
    assert _row(largest, method=STEP_DOWN, quantity=POWER).value == 1
    assert _row(largest, method=BH, quantity=FDR).value < 0.3
    assert {row.shifted for row in table} == {2}


def test_flipping_keeps_sizes_and_turns_units_as_one(dependent: Source) -> None:
    sample = flipped(dependent, "paragraph", np.random.default_rng(3))
    signs = sample.values / dependent.values
    np.testing.assert_allclose(np.abs(signs), 1)
    by_paragraph = signs.reshape(PARAGRAPHS, -1)
    np.testing.assert_array_equal(by_paragraph, np.repeat(by_paragraph[:, :1], 12, axis=1))
    assert {-1.0, 1.0} == set(np.round(by_paragraph[:, 0]))


@pytest.mark.parametrize("unit", UNITS)
def test_resampling_draws_whole_units_into_the_places_of_others(
    dependent: Source, unit: str
) -> None:
    sample = resampled(dependent, unit, np.random.default_rng(4))
    codes, own = sample.units[unit], dependent.units[unit]
    assert set(codes) == set(own)
    for code in set(codes):
        drawn = sample.values[codes == code]
        first = np.flatnonzero((dependent.values == drawn[0]).all(axis=1))[0]
        np.testing.assert_array_equal(drawn, dependent.values[own == own[first]])
    for finer, coarser in (("topic", "paragraph"), ("paragraph", "article")):
        pairs = set(zip(sample.units[finer], sample.units[coarser], strict=True))
        assert len(pairs) == len(set(sample.units[finer]))
    for other in UNITS:  # equal sizes here, so no unit is lost or merged, drawn twice or not
        np.testing.assert_array_equal(
            np.bincount(sample.units[other]), np.bincount(dependent.units[other])
        )


def test_the_source_is_centred_and_its_structure_measured(dependent: Source) -> None:
    np.testing.assert_allclose(dependent.values.mean(axis=0), 0, atol=1e-12)
    found = structure(dependent)
    expected = np.corrcoef(dependent.values.T)[np.triu_indices(6, 1)].mean()
    assert found["correlation of settings, mean"] == pytest.approx(expected, abs=1e-3)
    assert found["article"]["design effect of the macro average"] > 4
    assert found["topic"]["design effect of settings, mean"] == 1


def test_rates_have_wilson_intervals_and_survive_the_file(tmp_path: Path) -> None:
    key, other = ("topic", "m", "error"), ("topic", "m", "power")
    found = [{key: 0.0, other: share} for share in (0.25, 0.75) * 5]
    found[3].pop(other)
    table = rows(Scenario("errors", "flipped", "topic"), found)
    z = 1.959964
    assert table[0][8:] == (0, 0, pytest.approx(z**2 / (10 + z**2)), 10)
    assert (table[1].value, table[1].simulations) == (pytest.approx(4.25 / 9), 9)
    (tmp_path / "rates.tsv").write_text(as_tsv(table), encoding="utf-8")
    again = from_tsv(tmp_path / "rates.tsv")
    assert again[0]._replace(high=0) == table[0]._replace(high=0)
    (tmp_path / "rates.tsv").write_text("something\n", encoding="utf-8")
    with pytest.raises(DataError, match="not a table of calibration rates"):
        from_tsv(tmp_path / "rates.tsv")


def test_the_script_gives_the_same_files_in_any_number_of_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(make_run(tmp_path / name, noise=seed)) for seed, name in enumerate("ab")]
    for jobs in ("1", "2"):
        with threadpool_limits(int(jobs)):
            main(["--runs", *runs, "--quick", "--jobs", jobs, "--out", str(tmp_path / jobs)])
    printed = capsys.readouterr().out
    for name in ("rates.tsv", "provenance.json", "errors.svg", "power.svg"):
        first, second = ((tmp_path / jobs / name).read_bytes() for jobs in ("1", "2"))
        assert first == second
    table = from_tsv(tmp_path / "1" / "rates.tsv")
    assert {row.part for row in table} == {"errors", "power", "coverage"}
    assert all(0 <= row.low <= row.value <= row.high <= 1 for row in table)
    assert all(text in printed for text in tables(table))
    assert "<title" in (tmp_path / "1" / "power.svg").read_text("utf-8")
    (tmp_path / "1" / "errors.svg").unlink()
    main(["--redraw", "--out", str(tmp_path / "1")])
    assert (tmp_path / "1" / "errors.svg").read_bytes() == (tmp_path / "2/errors.svg").read_bytes()


def test_runs_without_a_difference_to_simulate_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = make_run(tmp_path / "one", languages=("en",))
    two = make_run(tmp_path / "two")
    nothing = "no common cross-lingual setting in which they differ"
    for runs, message in (([one, two], nothing), ([two, two], nothing), ([one], "two run")):
        with pytest.raises(SystemExit):
            main(["--runs", *map(str, runs), "--out", str(tmp_path / "out")])
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_differences_are_system_minus_baseline(tmp_path: Path) -> None:
    worse, better = (
        make_run(tmp_path / str(quality), quality=quality, noise=7) for quality in (0.0, 1.0)
    )
    assert (read_source([worse, better], "AP").means > 0).all()
    assert (read_source([better, worse], "AP").means < 0).all()


def test_pairs_of_systems_are_judged_by_each_unit_and_over_families(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topics = [f"t{number}" for number in range(48)]
    runs = [str(make_run(tmp_path / f"r{n}", noise=n, topics=topics)) for n in range(3)]
    judge_pairs(["--runs", *runs, "--simulations", "8", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    table = from_tsv(tmp_path / "pairs.tsv", Judged)
    described = json.loads((tmp_path / "pairs.json").read_text(encoding="utf-8"))
    assert [run["name"] for run in described["runs"]] == ["r0", "r1", "r2"]
    assert all(text in printed for text in pair_tables(table))
    assert {row.system for row in table} == {"r1", "r2"}
    assert {(row.metric, row.kind) for row in table} == {*JUDGED, ("AP", "all")}
    rates = [row for row in table if row.quantity != INFLATION]
    assert all(0 <= row.low <= row.value <= row.high <= 1 for row in rates)
    one = {row.system: row.value for row in table if row.quantity == ONE}
    assert all(row.value >= one[row.system] for row in table if row.quantity == ANY)
    inflation = [row for row in table if row.quantity == INFLATION and row.cluster == "topic"]
    assert {row.value for row in inflation} == {1.0}


def test_the_page_shows_the_rates_that_the_scripts_wrote() -> None:
    for text in pair_tables(from_tsv(DOCS / "calibration" / "pairs.tsv", Judged)):
        assert text in (DOCS / "calibration.md").read_text(encoding="utf-8")
    page = (DOCS / "calibration.md").read_text(encoding="utf-8")
    for text in tables(from_tsv(DOCS / "calibration" / "rates.tsv")):
        assert text in page
