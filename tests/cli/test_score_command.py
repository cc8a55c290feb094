"""`biasbench score`: rankings of other tools get the same scores and bias metrics as a run."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from bias_bench.cli import run_command
from bias_bench.evaluation.ranks import RankTable
from tests.support.external_rankings import DEPTH, LANGUAGES, QRELS, RUN, Files
from tests.support.helpers import qrels_text, run_text
from tests.support.runs import manifest, results


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """The example of `tests.support.external_rankings`, written."""
    found = Files(tmp_path)
    found.write_example()
    return found


def _metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def _values(folder: Path) -> dict[tuple[str, ...], float]:
    """All scores of a folder by setting, query, scorer and metric."""
    table = pq.read_table(folder / "scores.parquet").to_pylist()
    return {
        (row["setting"], row["query"], row["scorer"], row["metric"]): row["value"] for row in table
    }


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scored example."""
    found = Files(tmp_path_factory.mktemp("example"))
    found.write_example()
    assert found.score() == 0
    return found.out / "a-other-0"


def test_worked_example_retrieval(example: Path) -> None:
    found = _metrics(example)["retrieval"]
    assert list(found) == ["multilingual"]
    settings = found["multilingual"]["per_setting"]
    assert {name: values["AP@4"] for name, values in settings.items()} == pytest.approx(
        {"de-all": 0.0, "en-all": (5 / 9 + 1) / 2, "fr-all": 1.0}
    )
    assert set(found["multilingual"]["macro"]) == {"AP@4", "R@1"}
    assert found["multilingual"]["macro"]["AP@4"] == pytest.approx(16 / 27)
    assert found["multilingual"]["macro"]["R@1"] == pytest.approx(2 / 9)


def test_worked_example_bias(example: Path) -> None:
    bias = _metrics(example)["bias"]
    distance = bias["rank_distance"]
    assert distance["per_language"] == {"en": (4 + 2) / 2, "fr": 2}
    assert (distance["macro"], distance["cutoff"], distance["normalised"]) == (2.5, DEPTH, 2.5 / 4)
    assert (distance["not_retrieved"], distance["left_out"]) == (2, 0)
    assert bias["worst_rank"]["per_language"] == {
        "de": (3 + 5) / 2,  # the first has no results, but three candidates
        "en": (5 + 3) / 2,
        "fr": 3,
    }
    assert not any(name.startswith("complete@") for name in bias["worst_rank"])
    assert bias["same_language_first"]["per_language"] == {"en": 0.5, "fr": 1}
    assert bias["same_language_top1"]["per_language"] == {"de": 1, "en": 0.5, "fr": 1}
    assert bias["target_removal"]["per_language"] == pytest.approx({"de": 0, "en": 5 / 24, "fr": 0})
    assert bias["single_target"]["table"]["en"] == {"de": 0.75, "en": 1, "fr": 0.5}
    assert bias["single_target"]["table"]["de"] == {"de": 0, "en": 0, "fr": 0}
    assert bias["language_gaps"]["query"]["macro"] == pytest.approx(16 / 27)
    assert "pool" not in bias["exposure"]["awrf"]


def test_what_is_missing_or_left_out_is_counted(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    assert files.score("--name", "x") == 0
    shown = capsys.readouterr()
    warnings = [line for line in shown.err.splitlines() if line.startswith("warning: ")]
    assert "a.run: 1 query without judgements, left out (first: en:t7)" in warnings[0]
    assert "1 query without results, counted as 0 (de-all 1)" in warnings[1]
    assert "1 query without a relevant candidate in the pool, left out (fr-all 1)" in warnings[2]
    assert len(warnings) == 3
    assert "all languages" in shown.out
    assert "AP@4" in shown.out
    recorded = manifest(files.out / "x")
    assert recorded["status"] == "complete"
    assert recorded["kind"] == "external"
    assert recorded["extra_queries"] == {"a.run": {"number": 1, "first": "en:t7"}}
    assert recorded["counts"]["de-all"] == {
        "queries": 2, "missing": 1, "without_relevant": 0, "relevant": 6, "not_retrieved": 6,
    }  # fmt: skip
    assert recorded["counts"]["fr-all"]["without_relevant"] == 1
    assert [part["role"] for part in recorded["inputs"]] == ["run", "qrels"]
    assert str(files.folder) not in json.dumps(recorded["inputs"])


def test_scorers_agree_and_all_score_every_metric(example: Path) -> None:
    values = _values(example)
    assert {scorer for _, _, scorer, _ in values} == {"exact", "ranx", "trec_eval"}
    for (setting, query, scorer, metric), value in values.items():
        assert value == pytest.approx(values[setting, query, "exact", metric], abs=1e-4), scorer


def test_unretrieved_candidates_have_the_best_rank_that_they_can_have(example: Path) -> None:
    table = RankTable(example / "ranks.parquet")
    assert table.cutoff == DEPTH
    found = table.of("en-all")
    assert found.queries == ["en:t1", "en:t2"]
    by_language = {name: found.ranks[0][found.languages[0] == place].item()
                   for place, name in enumerate(found.language_names)}  # fmt: skip
    assert by_language == {"de": 3, "en": 1, "fr": 5}


def test_a_run_s_own_files_get_the_run_s_scores(native: Path, rescored: Path) -> None:
    expected, found = _values(native), _values(rescored)
    assert {metric for *_, metric in found} == {
        "AP@100", "nDCG@10", "R@1", "R@10", "R@100", "RR@10",
    }  # fmt: skip
    full = {key: value for key, value in expected.items() if key[3] not in ("AP", "RR")}
    assert found == full
    assert len({setting for setting, *_ in found}) == 132


def test_a_run_s_own_files_get_the_run_s_bias_where_the_top_decides(
    native: Path, rescored: Path
) -> None:
    expected, found = _metrics(native)["bias"], _metrics(rescored)["bias"]
    for name in ("same_language_top1", "same_language_top10", "top_hit", "exposure", "peer"):
        assert found[name] == expected[name], name
    cut = RankTable(native / "ranks.parquet", cutoff=100)
    assert cut.cutoff == 100
    for setting in ("en-all", "th-all", "en", "en-de"):
        ranks = RankTable(rescored / "ranks.parquet").of(setting).ranks
        assert ranks.tolist() == cut.of(setting).ranks.tolist()


def test_compare_takes_a_run_and_rankings_of_another_tool(
    native: Path, rescored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--metric", "AP@100", "--significance", "--permutations", "99", "--format", "json"]
    assert run_command(["compare", str(native), str(rescored), *arguments]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["systems"]
    assert {name: cell["difference"] for name, cell in entry["groups"].items()} == {
        "monolingual": 0, "cross_lingual": 0, "multilingual": 0,
    }  # fmt: skip
    assert len(entry["settings"]) == 132


def test_compare_takes_rankings_of_two_other_tools(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    assert files.score("--system", "first") == 0
    better = {**RUN, "de:t1": {"de:1": 3.0, "en:1": 2.0, "fr:1": 1.0, "en:9": 0.5}}
    files.write("b.run", run_text(better))
    assert files.score("--system", "second", run="b.run") == 0
    folders = [str(files.out / f"a-{name}-0") for name in ("first", "second")]
    capsys.readouterr()
    assert run_command(["compare", *folders, "--metric", "AP@4", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (entry,) = found["systems"]
    assert (found["baseline"], entry["system"]) == ("first#0", "second#0")
    assert entry["groups"]["multilingual"]["difference"] == pytest.approx(1 / 6)


def test_the_run_and_the_judgements_may_be_compressed(files: Files, example: Path) -> None:
    for name in ("a.run", "a.qrels"):
        (files.folder / f"{name}.gz").write_bytes(gzip.compress((files.folder / name).read_bytes()))
    assert files.score(run="a.run.gz", qrels="a.qrels.gz") == 0
    assert results(files.out / "a-other-0") == results(example)


def test_neither_order_nor_spacing_of_lines_matters(files: Files, example: Path) -> None:
    shuffled = np.random.default_rng(3)
    for name, text in (("a.run", run_text(RUN)), ("a.qrels", qrels_text(QRELS))):
        lines = text.splitlines()
        shuffled.shuffle(lines)
        files.write(name, "\n\n".join(line.replace(" ", "\t") for line in lines) + "\r\n")
    assert files.score() == 0
    assert results(files.out / "a-other-0") == results(example)


def test_a_table_of_languages_and_a_pattern_give_the_same(files: Files, example: Path) -> None:
    ids = sorted({*RUN, *QRELS, *(name for part in RUN.values() for name in part), "fr:1", "fr:2"})
    table = files.write("ids.tsv", "".join(f"{name}\t{name[:2]}\n" for name in ids))
    assert files.score("--languages", str(table), "--name", "table") == 0
    assert files.score("--language-pattern", "^(?P<language>..):", "--name", "pattern") == 0
    for name in ("table", "pattern"):
        assert results(files.out / name) == results(example)


def test_names_of_any_form_are_mapped_and_ties_keep_the_tool_s_ids(files: Files) -> None:
    files.write("b.run", run_text({"q1": {"a": 1.0, "b": 1.0}, "q2": {"b": 1.0}}))
    files.write("b.qrels", qrels_text({"q1": {"a": 1, "b": 1}, "q2": {"a": 1, "b": 1}}))
    languages = files.write("l.tsv", "id\tlanguage\nq1\ten\nq2\tzh_CN\na\ten\nb\tde\n")
    topics = files.write("t.tsv", "q1\tone\tp\tx\nq2\tone\tp\tx\n")
    tables = ["--languages", str(languages), "--topics", str(topics)]
    assert files.score(*tables, "--name", "n", run="b.run", qrels="b.qrels") == 0
    folder = files.out / "n"
    run_lines = gzip.decompress((folder / "trec/multilingual/en-all.run.gz").read_bytes())
    assert [line.split()[2] for line in run_lines.splitlines()] == [b"de:b", b"en:a"]
    found = RankTable(folder / "ranks.parquet")
    assert found.settings == ["en-all", "zh_CN-all"]
    for setting, query in (("en-all", "en:q1"), ("zh_CN-all", "zh_CN:q2")):
        part = found.of(setting)
        assert (part.queries, part.topics) == ([query], ["one"])
        assert (part.paragraphs, part.articles) == (["p"], ["x"])


def test_settings_can_be_given_one_by_one_with_judgements_for_all(files: Files) -> None:
    given = []
    for setting in ("en", "en-de"):
        pool = setting[-2:]
        own = {
            query: {name: score for name, score in found.items() if name.startswith(pool)}
            for query, found in RUN.items()
            if query.startswith("en")
        }
        given += ["--run", f"{setting}={files.write(f'{setting}.run', run_text(own))}"]
    arguments = [*given, "--qrels", str(files.folder / "a.qrels"), "--out", str(files.out)]
    assert run_command(["score", *arguments, "--name", "n", "--depth", "2"]) == 0
    found = _metrics(files.out / "n")
    assert found["bias"] == {}
    # de:1 is second behind de:9, de:2 is first
    assert found["retrieval"]["cross_lingual"]["per_setting"]["en-de"]["AP@2"] == 0.75
    assert found["retrieval"]["monolingual"]["per_setting"]["en"]["AP@2"] == 1


def test_depth_cuts_rankings(files: Files) -> None:
    assert files.score("--depth", "2", "--name", "n") == 0
    found = _metrics(files.out / "n")
    assert found["cutoff"] == 2
    settings = found["retrieval"]["multilingual"]["per_setting"]
    assert settings["en-all"]["AP@2"] == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert found["bias"]["rank_distance"]["per_language"] == {"en": 2, "fr": 2}


def test_json_holds_all_metrics(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert files.score("--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    folder = files.out / "a-other-0"
    assert {key: found[key] for key in found if key not in ("run", "folder")} == _metrics(folder)
    assert found["folder"] == str(folder)


def test_a_folder_keeps_what_was_scored_into_it(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    assert files.score() == 0
    folder = files.out / "a-other-0"
    before = results(folder)
    assert files.score() == 0
    assert "rankings: unchanged, kept" in capsys.readouterr().err
    files.write("a.run", run_text({**RUN, "de:t1": {"de:1": 1.0}}))
    assert files.score() == 2
    assert "holds other scores (the inputs differs)" in capsys.readouterr().err
    assert results(folder) == before
    assert files.score("--policy", "always") == 0
    assert _metrics(folder)["counts"]["de-all"]["missing"] == 0


def test_languages_of_the_example_are_all_recorded(example: Path) -> None:
    assert manifest(example)["languages"] == list(LANGUAGES)


def test_a_file_that_ranx_wrote_gets_trec_eval_s_scores_and_is_compared(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    import pytrec_eval
    import ranx

    random = np.random.default_rng(5)
    candidates = [f"doc{number}" for number in range(60)]
    languages = {name: LANGUAGES[row % 3] for row, name in enumerate(candidates)}
    run: dict[str, dict[str, float]] = {}
    qrels: dict[str, dict[str, int]] = {}
    for topic in range(12):
        for language in LANGUAGES:
            query = f"question-{topic}-{language}"
            languages[query] = language
            found = random.choice(candidates, 20, replace=False).tolist()
            run[query] = {name: float(random.integers(6)) for name in found}  # many ties
            qrels[query] = dict.fromkeys(candidates[3 * topic : 3 * topic + 3], 1)
    lines = [f"{name}\t{language}\n" for name, language in languages.items()]
    table = files.write("languages.tsv", "".join(lines))
    ranx.Run(run, name="theirs").save(str(files.folder / "their.trec"), kind="trec")
    files.write("their.qrels", qrels_text(qrels))
    options = ["--languages", str(table), "--topic-pattern", "^question-(?P<topic>[0-9]+)-"]
    for system, path in (("theirs", "their.trec"), ("worse", "worse.trec")):
        files.write("worse.trec", run_text({query: run[query] for query in list(run)[:24]}))
        arguments = [*options, "--system", system, "--benchmark", "small", "--depth", "20"]
        assert files.score(*arguments, run=path, qrels="their.qrels") == 0
    measures = {"map_cut.20", "ndcg_cut.10", "recall.1,10"}
    oracle = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    values = _values(files.out / "small-theirs-0")
    for query, expected in oracle.items():
        language = query[-2:]
        for name, metric in (("map_cut_20", "AP@20"), ("ndcg_cut_10", "nDCG@10"),
                             ("recall_1", "R@1"), ("recall_10", "R@10")):  # fmt: skip
            key = (f"{language}-all", f"{language}:{query}", "exact", metric)
            assert values[key] == pytest.approx(expected[name], abs=1e-9)
    capsys.readouterr()
    folders = [str(files.out / f"small-{name}-0") for name in ("worse", "theirs")]
    arguments = ["--metric", "AP@20", "--significance", "--permutations", "99", "--format", "json"]
    assert run_command(["compare", *folders, *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["benchmark"], found["topics"]) == ("small", 12)
    assert found["systems"][0]["groups"]["multilingual"]["difference"] > 0
