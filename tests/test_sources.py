"""Training sources: every form on small files, the named ones on the real data, bad inputs."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bias_bench.datasets.mini import training_topics
from bias_bench.datasets.pairs import Pairs, pairs_from_collection
from bias_bench.datasets.registry import benchmarks
from bias_bench.datasets.sources import (
    FORMS,
    LoadedSource,
    SourceSpec,
    load_sources,
    parse_entry,
)
from bias_bench.datasets.sources.build import TextTable, crossed
from bias_bench.datasets.sources.codes import our_language
from bias_bench.datasets.sources.named import named_sources
from bias_bench.errors import BiasBenchError, DataError, UsageError
from bias_bench.files import sha256_file

ELEVEN = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
Tuples = list[tuple[str, str, str, str]]


def shown(pairs: Pairs) -> Tuples:
    """Each pair as (query language, query, candidate language, candidate)."""
    columns = pairs.query_language, pairs.query, pairs.candidate_language, pairs.candidate
    return [
        (
            pairs.languages[query_language],
            pairs.query_texts[query],
            pairs.languages[candidate_language],
            pairs.candidate_texts[candidate],
        )
        for query_language, query, candidate_language, candidate in zip(*columns, strict=True)
    ]


def topics_of(pairs: Pairs) -> list[str]:
    return [pairs.topic_ids[topic] for topic in pairs.topic]


def put(path: Path, lines: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def put_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    return put(path, (json.dumps(row, ensure_ascii=False) for row in rows))


def message(entry: str | dict[str, Any], folder: Path | None, kind: type[BiasBenchError]) -> str:
    """The one line that loading this entry fails with."""
    with pytest.raises(kind) as caught:
        load_sources([entry], folder)
    text = str(caught.value)
    assert "\n" not in text
    return text


# squad


def paragraph(context: str, questions: Mapping[str, tuple[str, str]], sentences: int = 0) -> dict:
    """Questions as id -> (text, answer); with `sentences`, cut at as many full stops."""
    made: dict[str, Any] = {
        "context": context,
        "qas": [
            {"id": name, "question": text, "answers": [{"answer_start": context.index(answer)}]}
            for name, (text, answer) in questions.items()
        ],
    }
    if sentences:
        ends = [index + 1 for index, character in enumerate(context) if character == "."]
        starts = [0, *(end + 1 for end in ends[:-1])]
        made["sentence_breaks"] = list(zip(starts, ends, strict=True))
        made["sentences"] = [context[a:b] for a, b in made["sentence_breaks"]]
    return made


def squad_file(path: Path, title: str, *paragraphs: dict) -> Path:
    return put(path, [json.dumps({"data": [{"title": title, "paragraphs": paragraphs}]})])


@pytest.fixture
def bees(tmp_path: Path) -> Path:
    """q1 and q2 in en and de, q3 in en alone; q1 and q2 share a sentence in de."""
    english = {"q1": ("Who eats?", "Bees"), "q2": ("Who sings?", "Owls"), "q3": ("Why?", "Owls")}
    german = {"q2": ("Wer singt?", "Eulen"), "q1": ("Wer isst?", "Bienen")}
    for folder, broken in (("breaks", 1), ("plain", 0)):
        squad_file(
            tmp_path / folder / "en.json",
            "Animals",
            paragraph("Bees eat. Owls sing.", english, broken),
        )
        squad_file(
            tmp_path / folder / "de.json",
            "Tiere",
            paragraph("Nichts. Bienen und Eulen.", german, broken),
        )
    return tmp_path


def squad_entry(folder: str) -> dict[str, Any]:
    files = {language: f"{folder}/{language}.json" for language in ("en", "de")}
    return {"name": "bees", "form": "squad", "files": files}


def test_squad_with_breaks_pairs_questions_with_sentences_in_all_directions(bees: Path) -> None:
    loaded = load_sources([squad_entry("breaks")], bees)
    english, german = "Bees eat.", "Bienen und Eulen."
    assert loaded.negatives is None
    assert sorted(shown(loaded.pairs)) == sorted(
        [
            ("en", "Who eats?", "en", english),
            ("en", "Who eats?", "de", german),
            ("de", "Wer isst?", "en", english),
            ("de", "Wer isst?", "de", german),
            ("en", "Who sings?", "en", "Owls sing."),
            ("en", "Who sings?", "de", german),
            ("de", "Wer singt?", "en", "Owls sing."),
            ("de", "Wer singt?", "de", german),
            ("en", "Why?", "en", "Owls sing."),
        ]
    )
    assert loaded.pairs.topic_ids == ("q1", "q2", "q3")
    assert loaded.pairs.topic_titles == ("Animals",) * 3  # as in English
    assert loaded.pairs.data_sets == ("bees",)
    assert loaded.pairs.group.max() == 0  # linked through shared sentences


def test_squad_without_breaks_pairs_questions_with_paragraphs(bees: Path) -> None:
    pairs = load_sources([squad_entry("plain")], bees).pairs
    assert len(pairs) == 2 * 4 + 1
    assert set(pairs.candidate_texts) == {"Bees eat. Owls sing.", "Nichts. Bienen und Eulen."}
    mono = load_sources(
        [{"form": "squad", "files": {"de": "plain/de.json"}, "name": "x"}], bees
    ).pairs
    assert mono.languages == ("de",)
    assert topics_of(mono) == ["q2", "q1"]


def test_squad_languages_are_kept_or_missed_clearly(bees: Path) -> None:
    entry = squad_entry("breaks")
    kept = load_sources([{**entry, "options": {"languages": ["eng"]}}], bees).pairs
    assert (kept.languages, len(kept)) == (("en",), 3)
    missed = message({**entry, "options": {"languages": ["en", "fi"]}}, bees, UsageError)
    assert missed == (
        "training source 'bees': has no language 'fi' (options.languages); it has de, en"
    )


def test_squad_with_breaks_in_some_paragraphs_names_the_place(tmp_path: Path) -> None:
    put_in = {"q1": ("Who?", "Bees")}, {"q2": ("Who?", "Owls")}
    squad_file(
        tmp_path / "en.json", "", paragraph("Bees.", put_in[0], 1), paragraph("Owls.", put_in[1])
    )
    text = message({"form": "squad", "files": {"en": "en.json"}}, tmp_path, DataError)
    assert "en.json: article 0, paragraph 1: no 'sentence_breaks'" in text


def test_squad_repeated_id_and_empty_context_name_the_place(tmp_path: Path) -> None:
    twice = paragraph("Bees.", {"q": ("Who?", "Bees")})
    squad_file(tmp_path / "twice.json", "", twice, twice)
    entry: dict[str, Any] = {"form": "squad", "files": {"en": "twice.json"}}
    assert "paragraph 1: question id 'q' occurs twice" in message(entry, tmp_path, DataError)
    squad_file(tmp_path / "empty.json", "", {**twice, "context": " "})
    entry = {"form": "squad", "files": {"en": "empty.json"}}
    assert "paragraph 0: empty context" in message(entry, tmp_path, DataError)


# lines


def lines_entry(**files: str) -> dict[str, Any]:
    return {"name": "news", "form": "lines", "files": files}


def test_lines_pair_translations_and_never_a_line_with_itself(tmp_path: Path) -> None:
    put(tmp_path / "a.en", ["one", "two", "three"])
    (tmp_path / "a.de").write_bytes("\ufeffeins\r\nzwei\u2028zwei\r\ndrei".encode())
    put(tmp_path / "a.es", ["uno", "dos", "tres"])
    put(tmp_path / "ids.tsv", ["doc1\tx", "doc1\tx", "doc2\tx"])
    entry = {**lines_entry(eng="a.en", deu_Latn="a.de", es="a.es"), "documents": "ids.tsv"}
    pairs = load_sources([entry], tmp_path).pairs
    assert pairs.languages == ("de", "en", "es")
    assert len(pairs) == 3 * 3 * 2
    assert (pairs.query_language != pairs.candidate_language).all()
    assert ("de", "zwei\u2028zwei", "en", "two") in shown(pairs)
    assert set(shown(pairs)[:6]) == {
        ("de", "eins", "en", "one"),
        ("de", "eins", "es", "uno"),
        ("en", "one", "de", "eins"),
        ("en", "one", "es", "uno"),
        ("es", "uno", "de", "eins"),
        ("es", "uno", "en", "one"),
    }
    assert pairs.topic_titles == ("doc1", "doc1", "doc2")
    assert pairs.group.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    two = load_sources([{**entry, "options": {"languages": ["de", "en"]}}], tmp_path).pairs
    assert (two.languages, len(two)) == (("de", "en"), 3 * 2)


def test_lines_equal_in_one_language_are_one_group(tmp_path: Path) -> None:
    put(tmp_path / "a.en", ["so bad", "very bad", "good"])
    put(tmp_path / "a.de", ["schlimm", "schlimm", "gut"])
    pairs = load_sources([lines_entry(en="a.en", de="a.de")], tmp_path).pairs
    assert pairs.group.tolist() == [0, 0, 0, 0, 1, 1]
    assert len(pairs.candidate_texts) == 5


def test_lines_blank_in_one_language_are_left_out_of_all_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "a.en", ["one", " ", "three"])
    put(tmp_path / "a.de", ["eins", "zwei", "drei"])
    pairs = load_sources([lines_entry(en="a.en", de="a.de")], tmp_path).pairs
    assert pairs.topic_ids == ("line-1", "line-3")
    assert "zwei" not in pairs.candidate_texts
    assert capsys.readouterr().err == (
        "news: 1 of 3 lines left out, blank in at least one language\n"
    )


@pytest.mark.parametrize("odd", ["a.de", "ids.tsv"])
def test_lines_that_do_not_match_name_both_files_and_counts(tmp_path: Path, odd: str) -> None:
    for name in ("a.en", "a.de", "ids.tsv"):
        put(tmp_path / name, ["x"] * (1200 if name == odd else 1201))
    entry = {**lines_entry(de="a.de", en="a.en"), "documents": "ids.tsv"}
    text = message(entry, tmp_path, DataError)
    assert all(part in text for part in ("a.de", odd, "1,200", "1,201"))


def test_lines_in_one_language_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "a.en", ["x"])
    assert "need two or more" in message(lines_entry(en="a.en"), tmp_path, UsageError)


# pairs

ROW = {"query": "who", "positive": "bees", "language": "en"}
ROW_LINE = json.dumps(ROW).encode() + b"\n"


def test_pairs_take_rows_as_they_stand(tmp_path: Path) -> None:
    rows = [
        {"query": "who", "positive": "bees", "negatives": ["ants", "bees"], "language": "en",
         "group": 7, "title": ""},
        {"query": "wer", "positive": "bees", "query_language": "deu", "positive_language": "en-GB",
         "group": 7, "title": "Bee"},
        {"query": "why", "positive": "sun", "language": "en", "id": "w", "negatives": None},
        {"query": "wo", "positive": "Haus", "language": "de", "negatives": []},
        {"query": "whence", "positive": "sun", "language": "en"},
    ]  # fmt: skip
    put_rows(tmp_path / "rows.jsonl", rows)
    loaded = load_sources([{"form": "pairs", "path": "rows.jsonl"}], tmp_path)
    assert shown(loaded.pairs) == [
        ("en", "who", "en", "bees"),
        ("de", "wer", "en", "bees"),
        ("en", "why", "en", "sun"),
        ("de", "wo", "de", "Haus"),
        ("en", "whence", "en", "sun"),
    ]
    assert topics_of(loaded.pairs) == ["7", "7", "w", "row-4", "row-5"]
    assert loaded.pairs.group.tolist() == [0, 0, 1, 2, 1]  # two questions share 'sun'
    assert loaded.pairs.topic_titles[0] == "Bee"
    assert loaded.negatives == {0: ("ants",), 1: ("ants",)}
    assert loaded.pairs.data_sets == ("rows",)


def test_pairs_read_jsonl_gzip_zip_and_parquet_alike(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{**ROW, "query": f"q{i}", "group": str(i // 2), "negatives": ["no"]} for i in range(5)]
    text = put_rows(tmp_path / "a.jsonl", rows).read_bytes()
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(text, mtime=0))
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("data/train.jsonl", text)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "d.parquet")
    loaded = [
        load_sources([{"form": "pairs", "path": path.name}], tmp_path)
        for path in sorted(tmp_path.iterdir())
    ]
    assert len(loaded) == 4
    for other in loaded:
        assert shown(other.pairs) == shown(loaded[0].pairs)
        assert other.pairs.group.tolist() == loaded[0].pairs.group.tolist()
        assert other.negatives == loaded[0].negatives == dict.fromkeys(range(5), ("no",))


def test_pairs_cross_pairs_every_query_of_a_group_with_every_positive(tmp_path: Path) -> None:
    rows = [
        {"query": "who", "positive": "bees", "language": "en", "group": "g", "negatives": ["ants"]},
        {"query": "wer", "positive": "Bienen", "language": "de", "group": "g"},
        {"query": "why", "positive": "sun", "language": "en", "group": "h"},
    ]
    put_rows(tmp_path / "r.jsonl", rows)
    entry = {"form": "pairs", "path": "r.jsonl", "options": {"cross": True}}
    loaded = load_sources([entry], tmp_path)
    assert len(loaded.pairs) == 4 + 1
    assert loaded.negatives is not None
    for number, (_, _, _, candidate) in enumerate(shown(loaded.pairs)):
        assert loaded.negatives.get(number) == (("ants",) if candidate == "bees" else None)
    put_rows(tmp_path / "r.jsonl", [ROW])
    assert "needs a column 'group'" in message(entry, tmp_path, UsageError)


def test_pairs_columns_and_languages_of_files(tmp_path: Path) -> None:
    rows = [{"frage": "wer", "positive": "Bienen", "nr": 1, "extra": True}]
    put_rows(tmp_path / "de.jsonl", rows)
    put_rows(tmp_path / "en.jsonl", [{"frage": "who", "positive": "bees", "nr": 1}])
    entry: dict[str, Any] = {
        "form": "pairs",
        "files": {"de": "de.jsonl", "en": "en.jsonl"},
        "options": {"columns": {"query": "frage", "group": "nr"}},
    }
    pairs = load_sources([entry], tmp_path).pairs
    assert shown(pairs) == [("de", "wer", "de", "Bienen"), ("en", "who", "en", "bees")]
    assert pairs.group.tolist() == [0, 0]
    entry["options"]["languages"] = ["en"]
    assert load_sources([entry], tmp_path).pairs.languages == ("en",)
    entry["options"] = {"columns": {"query": "frage", "group": "number"}}
    assert "no column 'number'" in message(entry, tmp_path, DataError)
    entry["options"] = {"columns": {"querry": "frage"}}
    assert "unknown column 'querry': did you mean 'query'" in message(entry, tmp_path, UsageError)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"negatvies": []}, "line 2: unknown column 'negatvies': did you mean 'negatives'?"),
        ({"positive": "remove"}, "line 2: no column 'positive': known: language, query"),
        ({"query": " "}, "line 2: 'query' is ' ', expected a text"),
        ({"query": None}, "line 2: 'query' is missing, expected a text"),
        ({"negatives": "ants"}, "line 2: 'negatives' is 'ants', expected a list of texts"),
        ({"negatives": ["a", ""]}, "line 2: 'negatives' is ['a', ''], expected a list of texts"),
        ({"language": "remove"}, "line 2: no 'query_language' and no 'language'; add one"),
        ({"language": "?"}, "line 2: 'query_language' is '?', expected a language code"),
        ({"group": ["g"]}, "line 2: group or id is ['g'], expected a text or a number"),
        ({"title": 3}, "line 2: 'title' is 3, expected a text"),
    ],
)
def test_pairs_bad_rows_are_named(tmp_path: Path, change: dict, expected: str) -> None:
    row = {key: value for key, value in {**ROW, **change}.items() if value != "remove"}
    path = put_rows(tmp_path / "r.jsonl", [ROW, row])
    text = message({"form": "pairs", "path": "r.jsonl"}, tmp_path, DataError)
    assert text.startswith(f"{path}: {expected}")


def test_pairs_unknown_column_of_parquet_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([{**ROW, "positives": "x"}]), tmp_path / "r.parquet")
    entry = {"form": "pairs", "path": "r.parquet"}
    assert "unknown column 'positives': did you mean" in message(entry, tmp_path, DataError)
    (tmp_path / "r.parquet").write_bytes(b"PAR1 no")
    assert "cannot be read as parquet" in message(entry, tmp_path, DataError)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("r.jsonl", b'{"query": \n', "line 1: not JSON"),
        ("r.jsonl", b"[1]\n", "line 1: list, expected a JSON object"),
        ("r.jsonl", b'{"query": "\xff"}\n', "line 1: not UTF-8"),
        ("r.jsonl", b'{"query": "\\ud800"}\n', "line 1: half of a surrogate pair"),
        ("r.jsonl.gz", gzip.compress(ROW_LINE * 99, mtime=0)[:-12], "damaged after line"),
        ("r.jsonl.gz", b"no gzip", "damaged after line 0"),
        ("r.zip", b"no zip", "damaged after line 0"),
        ("r.jsonl", b"", "nothing to train on"),
    ],
)
def test_pairs_damaged_files_are_named(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert expected in message({"form": "pairs", "path": name}, tmp_path, DataError)


def test_zip_member_and_ending_are_checked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "r.zip", "w") as archive:
        archive.writestr("train.jsonl", "")
        archive.writestr("test.jsonl", "")
    entry: dict[str, Any] = {"form": "pairs", "path": "r.zip"}
    assert "2 members and none is chosen" in message(entry, tmp_path, UsageError)
    entry["options"] = {"member": "trian.jsonl"}
    assert "did you mean 'train.jsonl'?" in message(entry, tmp_path, UsageError)
    put(tmp_path / "r.csv", ["query,positive"])
    assert "reads .jsonl" in message({"form": "pairs", "path": "r.csv"}, tmp_path, UsageError)


# mmarco


@pytest.fixture
def marco(tmp_path: Path) -> Path:
    """Queries 1, 2, 3 and passages 10-14 in en and de; query 3 is in no triple."""
    for language, word in (("english", "en"), ("german", "de")):
        put(
            tmp_path / f"mmarco/queries/{language}_queries.train.tsv",
            [f"{number}\tq{number} {word}" for number in (3, 2, 1)],
        )
        put(
            tmp_path / f"mmarco/collections/{language}_collection.tsv",
            [f"{number}\tp{number} {word}\twith tab" for number in range(10, 15)],
        )
    triples = ["2\t12\t13", "1\t10\t11", "2\t12\t14", "2\t10\t12", "2\t12\t13", "1\t10\t14"]
    put(tmp_path / "mmarco/triples.train.ids.small.tsv", triples)
    return tmp_path


def marco_entry(**options: Any) -> dict[str, Any]:
    return {"form": "mmarco", "path": "mmarco", "options": options}


def test_mmarco_is_parallel_through_ids_and_gathers_negatives(marco: Path) -> None:
    loaded = load_sources([marco_entry()], marco)
    pairs, negatives = loaded
    assert negatives is not None
    assert pairs.languages == ("de", "en")
    assert len(pairs) == 3 * 4
    assert topics_of(pairs) == ["2"] * 4 + ["1"] * 4 + ["2"] * 4
    assert pairs.group.max() == 0  # both questions are answered by passage 10
    by_pair = dict(zip(shown(pairs), range(len(pairs)), strict=True))
    row = by_pair["en", "q2 en", "de", "p12 de\twith tab"]
    assert negatives[row] == ("p13 de\twith tab", "p14 de\twith tab")
    row = by_pair["de", "q2 de", "en", "p10 en\twith tab"]
    assert row not in negatives  # passage 12 answers the question in another triple
    assert "q3 en" not in pairs.query_texts
    assert len(pairs.candidate_texts) == 4


def test_mmarco_limits(marco: Path) -> None:
    first = load_sources([marco_entry(limit=2, languages=["de"])], marco)
    assert shown(first.pairs) == [
        ("de", "q2 de", "de", "p12 de\twith tab"),
        ("de", "q1 de", "de", "p10 de\twith tab"),
    ]
    assert first.negatives == {0: ("p13 de\twith tab",), 1: ("p11 de\twith tab",)}
    assert first.pairs.group.tolist() == [0, 1]
    few = load_sources([marco_entry(max_negatives=1)], marco).negatives
    assert few is not None
    assert {len(texts) for texts in few.values()} == {1}


def test_mmarco_layout_of_the_hub_and_blank_texts(
    marco: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Queries one folder deeper and the triples one folder up; a blank translation is left out."""
    for old, new in (("queries", "google/queries/train"), ("collections", "google/collections")):
        (marco / "mmarco" / new).parent.mkdir(parents=True, exist_ok=True)
        (marco / "mmarco" / old).rename(marco / "mmarco" / new)
    path = marco / "mmarco/google/queries/train/german_queries.train.tsv"
    put(path, ["1\t", "2\tzwei", "3\tdrei"])
    entry = {"form": "mmarco", "path": "mmarco/google"}
    pairs = load_sources([entry], marco).pairs
    assert len(pairs) == 2 * 4 + 1
    assert "1 pairs left out of a language that has a blank text there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "lines", "expected"),
    [
        ("triples.train.ids.small.tsv", ["1\t10\t11", "1\t99\t11"], "line 2: passage 99 is not in"),
        ("triples.train.ids.small.tsv", ["1\t10\t99"], "line 1: passage 99 is not in"),
        ("triples.train.ids.small.tsv", ["9\t10\t11"], "line 1: query 9 is not in"),
        ("triples.train.ids.small.tsv", ["1\tx\t11"], "line 1: '1\tx\t11', expected three whole"),
        ("triples.train.ids.small.tsv", [f"{10**20}\t1\t1"], "line 1: '1000"),
        ("triples.train.ids.small.tsv", [], "empty"),
        ("queries/german_queries.train.tsv", ["1 no tab"], "line 1: 1 field(s), expected 2"),
        ("collections/german_collection.tsv", ["D1\tx"], "line 1: id 'D1' is no whole number"),
    ],
)
def test_mmarco_bad_files_are_named(
    marco: Path, name: str, lines: list[str], expected: str
) -> None:
    path = put(marco / "mmarco" / name, lines)
    text = message(marco_entry(), marco, DataError)
    assert text.startswith(f"{path}: {expected}")


def test_mmarco_missing_parts_are_named(marco: Path) -> None:
    (marco / "mmarco/triples.train.ids.small.tsv").unlink()
    text = message(marco_entry(), marco, DataError)
    assert "mmarco/triples.train.ids.small.tsv: no such file (training source 'mmarco')" in text
    put(marco / "mmarco/other/de_collection.tsv", [])
    assert "let path name the folder of one" in message(marco_entry(), marco, UsageError)
    empty = {"form": "mmarco", "path": "mmarco/queries"}
    assert "no <language>_queries.train.tsv with its" in message(empty, marco, DataError)
    missing = {"form": "mmarco", "path": "marco"}
    assert "marco: no such folder" in message(missing, marco, DataError)


# miracl


@pytest.fixture
def miracl(tmp_path: Path) -> Path:
    """Topic 7 in sw and yo is not the same question; 8 in sw has no positive."""
    for language in ("sw", "yo"):
        base = tmp_path / f"miracl-v1.0-{language}"
        name = f"miracl-v1.0-{language}-train.tsv"
        put(base / f"topics/topics.{name}", [f"7\tseven {language}", f"8\teight {language}"])
        grades = ["7\tQ0\t1#0\t1", "7\tQ0\t1#1\t0", "7\tQ0\t2#0\t1", "7\tQ0\t1#2\t0"]
        put(base / f"qrels/qrels.{name}", [*grades, "8\tQ0\t3#0\t0"])
        corpus = tmp_path / f"miracl-corpus-v1.0-{language}"
        corpus.mkdir()
        ids = [["1#0", "1#1", "1#2", "9#9"], ["2#0", "3#0"]]
        for part, members in enumerate(ids):
            rows = [
                {"docid": name, "title": f"T{name[0]}", "text": f"text {name} {language}"}
                for name in members
            ]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (corpus / f"docs-{part}.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    return tmp_path


def miracl_entry(**options: Any) -> dict[str, Any]:
    return {"name": "miracl", "form": "miracl", "path": ".", "options": options}


def test_miracl_pairs_are_monolingual_with_judged_negatives(miracl: Path) -> None:
    loaded = load_sources([miracl_entry()], miracl)
    assert shown(loaded.pairs) == [
        (language, f"seven {language}", language, f"T{doc[0]} text {doc} {language}")
        for language in ("sw", "yo")
        for doc in ("1#0", "2#0")
    ]
    assert loaded.pairs.topic_ids == ("sw:7", "yo:7")
    assert loaded.pairs.topic_titles == ("T1", "T1")
    assert loaded.pairs.group.tolist() == [0, 0, 1, 1]
    assert loaded.negatives is not None
    assert loaded.negatives[1] == ("T1 text 1#1 sw", "T1 text 1#2 sw")
    assert set(loaded.negatives) == {0, 1, 2, 3}
    bare = load_sources([miracl_entry(title=False, max_negatives=1, languages=["yo"])], miracl)
    assert bare.pairs.candidate_texts == ("text 1#0 yo", "text 2#0 yo")
    assert bare.negatives == {0: ("text 1#1 yo",), 1: ("text 1#1 yo",)}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("9\tQ0\t1#0\t1", "line 2: topic '9' is not in"),
        ("7\tQ0\t5#5\t1", "line 2: passage '5#5' is in no file of miracl-corpus-v1.0-sw"),
        ("7\tQ0\t1#0\thigh", "line 2: grade 'high' is no whole number"),
        ("7 Q0 1#0 1", "line 2: 1 field(s), expected 4 between tabs"),
    ],
)
def test_miracl_bad_judgements_are_named(miracl: Path, line: str, expected: str) -> None:
    path = miracl / "miracl-v1.0-sw/qrels/qrels.miracl-v1.0-sw-train.tsv"
    put(path, ["7\tQ0\t1#0\t1", line])
    assert message(miracl_entry(), miracl, DataError).startswith(f"{path}: {expected}")


def test_miracl_missing_parts_are_named(miracl: Path) -> None:
    for path in (miracl / "miracl-corpus-v1.0-sw").iterdir():
        path.unlink()
    assert "holds no docs-*.jsonl.gz" in message(miracl_entry(), miracl, DataError)
    text = message(miracl_entry(languages=["fi"]), miracl, UsageError)
    assert "has no language 'fi' (options.languages); it has sw, yo" in text


# entries, places, checksums


def test_joined_sources_keep_names_and_renumber_negatives(miracl: Path) -> None:
    put(miracl / "a.en", ["one", "two"])
    put(miracl / "a.sw", ["moja", "mbili"])
    parts: list[str | dict[str, Any]] = [lines_entry(en="a.en", sw="a.sw"), miracl_entry(), "mini"]
    loaded = load_sources(parts, miracl)
    assert loaded.pairs.data_sets == ("news", "miracl", "mini")
    alone = load_sources([miracl_entry()], miracl)
    assert loaded.negatives is not None
    assert alone.negatives is not None
    assert loaded.negatives == {row + 4: texts for row, texts in alone.negatives.items()}
    assert shown(loaded.pairs)[4:8] == shown(alone.pairs)
    assert (np.bincount(loaded.pairs.data_set) == [4, 4, 72 * 121]).all()


def test_mini_is_the_embedded_training_topics() -> None:
    pairs = load_sources(["mini"], None).pairs
    expected = pairs_from_collection(training_topics())
    assert shown(pairs) == shown(expected)
    assert pairs.data_sets == ("mini",)
    two = load_sources([{"name": "mini", "options": {"languages": ["th", "en"]}}], None).pairs
    assert (two.languages, len(two)) == (("en", "th"), 72 * 4)


def test_an_entry_may_be_checked_and_spelt_out_before(tmp_path: Path) -> None:
    put_rows(tmp_path / "r.jsonl", [ROW])
    own = {"form": "pairs", "path": "r.jsonl"}
    for entry in ("mini", own):
        spec = SourceSpec(**({"name": entry} if isinstance(entry, str) else entry))
        expected = shown(load_sources([entry], tmp_path).pairs)
        for same in (spec, spec.model_dump()):
            assert shown(load_sources([same], tmp_path).pairs) == expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("ntrex", "unknown training source 'ntrex': did you mean 'ntrex-128'?"),
        ({}, "neither 'name' nor 'form'"),
        ({"form": "line"}, "unknown form 'line': did you mean 'lines'?"),
        ({"form": "lines", "file": {}}, "unknown key 'file': did you mean 'files'?"),
        ({"form": "lines"}, "form 'lines' needs 'files'; add it"),
        ({"form": "lines", "files": {"en": "a"}, "path": "b"}, "takes no 'path'; remove it"),
        ({"form": "squad", "files": {"en": "a"}, "documents": "b"}, "takes no 'documents'"),
        ({"form": "pairs"}, "needs either 'path' or 'files'"),
        ({"form": "lines", "files": {"e1": "a"}}, "'e1' cannot be a language code"),
        ({"form": "lines", "files": {"zho": "a", "zh-CN": "b"}}, "language 'zh', which has a file"),
        ({"form": "lines", "files": ["a"]}, "files: input should be a valid dictionary"),
        ({"form": "mmarco", "path": "x", "revision": "y"}, "'revision' belongs to 'hub'"),
        ({"name": "mini", "path": "x"}, "source 'mini' brings its own 'path'"),
        ({"name": "mini", "options": {"limt": 3}}, "unknown key 'limt': known: languages"),
        ({"name": "mini", "options": {"languages": ["fi"]}}, "has no language 'fi'"),
        ({"form": "squad", "files": {"en": "a"}, "sha256": {"a": "12"}}, "sha256.a: string should"),
        (
            {"form": "squad", "files": {"en": "a.json"}, "sha256": {"b.json": "0" * 64}},
            "sha256 is given for 'b.json', which is no file of it: did you mean 'a.json'?",
        ),
        (
            {"form": "mmarco", "path": "m", "sha256": {"m/none": "0" * 64}},
            "sha256 is given for 'm/none', which is no file of it",
        ),
    ],
)
def test_entries_that_cannot_be_meant_are_usage_errors(
    tmp_path: Path, entry: str | dict, expected: str
) -> None:
    assert expected in message(entry, tmp_path, UsageError)


def test_no_entry_and_an_entry_twice_are_usage_errors() -> None:
    with pytest.raises(UsageError, match=r"training\.sources: empty"):
        load_sources([], None)
    with pytest.raises(UsageError, match=r"sources\[1\]: 'mini' stands there already"):
        load_sources(["mini", "mini"], None)


def test_missing_file_of_a_named_source_says_which_where_and_what_to_do(tmp_path: Path) -> None:
    text = message("arcd", tmp_path, DataError)
    assert text == (
        f"{tmp_path}/qa-extra/arcd-train.ar.json: no such file (training source 'arcd'); "
        "point --data-dir at the folder that holds it"
    )
    text = message("mlqa-r", None, DataError)
    assert "data/mlqa-r/ar.json: no such file" in text
    assert text.endswith("point --data-dir at the folder that holds it, or run "
                         "`biasbench data fetch mlqa-r`")  # fmt: skip


def test_checksums_are_compared(tmp_path: Path) -> None:
    path = put_rows(tmp_path / "r.jsonl", [ROW])
    entry = {"form": "pairs", "path": "r.jsonl", "sha256": {"r.jsonl": sha256_file(path).upper()}}
    assert len(load_sources([entry], tmp_path).pairs) == 1
    put_rows(path, [ROW, ROW])
    text = message(entry, tmp_path, DataError)
    assert text.startswith(f"{path}: damaged: sha256 {sha256_file(path)[:12]}… is not the ")
    put(tmp_path / "qa-extra/arcd-train.ar.json", ["{}"])
    assert "damaged: sha256" in message("arcd", tmp_path, DataError)


def test_names_are_relative_to_the_working_folder_without_a_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put_rows(tmp_path / "r.jsonl", [ROW])
    monkeypatch.chdir(tmp_path)
    for name in ("r.jsonl", str(path)):
        assert len(load_sources([{"form": "pairs", "path": name}], None).pairs) == 1


def test_files_come_from_the_hub_at_a_revision(
    miracl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked = []

    def download(repo_id: str, filename: str, *, repo_type: str, revision: str | None) -> str:
        asked.append((repo_id, filename.split("/")[-1], repo_type, revision))
        return str(miracl / filename)

    def listing(_: object, repo_id: str, *, repo_type: str, revision: str | None) -> list[str]:
        assert (repo_type, revision) == ("dataset", "v1" if repo_id == "m/m" else "v2")
        return [str(p.relative_to(miracl)) for p in miracl.rglob("*") if p.is_file()]

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", listing)
    entry = miracl_entry(languages=["yo"], corpus_hub="m/corpus", corpus_revision="v2")
    entry |= {"hub": "m/m", "revision": "v1"}
    assert shown(load_sources([entry], None).pairs) == shown(
        load_sources([miracl_entry(languages=["yo"])], miracl).pairs
    )
    assert asked == [
        ("m/m", "topics.miracl-v1.0-yo-train.tsv", "dataset", "v1"),
        ("m/m", "qrels.miracl-v1.0-yo-train.tsv", "dataset", "v1"),
        ("m/corpus", "docs-0.jsonl.gz", "dataset", "v2"),
        ("m/corpus", "docs-1.jsonl.gz", "dataset", "v2"),
    ]


@pytest.mark.parametrize("entry", [{"form": "pairs", "path": "r.jsonl"}, miracl_entry()])
def test_hub_out_of_reach_is_one_clear_line(entry: dict) -> None:
    text = message({**entry, "hub": "nobody/nothing"}, None, DataError)
    assert "nobody/nothing" in text
    assert "not on this disk and not fetched from the hub" in text


# small parts


def test_crossed_takes_what_is_there() -> None:
    queries = np.array([[0, 1, -1], [2, -1, 3]])
    candidates = np.array([[5, -1, 6], [7, 8, 9]])
    topic, query, candidate = crossed(queries, candidates)
    assert list(zip(topic, query, candidate, strict=True)) == [
        (0, 0, 5), (0, 0, 6), (0, 1, 5), (0, 1, 6),
        (1, 2, 7), (1, 2, 8), (1, 2, 9), (1, 3, 7), (1, 3, 8), (1, 3, 9),
    ]  # fmt: skip
    _, query, candidate = crossed(queries, candidates, monolingual=False)
    assert (0, 5) not in set(zip(query, candidate, strict=True))
    assert len(query) == 3 + 4


def test_equal_texts_are_one_per_language() -> None:
    table = TextTable()
    rows = [table.row("en", "so"), table.row("de", "so"), table.row("en", " so\n")]
    assert rows == [0, 1, 0]
    assert (table.texts, table.languages, len(table)) == (("so", "so"), ["en", "de"], 2)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("arb", "ar"), ("zho-CN", "zh"), ("zho_Hans", "zh"), ("eng_Latn", "en"), ("german", "de"),
        ("en-US", "en"), ("EN", "en"), ("ell", "el"), ("xyz", "xyz"), ("all", None), ("", None),
        ("e1", None), ("klingon", None),
    ],
)  # fmt: skip
def test_language_codes_are_ours(theirs: str, ours: str | None) -> None:
    assert our_language(theirs) == ours


def test_named_sources_are_complete() -> None:
    sources = named_sources()
    assert list(sources) == [
        "mini", "mlqa-r", "xquad-r", "ntrex-128", "flores-200", "arcd", "cmrc2018", "iapp",
    ]  # fmt: skip
    for name, source in sources.items():
        assert source.form in FORMS
        assert source.licence
        spec = parse_entry(name, "here")
        assert spec.form != "embedded" or not spec.files
        assert set(spec.sha256) >= set(spec.files.values())
    assert sources["mlqa-r"].licence == benchmarks()["mlqa-r"].licence
    for name in ("ntrex-128", "flores-200"):
        assert tuple(sources[name].files) == ELEVEN


# the real files


@pytest.fixture(scope="module")
def real(data_dir: Path) -> Callable[[str], LoadedSource]:
    loaded: dict[str, LoadedSource] = {}

    def load(name: str) -> LoadedSource:
        if name not in loaded:
            loaded[name] = load_sources([name], data_dir)
        return loaded[name]

    return load


@pytest.mark.parametrize(("name", "lines"), [("ntrex-128", 1997), ("flores-200", 1012)])
def test_real_parallel_lines(
    real: Callable[[str], LoadedSource], data_dir: Path, name: str, lines: int
) -> None:
    pairs = real(name).pairs
    files = [data_dir / file.path for file in named_sources()[name].files.values()]
    texts = [path.read_text(encoding="utf-8").split("\n")[:lines] for path in files]
    blank = sum(not all(line.strip() for line in row) for row in zip(*texts, strict=True))
    assert len(pairs) == (lines - blank) * 11 * 10
    assert pairs.languages == ELEVEN
    assert (pairs.query_language != pairs.candidate_language).all()
    directions = Counter(zip(pairs.query_language, pairs.candidate_language, strict=True))
    assert set(directions.values()) == {lines - blank}
    # every pair is the same line in the two languages' own files
    for row in range(0, len(pairs), 997):
        number = int(pairs.topic_ids[pairs.topic[row]].removeprefix("line-")) - 1
        query, candidate = pairs.query_language[row], pairs.candidate_language[row]
        assert pairs.query_texts[pairs.query[row]] == texts[query][number].strip()
        assert pairs.candidate_texts[pairs.candidate[row]] == texts[candidate][number].strip()


def test_real_ntrex_documents_and_repeated_lines(real: Callable[[str], LoadedSource]) -> None:
    pairs = real("ntrex-128").pairs
    assert len(set(pairs.topic_titles)) == 123
    # lines 424 and 427, 1399 and 1403, 391 and 546 are the same in some language
    assert pairs.group.max() + 1 == 1997 - 3
    group = dict(zip(topics_of(pairs), pairs.group.tolist(), strict=True))
    assert group["line-424"] == group["line-427"] != group["line-425"]


@pytest.mark.parametrize(
    ("name", "language", "questions", "paragraphs"),
    [("arcd", "ar", 693, 231), ("cmrc2018", "zh", 3219, 848), ("iapp", "th", 5761, 1523)],
)
def test_real_monolingual_questions(
    real: Callable[[str], LoadedSource],
    name: str,
    language: str,
    questions: int,
    paragraphs: int,
) -> None:
    pairs = real(name).pairs
    assert pairs.languages == (language,)
    assert len(pairs) == len(set(topics_of(pairs))) == questions
    assert len(pairs.candidate_texts) == paragraphs
    assert sum(map(bool, pairs.topic_titles)) > 0.99 * questions
    assert pairs.group.max() < paragraphs


@pytest.mark.parametrize("name", ["mlqa-r", "xquad-r"])
def test_real_lareqa_pairs_counted_from_the_files(
    real: Callable[[str], LoadedSource], data_dir: Path, name: str
) -> None:
    """Questions and the sentences that answer them, straight from the JSON."""
    question: dict[tuple[str, str], str] = {}
    answer: dict[tuple[str, str], str] = {}
    languages_of: dict[str, list[str]] = defaultdict(list)
    for path in sorted((data_dir / name).glob("*.json")):
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
            for part in article["paragraphs"]:
                for item in part["qas"]:
                    start = item["answers"][0]["answer_start"]
                    (index,) = (
                        index
                        for index, (first, end) in enumerate(part["sentence_breaks"])
                        if first <= start < end
                    )
                    key = path.stem, item["id"]
                    question[key] = item["question"].strip()
                    answer[key] = part["sentences"][index].strip()
                    languages_of[item["id"]].append(path.stem)
    pairs = real(name).pairs
    assert (
        len(languages_of) == len(set(topics_of(pairs))) == {"mlqa-r": 1148, "xquad-r": 1190}[name]
    )
    expected = Counter(
        (topic, query, question[query, topic], candidate, answer[candidate, topic])
        for topic, languages in languages_of.items()
        for query in languages
        for candidate in languages
    )
    actual = Counter(
        (topic, *rest) for topic, rest in zip(topics_of(pairs), shown(pairs), strict=True)
    )
    assert actual == expected
    groups = defaultdict(set)
    for topic, group in zip(topics_of(pairs), pairs.group.tolist(), strict=True):
        groups[topic].add(group)
    assert all(len(of_topic) == 1 for of_topic in groups.values())


def test_real_sources_join(real: Callable[[str], LoadedSource], data_dir: Path) -> None:
    joined = load_sources(["mlqa-r", "arcd"], data_dir)
    assert joined.negatives is None
    assert joined.pairs.data_sets == ("mlqa-r", "arcd")
    assert len(joined.pairs) == len(real("mlqa-r").pairs) + 693
    assert shown(joined.pairs)[-693:] == shown(real("arcd").pairs)
