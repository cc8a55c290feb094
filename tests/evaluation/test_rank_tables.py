"""ranks.parquet and scores.parquet: what goes in comes out, query by query."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bias_bench.data.collection import Candidate, Collection, Query, Topic
from bias_bench.errors import BiasBenchError, DataError
from bias_bench.evaluation.aggregate import aggregate
from bias_bench.evaluation.metrics import Metric, parse_metric
from bias_bench.evaluation.ranks import RankedQueries, RankTable, setting_rows, write_ranks
from bias_bench.evaluation.scores import (
    SettingScores,
    agreement,
    count_queries,
    mean_scores,
    write_scores,
)
from bias_bench.evaluation.settings import all_settings, parse_setting
from bias_bench.search.dense import make_pool, search
from tests.support.helpers import canonical_order, rank_rows

AP = parse_metric("AP")
R1 = parse_metric("R@1")

# Topic b is answered in three languages, a in two, c in English alone; zh asks a without an answer.
RELEVANT = {
    "b": ["de:0-0-0", "en:0-0-0", "zh:0-0-0"],
    "a": ["de:0-0-1", "en:0-0-1"],
    "c": ["en:0-0-2"],
}
COLLECTION = Collection(
    name="hand-made",
    languages=("de", "en", "zh"),
    topics=(
        Topic("b", "paragraph-1", "article-1"),
        Topic("a", "paragraph-2", "article-1"),
        Topic("c", "paragraph-3", "article-2"),
    ),
    queries=tuple(
        Query(name, f"question {name}")
        for name in ("de:b", "de:a", "en:b", "en:c", "en:a", "zh:b", "zh:a")
    ),
    candidates=tuple(
        Candidate(f"{language}:0-0-{number}", f"sentence {number}", "paragraph")
        for language, size in {"de": 2, "en": 4, "zh": 3}.items()
        for number in range(size)
    ),
    relevance=tuple((topic, name) for topic, names in RELEVANT.items() for name in names),
)
SIZES = {"de": 2, "en": 4, "zh": 3, "all": 9}


def _ranks(language: str) -> np.ndarray:
    """Ranks [queries, relevant, 2] that tell where they came from: query, place, pool."""
    count = len(COLLECTION.queries_in(language))
    query, place, pool = np.indices((count, 3, 2))
    return (100 * (query + 1) + 10 * place + pool).astype(np.int32)


def _table(name: str, ranks: np.ndarray | None = None) -> pa.Table:
    setting = parse_setting(name)
    language = setting.query_language
    ranks = _ranks(language) if ranks is None else ranks
    return setting_rows(COLLECTION, setting, COLLECTION.query_topics(language), ranks)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A written ranks.parquet of every setting."""
    tables = [_table(str(setting)) for setting in all_settings(COLLECTION.languages)]
    write_ranks(tmp_path / "ranks.parquet", tables, SIZES)
    return tmp_path / "ranks.parquet"


def test_rows_name_each_relevant_candidate_of_the_pool() -> None:
    columns = ["query", "topic", "paragraph", "article", "candidate", "candidate_language", "rank"]
    rows = [tuple(row.values()) for row in _table("en-de").select(columns).to_pylist()]
    assert rows == [
        ("en:b", "b", "paragraph-1", "article-1", "de:0-0-0", "de", 100),
        ("en:a", "a", "paragraph-2", "article-1", "de:0-0-1", "de", 300),
    ]


@pytest.mark.parametrize(
    ("setting", "rows"),
    [
        ("de", [("de:b", "de:0-0-0", 100), ("de:a", "de:0-0-1", 200)]),
        ("zh", [("zh:b", "zh:0-0-0", 120)]),
        ("zh-en", [("zh:b", "en:0-0-0", 110), ("zh:a", "en:0-0-1", 210)]),
        (
            "de-all",
            [
                ("de:b", "de:0-0-0", 101),
                ("de:b", "en:0-0-0", 111),
                ("de:b", "zh:0-0-0", 121),
                ("de:a", "de:0-0-1", 201),
                ("de:a", "en:0-0-1", 211),
            ],
        ),
    ],
)
def test_rows_take_the_rank_in_the_pool_of_their_setting(
    setting: str, rows: list[tuple[str, str, int]]
) -> None:
    table = _table(setting)
    assert set(table["setting"].to_pylist()) == {setting}
    found = table.select(["query", "candidate", "rank"]).to_pylist()
    assert [tuple(row.values()) for row in found] == rows


def test_all_settings_come_back_in_the_order_written(path: Path) -> None:
    assert RankTable(path).settings == [str(s) for s in all_settings(COLLECTION.languages)]


def test_queries_come_back_sorted_with_their_own_ranks_and_clusters(path: Path) -> None:
    """In the collection b comes before a, and en:c between them."""
    found = RankTable(path).of("en-all")
    assert found.queries == ["en:a", "en:b", "en:c"]
    assert found.topics == ["a", "b", "c"]
    assert found.paragraphs == ["paragraph-2", "paragraph-1", "paragraph-3"]
    assert found.articles == ["article-1", "article-1", "article-2"]
    assert found.ranks.tolist() == [[301, 311, 0], [101, 111, 121], [201, 0, 0]]
    assert found.language_names == ["de", "en", "zh"]
    assert found.languages.tolist() == [[0, 1, -1], [0, 1, 2], [1, -1, -1]]


def test_queries_without_a_relevant_candidate_have_no_row(path: Path) -> None:
    table = RankTable(path)
    assert table.of("zh").queries == ["zh:b"]
    assert table.of("zh").ranks.tolist() == [[120]]
    assert table.of("en-zh").queries == ["en:b"]
    assert table.of("zh-all").queries == ["zh:a", "zh:b"]


def test_ranks_are_exact_integers_of_32_bits(path: Path) -> None:
    assert RankTable(path).of("de").ranks.dtype == np.int32
    assert pq.read_schema(path).field("rank").type == pa.int32()


def test_the_file_holds_schema_and_pool_sizes(path: Path) -> None:
    metadata = json.loads(pq.read_schema(path).metadata[b"biasbench"])
    assert metadata == {"schema": 1, "pools": SIZES}
    assert RankTable(path).pools == SIZES


def test_equal_ranks_are_equal_bytes(path: Path, tmp_path: Path) -> None:
    tables = [_table(str(setting)) for setting in all_settings(COLLECTION.languages)]
    write_ranks(tmp_path / "again" / "ranks.parquet", tables, dict(reversed(SIZES.items())))
    assert (tmp_path / "again" / "ranks.parquet").read_bytes() == path.read_bytes()


def test_ranks_of_a_search_reach_the_table_unchanged(tmp_path: Path) -> None:
    """From vectors to the table, against sorting every pool in plain Python."""
    rng = np.random.default_rng(3)
    names = [candidate.id for candidate in COLLECTION.candidates]
    vectors = rng.integers(-2, 3, size=(len(names), 3)).astype(np.float32)
    spans = {language: tuple(part) for language, part in COLLECTION.pools.items()}
    queries = {
        language: rng.integers(-2, 3, size=(len(COLLECTION.queries_in(language)), 3))
        for language in COLLECTION.languages
    }
    pool = make_pool(names, vectors, spans)
    tables = []
    for setting in all_settings(COLLECTION.languages):
        language = setting.query_language
        topics = COLLECTION.query_topics(language)
        rows = COLLECTION.relevant_rows[topics]
        results = search(queries[language].astype(np.float32), pool, rows, 4)
        tables.append(_table(str(setting), results.ranks))
    write_ranks(tmp_path / "ranks.parquet", tables, SIZES)
    table = RankTable(tmp_path / "ranks.parquet")
    for setting in all_settings(COLLECTION.languages):
        found = table.of(str(setting))
        asked = [query.id for query in COLLECTION.queries_in(setting.query_language)]
        for row, query in enumerate(found.queries):
            scores = vectors @ queries[setting.query_language][asked.index(query)]
            inside = {
                name: float(score)
                for name, score in zip(names, scores, strict=True)
                if setting.pool in ("all", name.split(":")[0])
            }
            order = canonical_order(inside)
            relevant = [name for name in RELEVANT[query.split(":")[1]] if name in inside]
            expected = [order.index(name) + 1 for name in relevant]
            assert [rank for rank in found.ranks[row].tolist() if rank] == expected


def _with_metadata(path: Path, metadata: dict[str, str] | None) -> Path:
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
    return path


@pytest.mark.parametrize(
    ("metadata", "schema"),
    [
        ({"biasbench": '{"schema": 99, "pools": {}}'}, "schema 99"),
        ({"biasbench": '{"pools": {}}'}, "schema None"),
        (None, "schema None"),
    ],
    ids=["newer", "no schema", "no metadata"],
)
def test_an_unknown_schema_is_refused(
    path: Path, metadata: dict[str, str] | None, schema: str
) -> None:
    with pytest.raises(BiasBenchError) as caught:
        RankTable(_with_metadata(path, metadata))
    assert str(path) in str(caught.value)
    assert f"{schema} is not known" in str(caught.value)


@pytest.mark.parametrize("keep", [0, 3, 100, -1, -30])
def test_truncated_ranks_are_data_errors(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="damaged") as caught:
        RankTable(path)
    assert str(path) in str(caught.value)


def test_ranks_with_a_damaged_page_are_data_errors(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4:44] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        RankTable(path)


@pytest.mark.parametrize("read", [RankTable, mean_scores])
def test_missing_tables_are_data_errors(
    tmp_path: Path, read: Callable[[Path], RankTable | dict]
) -> None:
    with pytest.raises(DataError, match="no such file") as caught:
        read(tmp_path / "absent.parquet")
    assert str(tmp_path / "absent.parquet") in str(caught.value)


@pytest.mark.parametrize("read", [mean_scores, count_queries])
def test_damaged_scores_are_data_errors(
    tmp_path: Path, read: Callable[[Path], dict[str, object]]
) -> None:
    (tmp_path / "scores.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="damaged"):
        read(tmp_path / "scores.parquet")


def test_counting_queries_of_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        count_queries(tmp_path / "scores.parquet")


def _scores(
    setting: str,
    exact: dict[Metric, list[float]],
    ranx: dict[Metric, list[float]] | None = None,
    trec_eval: dict[Metric, list[float]] | None = None,
) -> SettingScores:
    count = len(next(iter(exact.values())))
    language = parse_setting(setting).query_language
    names = [f"t{number}" for number in range(count)]
    queries = RankedQueries(
        queries=[f"{language}:{name}" for name in names],
        topics=names,
        paragraphs=[f"p-{name}" for name in names],
        articles=[f"a-{name}" for name in names],
        ranks=np.ones((count, 1), dtype=np.int32),
        languages=np.zeros((count, 1), dtype=np.int32),
        language_names=[language],
    )
    by_scorer = {"exact": exact, "ranx": ranx or {}, "trec_eval": trec_eval or {}}
    return SettingScores(
        setting,
        queries,
        {
            scorer: {metric: np.array(values) for metric, values in by_metric.items()}
            for scorer, by_metric in by_scorer.items()
        },
    )


def test_scores_are_written_value_by_value(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    write_scores(path, [_scores("de-en", {AP: [0.25, 1.0]}, {R1: [0.0, 1.0]}, {R1: [0.5, 0.75]})])
    rows = pq.read_table(path).to_pylist()
    text = {"setting": "de-en"}
    first = {"query": "de:t0", "topic": "t0", "paragraph": "p-t0", "article": "a-t0"}
    second = {"query": "de:t1", "topic": "t1", "paragraph": "p-t1", "article": "a-t1"}
    assert rows == [
        {**text, **query, "scorer": scorer, "metric": metric, "value": value}
        for scorer, metric, values in (
            ("exact", "AP", (0.25, 1.0)),
            ("ranx", "R@1", (0.0, 1.0)),
            ("trec_eval", "R@1", (0.5, 0.75)),
        )
        for query, value in zip((first, second), values, strict=True)
    ]


def test_means_are_of_the_exact_scorer_alone(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    wrong = {AP: [9.0, 9.0, 9.0]}
    write_scores(
        path,
        [
            _scores("de", {AP: [1.0, 0.5, 0.0], R1: [1.0, 0.0, 0.0]}, wrong, wrong),
            _scores("en-all", {AP: [0.125], R1: [0.0]}, {AP: [9.0]}, {R1: [9.0]}),
        ],
    )
    means = mean_scores(path)
    assert means == {
        "de": {"AP": pytest.approx(0.5), "R@1": pytest.approx(1 / 3)},
        "en-all": {"AP": 0.125, "R@1": 0.0},
    }
    assert count_queries(path) == {"de": 3, "en-all": 1}


def test_agreement_names_the_setting_query_and_metric_that_differ_most() -> None:
    found = agreement(
        [
            _scores("de", {AP: [0.5, 0.5]}, {AP: [0.5, 0.501]}, {AP: [0.499, 0.5]}),
            _scores(
                "en-de",
                {AP: [0.25, 0.5], R1: [1.0, 0.0]},
                {AP: [0.25, 0.5], R1: [1.0, 0.0]},
                {AP: [0.25, 0.46875], R1: [1.0, 0.015625]},
            ),
        ]
    )
    assert found.max_abs_difference == 0.03125
    assert found.compared == 12
    assert found.worst == "AP of en:t1 in en-de: trec_eval 0.468750, exact 0.500000"


def test_agreement_counts_differences_in_either_direction() -> None:
    higher = agreement([_scores("de", {AP: [0.5]}, {AP: [0.75]})])
    lower = agreement([_scores("de", {AP: [0.75]}, {AP: [0.5]})])
    assert higher.max_abs_difference == lower.max_abs_difference == 0.25


def test_agreement_compares_only_metrics_that_scorers_share() -> None:
    found = agreement([_scores("de", {AP: [0.5], R1: [1.0]}, {R1: [1.0]}, {R1: [1.0]})])
    assert (found.max_abs_difference, found.compared, found.worst) == (0.0, 2, "none")


def test_a_scorer_that_returns_nan_does_not_agree() -> None:
    found = agreement([_scores("de", {AP: [0.5, 0.5]}, {AP: [0.5, float("nan")]})])
    assert not found.max_abs_difference <= 1e-4


def test_macro_is_the_mean_of_means_over_settings(tmp_path: Path) -> None:
    """Three queries in one setting and one in another weigh the same as settings."""
    path = tmp_path / "scores.parquet"
    write_scores(
        path,
        [
            _scores("de", {AP: [1.0, 1.0, 0.25]}),
            _scores("en", {AP: [0.25]}),
            _scores("de-en", {AP: [0.5, 0.0]}),
            _scores("en-de", {AP: [1.0]}),
            _scores("en-all", {AP: [0.125]}),
        ],
    )
    summary = aggregate(mean_scores(path))
    assert {kind: means.dump() for kind, means in summary.items()} == {
        "monolingual": {
            "macro": {"AP": pytest.approx((0.75 + 0.25) / 2)},
            "per_setting": {"de": {"AP": pytest.approx(0.75)}, "en": {"AP": 0.25}},
        },
        "cross_lingual": {
            "macro": {"AP": pytest.approx((0.25 + 1.0) / 2)},
            "per_setting": {"de-en": {"AP": 0.25}, "en-de": {"AP": 1.0}},
        },
        "multilingual": {"macro": {"AP": 0.125}, "per_setting": {"en-all": {"AP": 0.125}}},
    }


def test_macro_keeps_metrics_apart_and_leaves_out_kinds_without_settings() -> None:
    summary = aggregate({"de": {"AP": 0.5, "R@1": 0.0}, "en": {"AP": 0.75, "R@1": 1.0}})
    assert list(summary) == ["monolingual"]
    assert summary["monolingual"].macro == {"AP": 0.625, "R@1": 0.5}


def test_rows_made_by_hand_are_read_like_written_ones(tmp_path: Path) -> None:
    rows = [("t2", "en:0-0-0", 7), ("t1", "en:0-0-1", 3), ("t2", "de:0-0-0", 2)]
    write_ranks(tmp_path / "ranks.parquet", [rank_rows("en-all", rows)], {"all": 9})
    found = RankTable(tmp_path / "ranks.parquet").of("en-all")
    assert found.queries == ["en:t1", "en:t2"]
    assert found.ranks.tolist() == [[3, 0], [7, 2]]
