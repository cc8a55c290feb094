"""Readers of files that may hold anything: a result, or one line that says what is wrong.

`BIASBENCH_FUZZ` is the number of files for each reader; `nox -s faults` tries many.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.config.experiment import (
    experiment_yaml,
    load_recipe,
    make_experiment,
    parse_override,
    read_yaml,
)
from bias_bench.config.mining import MiningSettings
from bias_bench.data.miracl_files import (
    expected_shards,
    read_judgements,
    read_passages,
    read_topics,
)
from bias_bench.data.sources import load_sources
from bias_bench.data.squad import load_lareqa
from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.given_files import given_files
from bias_bench.evaluation.labels import read_languages
from bias_bench.evaluation.labels import read_topics as read_topic_table
from bias_bench.evaluation.ranks import RankTable
from bias_bench.evaluation.run_record import Encoding, RunRecord
from bias_bench.evaluation.scores import read_exact
from bias_bench.evaluation.trec import read_qrels, read_run
from bias_bench.report.index_page import write_index
from bias_bench.report.run_page import write_run_page
from bias_bench.significance.run_values import pooled_figures
from bias_bench.significance.systems import read_finished
from bias_bench.training.negatives.mining import mine
from bias_bench.training.negatives.store import read_negatives, write_negatives
from tests.support.fuzzing import changed_json, fuzzed, hostile, packed, survives
from tests.training.test_mining import parallel_pairs, unit_vectors

pytestmark = pytest.mark.timeout(3600)
RECORD = RunRecord(
    schema=1,
    status="complete",
    name="run",
    benchmark="mini",
    system="bm25@lucene#0",
    seeds=[0],
    collection="",
    encoding=Encoding(precision="none"),
)

RUN = b"en:a Q0 en:0-0-0 1 2.5 tag\nen:a Q0 en:0-0-1 2 1.5 tag\nen:b Q0 de:0-0-0 1 -3e2 tag\n"
QRELS = b"en:a 0 en:0-0-0 1\nen:a 0 en:0-0-1 0\nen:b 0 de:0-0-0 3\n"
CONTEXT = "One. Two two. Three!"
SQUAD = {
    "data": [
        {
            "title": "T",
            "paragraphs": [
                {
                    "context": CONTEXT,
                    "qas": [
                        {"id": "q1", "question": "Which?", "answers": [{"answer_start": 5}]},
                        {"id": "q2", "question": "Who?", "answers": [{"answer_start": 14}]},
                    ],
                    "sentences": ["One.", "Two two.", "Three!"],
                    "sentence_breaks": [[0, 4], [5, 13], [14, 20]],
                }
            ],
        }
    ]
}
PAIR_ROWS = [
    {"query": "q", "positive": "p", "language": "en", "negatives": ["n"], "group": 1, "title": "t"},
    {"query": "r", "positive": "s", "query_language": "de", "positive_language": "en", "id": "x"},
]
PAIRS = "".join(json.dumps(row) + "\n" for row in PAIR_ROWS).encode("utf-8")
LINES = "Ein Satz.\nNoch einer.\n\nDer dritte — 3.\n".encode()
EXPERIMENT = experiment_yaml(
    make_experiment({"training": {"sources": [{"form": "lines", "files": {"en": "a", "de": "b"}}]}})
).encode("utf-8")
TOPICS = b"1\tWho?\n2\tWhere is it?\n"
JUDGEMENTS = b"1\tQ0\t7#0\t1\n1\tQ0\t7#1\t0\n2\tQ0\t9#3\t1\n"
PASSAGES = (
    b'{"docid": "7#0", "title": "T", "text": "x"}\n{"docid": "7#1", "title": "", "text": "y"}\n'
)
SUMS = b"0" * 64 + b"  docs-0.jsonl.gz\n" + b"f" * 64 + b" *docs-1.jsonl.gz\n"


@pytest.fixture
def place(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def put(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return put


Place = Callable[[str, bytes], Path]


@fuzzed
@given(data=hostile([RUN]), name=st.sampled_from(["a.run", "a.run.gz"]), zipped=st.booleans())
def test_trec_runs(place: Place, data: bytes, name: str, zipped: bool) -> None:
    path = place(name, packed(data) if zipped else data)
    survives(lambda: read_run(path))


@fuzzed
@given(data=hostile([RUN, packed(RUN)]))
def test_trec_runs_whose_gzip_is_damaged(place: Place, data: bytes) -> None:
    path = place("a.run.gz", data)
    survives(lambda: read_run(path))


@fuzzed
@given(data=hostile([QRELS]))
def test_qrels(place: Place, data: bytes) -> None:
    path = place("a.qrels", data)
    survives(lambda: read_qrels(path))


@fuzzed
@given(data=hostile([b"en:a\ten\nen:0-0-0\ten\nde:0-0-0\tde\n", b"q\tt\tp\ta\nr\tt\tp\ta\n"]))
def test_tables_of_languages_and_topics(place: Place, data: bytes) -> None:
    path = place("table.tsv", data)
    survives(lambda: read_languages(path))
    survives(lambda: read_topic_table(path))


@fuzzed
@given(name=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20))
def test_names_of_settings(name: str) -> None:
    survives(lambda: given_files([name], "run"))
    survives(lambda: given_files([f"{name}=file"], "run"))


@fuzzed
@given(data=hostile([json.dumps(SQUAD).encode()]) | changed_json(SQUAD))
def test_squad_and_lareqa(place: Place, data: bytes) -> None:
    path = place("en.json", data)
    survives(lambda: load_lareqa("made-up", {"en": path}))
    entry = {"name": "s", "form": "squad", "files": {"en": str(path)}}
    survives(lambda: load_sources([entry], None))


@fuzzed
@given(
    data=hostile([PAIRS, packed(PAIRS)])
    | st.lists(st.sampled_from(PAIR_ROWS).flatmap(changed_json), max_size=2).map(b"\n".join),
    name=st.sampled_from(["p.jsonl", "p.jsonl.gz", "p.zip", "p.parquet"]),
)
def test_pairs(place: Place, data: bytes, name: str) -> None:
    path = place(name, data)
    entry = {"name": "p", "form": "pairs", "path": str(path), "options": {"cross": True}}
    survives(lambda: load_sources([entry], None))
    survives(lambda: load_sources([{**entry, "options": {}}], None))


@pytest.fixture(scope="module")
def parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([{**PAIR_ROWS[0], **PAIR_ROWS[1]}] * 3), sink)
    return sink.getvalue().to_pybytes()


@fuzzed
@given(data=st.data())
def test_parquet_pairs(place: Place, parquet: bytes, data: st.DataObject) -> None:
    path = place("p.parquet", data.draw(hostile([parquet])))
    survives(lambda: load_sources([{"name": "p", "form": "pairs", "path": str(path)}], None))


@fuzzed
@given(first=hostile([LINES]), second=hostile([LINES]))
def test_aligned_text(place: Place, first: bytes, second: bytes) -> None:
    files = {"de": str(place("de.txt", first)), "en": str(place("en.txt", second))}
    entry = {"name": "l", "form": "lines", "files": files, "documents": files["de"]}
    survives(lambda: load_sources([entry], None))


@fuzzed
@given(data=hostile([EXPERIMENT, b"seed: 1\ntraining: {mixture: {mono: 1}}\n"]))
def test_experiments_and_recipes(place: Place, data: bytes) -> None:
    path = place("experiment.yaml", data)
    survives(lambda: make_experiment(read_yaml(path)))
    survives(lambda: make_experiment(load_recipe(str(path)).settings))


@fuzzed
@given(data=changed_json(make_experiment().model_dump()))
def test_experiments_with_any_value_anywhere(place: Place, data: bytes) -> None:
    path = place("experiment.yaml", data)
    survives(lambda: make_experiment(read_yaml(path)))


@fuzzed
@given(text=st.text(max_size=30) | st.text(max_size=20).map("training.mixture={}".format))
def test_settings_on_the_command_line(text: str) -> None:
    survives(lambda: make_experiment(parse_override(text)))


@fuzzed
@given(topics=hostile([TOPICS]), judged=hostile([JUDGEMENTS]), passages=hostile([PASSAGES]))
def test_miracl_topics_judgements_and_passages(
    place: Place, topics: bytes, judged: bytes, passages: bytes
) -> None:
    sound, other = place("sound.tsv", TOPICS), place("topics.tsv", topics)
    qrels = place("qrels.tsv", judged)
    survives(lambda: read_topics(other))
    survives(lambda: read_judgements(qrels, read_topics(sound), sound))
    shard = place("docs-0.jsonl", passages)
    survives(lambda: list(read_passages(shard)))


@fuzzed
@given(
    sums=hostile([SUMS]),
    generated=hostile([b'{"what": "w", "seed": 0, "passages": {"sw": 3}, "schema_version": 1}']),
)
def test_miracl_lists_of_shards(tmp_path: Path, sums: bytes, generated: bytes) -> None:
    folder = tmp_path / "miracl-corpus-v1.0-sw"
    folder.mkdir(exist_ok=True)
    (folder / "SHA256SUMS").write_bytes(sums)
    survives(lambda: expected_shards(tmp_path, "sw"))
    (tmp_path / "GENERATED.json").write_bytes(generated)
    survives(lambda: expected_shards(tmp_path, "sw"))


@fuzzed
@given(data=st.data())
def test_manifests(tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "run"
    folder.mkdir(exist_ok=True)
    RECORD.save(folder)
    path = folder / "manifest.json"
    sound = path.read_bytes()
    changed = data.draw(hostile([sound]) | changed_json(json.loads(sound)))
    path.write_bytes(changed)
    survives(lambda: RunRecord.load(folder))
    path.unlink()


@fuzzed
@given(data=st.data())
def test_pages_of_runs(native: Path, tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "run"
    folder.mkdir(exist_ok=True)
    RunRecord.load(native).model_copy(update={"stages": {}, "status": "complete"}).save(folder)
    sound = json.loads((native / "metrics.json").read_text("utf-8"))
    (folder / "metrics.json").write_bytes(data.draw(changed_json(sound)))
    survives(lambda: write_run_page(folder, tmp_path))
    survives(lambda: pooled_figures(read_finished(folder), ["en-all"], None))


@fuzzed
@given(data=st.data())
def test_tables_of_ranks_and_scores(native: Path, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "ranks.parquet"
    sound = (native / path.name).read_bytes()
    changed = bytearray(data.draw(hostile([sound])))
    if changed and data.draw(st.booleans()):  # where parquet keeps its schema
        changed[-data.draw(st.integers(1, min(len(changed), 2000)))] ^= 1 << data.draw(
            st.integers(0, 7)
        )
    path.write_bytes(changed)
    survives(lambda: RankTable(path))
    survives(lambda: read_exact(path))


@fuzzed
@given(data=st.data())
def test_mined_negatives(tmp_path: Path, data: st.DataObject) -> None:
    pairs = parallel_pairs(12, 2)
    vectors = unit_vectors(len(pairs.query_texts), 0)
    mined = mine(pairs, vectors, vectors[::-1], MiningSettings(number=4, relative_margin=0.0), 0)
    path = tmp_path / "negatives.jsonl.gz"
    write_negatives(path, mined, pairs, {})
    head, *rows = gzip.decompress(path.read_bytes()).splitlines()
    changed = data.draw(changed_json(json.loads(rows[0])) | hostile([rows[0]]))
    path.write_bytes(packed(b"\n".join([head, changed, *rows[1:]])))
    survives(lambda: read_negatives(path, pairs))
    path.write_bytes(packed(b"\n".join([data.draw(changed_json(json.loads(head))), *rows])))
    survives(lambda: read_negatives(path, pairs))


def test_half_a_surrogate_pair_is_no_text(place: Place) -> None:
    for escape in ("\\ud83d", "\\uD83D"):
        row = f'{{"query": "{escape}", "positive": "p", "language": "en"}}'
        path = place("p.jsonl", row.encode("ascii"))
        with pytest.raises(BiasBenchError, match="half of a surrogate pair"):
            load_sources([{"name": "p", "form": "pairs", "path": str(path)}], None)


ENTRY = {
    "name": "mini-hybrid-0", "benchmark": "mini", "system": "s", "demonstration": True,
    "precision": {"monolingual": 0.1, "cross_lingual": 0.2, "multilingual": None},
    "rank_distance": 3.0, "median_rank_distance": 2.0, "same_language_top1": 0.5, "cutoff": None,
    "note": None,
}  # fmt: skip
COMPARED = {"benchmark": "b", "metric": "AP", "baseline": "a", "systems": ["b"], "tested": True}


@fuzzed
@given(data=hostile([b"<html>"]) | changed_json(ENTRY) | changed_json(COMPARED))
def test_pages_that_the_index_reads(tmp_path: Path, data: bytes) -> None:
    page = b'<html><script type="application/json" id="entry">' + data + b"</script></html>"
    (tmp_path / "page.html").write_bytes(page)
    assert write_index(tmp_path).is_file()
