"""Corpora on disk: sorted, found again, and as if they were in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bias_bench.data import corpus, corpus_store
from bias_bench.data.collection import Candidate
from bias_bench.data.corpus import RECORD, StoredCandidates, StoredCorpus
from bias_bench.data.corpus_store import StoredPassage, store_folder, stored_corpus
from bias_bench.errors import DataError
from bias_bench.system.files import digest_texts

NAMES = st.lists(
    st.text(st.characters(blacklist_categories=["Cs", "Zs", "Cc"]), min_size=1, max_size=4),
    unique=True, min_size=1, max_size=40,
)  # fmt: skip


def passages(names: list[str], language: str = "sw") -> list[StoredPassage]:
    return [
        StoredPassage(f"{language}:{name}", f"t{name}", f"t{name} text {row}", f"line {row}")
        for row, name in enumerate(names)
    ]


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a few passages, merges of two and shards of four, so that few show everything."""
    monkeypatch.setattr(corpus_store, "_SORTED", 400)
    monkeypatch.setattr(corpus_store, "_MERGED", 2)
    monkeypatch.setattr(corpus_store, "_READ", 2)
    for module in (corpus, corpus_store):
        monkeypatch.setattr(module, "SHARD", 4)
        monkeypatch.setattr(module, "TEXTS", 2)


@settings(deadline=None, max_examples=30)
@given(names=NAMES, data=st.data())
def test_a_store_is_the_sorted_list(names: list[str], data: st.DataObject) -> None:
    given_passages = passages(names)
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        found = stored_corpus(digest_texts(names), "sw", lambda: iter(given_passages))
        expected = sorted(given_passages, reverse=True)
        assert list(found) == [Candidate(item.id, item.text, "") for item in expected]
        assert [list(part) for part in found.shards] == [
            [item.text for item in expected[start : start + 4]]
            for start in range(0, len(expected), 4)
        ]
        assert [part.sha256 for part in found.shards] == [digest_texts(p) for p in found.shards]
        assert [part.characters for part in found.shards] == [
            sum(map(len, part)) for part in found.shards
        ]
        rows = data.draw(st.lists(st.integers(0, len(names) - 1), max_size=20))
        wanted = np.array(rows, dtype=np.int64)
        assert found.ids(wanted).to_pylist() == [expected[row].id for row in rows]
        assert found.titles_and_texts(wanted) == [
            (expected[r].title, expected[r].text) for r in rows
        ]
        asked = [*(item.id for item in given_passages), "sw:", "sw:\U0010fffe", "no:1"]
        place = {item.id: row for row, item in enumerate(expected)}
        assert found.rows_of(asked).tolist() == [place.get(name, -1) for name in asked]


def test_candidates_of_several_languages_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    parts = [
        stored_corpus(f"several-{name}", name, lambda name=name: passages(["a", "b", "c"], name))
        for name in ("yo", "sw")
    ]
    whole = StoredCandidates(parts)
    every = list(whole)
    assert [item.id for item in every] == ["yo:c", "yo:b", "yo:a", "sw:c", "sw:b", "sw:a"]
    assert whole.pools == {"yo": (0, 3), "sw": (3, 6)}
    assert whole[1:5] == every[1:5]
    assert whole[-1] == every[-1]
    assert whole.ids(np.array([5, 0, 5])).to_pylist() == ["sw:a", "yo:c", "sw:a"]
    assert whole.rows_of(["sw:a", "de:a", "yo:b"]).tolist() == [5, -1, 1]
    assert list(whole.keep(["sw"])) == every[3:]


@pytest.mark.parametrize("places", [(0, 1), (0, 30), (17, 31)])
def test_a_duplicate_is_found_wherever_it_stands(
    places: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch)
    given_passages = passages([str(number) for number in range(32)])
    first, second = places
    given_passages[second] = given_passages[second]._replace(id=given_passages[first].id)
    key = f"duplicate-{first}-{second}"
    with pytest.raises(DataError, match=rf"^line {second}: docid '{first}' occurs twice$"):
        stored_corpus(key, "sw", lambda: given_passages)
    assert not store_folder(key).exists()
    assert not list(store_folder(key).parent.glob(".writing-*"))


@pytest.mark.parametrize("name", ["ids.arrow", "texts.arrow", RECORD])
def test_a_damaged_store_is_made_again(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    times = []

    def read() -> list[StoredPassage]:
        times.append(1)
        return passages(["a", "b"])

    def make() -> StoredCorpus:
        return stored_corpus(f"damaged-{name}", "sw", read)

    before = make().fingerprint
    make()
    assert len(times) == 1
    path: Path = make().folder / name
    path.write_bytes(path.read_bytes()[:-3])
    assert make().fingerprint == before
    assert len(times) == 2
    assert "damaged" in capsys.readouterr().err
