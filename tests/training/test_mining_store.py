"""Files of mined negatives: exact round trips, equal bytes, and one clear line for damage."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.config.mining import MiningSettings
from bias_bench.data.pairs import Pairs
from bias_bench.errors import DataError, UsageError
from bias_bench.training.negatives.mining import Mined, mine
from bias_bench.training.negatives.store import read_negatives, write_negatives
from tests.support.helpers import unhurried
from tests.training.test_mining import parallel_pairs, unit_vectors

PROVENANCE = {"encoder": "e" * 64, "settings": MiningSettings(number=4).model_dump(), "seed": 3}
Lines = list[dict[str, Any]]


@pytest.fixture
def pairs() -> Pairs:
    return parallel_pairs(12, 2)


@pytest.fixture
def mined(pairs: Pairs) -> Mined:
    vectors = unit_vectors(len(pairs.query_texts), 0)
    return mine(pairs, vectors, vectors[::-1], MiningSettings(number=4, relative_margin=0.0), 0)


def require_equal(first: Mined, second: Mined) -> None:
    for ours, theirs in zip(first, second, strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert ours.tobytes() == theirs.tobytes()


def test_what_is_written_is_read_again(tmp_path: Path, pairs: Pairs, mined: Mined) -> None:
    path = tmp_path / "deep" / "negatives.jsonl.gz"
    write_negatives(path, mined, pairs, PROVENANCE)
    stored = read_negatives(path, pairs)
    require_equal(stored.mined, mined)
    assert (mined.negatives == -1).any()
    assert stored.provenance == PROVENANCE
    again = tmp_path / "other-name.jsonl.gz"
    write_negatives(again, stored.mined, pairs, dict(reversed(PROVENANCE.items())))
    assert again.read_bytes() == path.read_bytes()


@unhurried
@given(scores=st.lists(st.floats(-1, 1, width=32), min_size=24, max_size=24))
def test_scores_come_back_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, scores: list[float]
) -> None:
    pairs = parallel_pairs(12, 2)
    column = np.arange(24, dtype=np.int32)[:, None]
    mined = Mined((column + 2) % 24, column % 2, np.array(scores, dtype=np.float32)[:, None])
    path = tmp_path_factory.mktemp("scores") / "n.jsonl.gz"
    write_negatives(path, mined, pairs, {})
    require_equal(read_negatives(path, pairs).mined, mined)


def header(**change: Any) -> Callable[[Lines], None]:
    return lambda lines: lines[0].update(change)


def row(**change: Any) -> Callable[[Lines], None]:
    return lambda lines: lines[2].update(change)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (header(schema=9), r"line 1: schema 9, but this version reads 1; mine again"),
        (header(pairs="0" * 64), r"line 1: mined for other training pairs \(000000000000, these"),
        (header(number=0), r"line 1: the header's numbers or provenance are damaged"),
        (header(queries="many"), r"line 1: the header's numbers"),
        (header(provenance=[]), r"line 1: the header's numbers or provenance"),
        (header(queries=99), r"negatives of \d+ queries, but its header says 99"),
        (lambda lines: lines.pop(0), r"line 1: no header of mined negatives"),
        (lambda lines: lines.clear(), r"no header of mined negatives"),
        (lambda lines: lines.pop(), r"but its header says"),
        (lambda lines: lines.append(lines[1]), r"line \d+: query 0 stands in an earlier line"),
        (row(query=24), r"line 3: unknown query 24"),
        (row(query=-1), r"line 3: unknown query -1"),
        (row(query="a"), r'line 3: unknown query "a"'),
        (row(query=True), r"line 3: unknown query true"),
        (row(negatives=[3, 24], scores=[0.1, 0.2]), r"line 3: unknown candidate 24"),
        (row(negatives=[2.5], scores=[0.1]), r"line 3: unknown candidate 2.5"),
        (row(negatives=[]), r"line 3: expected lists of 1 to 4 negatives and scores"),
        (row(negatives=[2] * 5), r"line 3: expected lists of 1 to 4"),
        (row(scores=None), r"line 3: expected lists of 1 to 4"),
        (row(negatives=[2], scores=[0.1, 0.2]), r"line 3: expected one finite score"),
        (row(negatives=[2], scores=[float("nan")]), r"line 3: expected one finite score"),
        (row(negatives=[2], scores=["high"]), r"line 3: expected one finite score"),
    ],
)
def test_damage_is_one_clear_line(
    tmp_path: Path,
    pairs: Pairs,
    mined: Mined,
    damage: Callable[[Lines], None],
    message: str,
) -> None:
    path = tmp_path / "n.jsonl.gz"
    write_negatives(path, mined, pairs, PROVENANCE)
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    damage(lines)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(DataError, match=message) as caught:
        read_negatives(path, pairs)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_text_that_no_pair_uses_is_unknown(tmp_path: Path, pairs: Pairs, mined: Mined) -> None:
    path = tmp_path / "n.jsonl.gz"
    fewer = pairs.take(np.flatnonzero(pairs.group < 3))
    write_negatives(path, mined, fewer, PROVENANCE)
    with pytest.raises(DataError, match=r"line \d+: unknown (query|candidate) \d+"):
        read_negatives(path, fewer)


def test_a_truncated_file_and_a_wrong_name_are_refused(
    tmp_path: Path, pairs: Pairs, mined: Mined
) -> None:
    path = tmp_path / "n.jsonl.gz"
    write_negatives(path, mined, pairs, PROVENANCE)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="damaged after line"):
        read_negatives(path, pairs)
    with pytest.raises(DataError, match="cannot be read"):
        read_negatives(tmp_path / "none.jsonl.gz", pairs)
    for work in (
        lambda: write_negatives(tmp_path / "n.json", mined, pairs, {}),
        lambda: read_negatives(tmp_path / "n.json", pairs),
    ):
        with pytest.raises(UsageError, match=r"\.jsonl\.gz"):
            work()
    assert sorted(tmp_path.iterdir()) == [path]
