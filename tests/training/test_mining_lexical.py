"""Negatives mined by BM25: its scores decide, and what shares no term with a query is none."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bias_bench.config.kinds import LexicalOptions
from bias_bench.config.mining import MiningSettings
from bias_bench.search.analysis import analyse
from bias_bench.search.bm25 import make_index
from bias_bench.training.negatives.labels import label_texts
from bias_bench.training.negatives.lexical import lexical_vectors
from bias_bench.training.negatives.mining import mine
from tests.support.runs import manifest, run
from tests.training.test_mining import Texts, make_pairs

USUAL = LexicalOptions(k1=0.9, b=0.4)
TEXTS: Texts = (
    [
        ("en", "Who sells bread in the harbour of Oslo?"),
        ("de", "Wer verkauft Brot im Hafen von Oslo?"),
        ("en", "When did the harbour freeze?"),
        ("th", "ใครเขียนเรื่องนี้"),
    ],
    [
        ("en", "A baker sells bread in the harbour of Oslo."),
        ("de", "Ein Bäcker verkauft im Hafen von Oslo Brot."),
        ("en", "The harbour froze in 1709."),
        ("en", "Bread was dear in 1709."),
        ("de", "Der Hafen von Oslo fror 1709 zu."),
        ("th", "ไม่มีใครเขียนเรื่องนี้"),
        ("en", "no pair uses this bread"),
    ],
)
ROWS = [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0), (2, 2, 1), (2, 4, 1), (0, 3, 2), (3, 5, 3)]
PLAIN = MiningSettings(number=2, relative_margin=None, languages="any", last_rank=10)


def pairs_of(rows: list[tuple[int, int, int]]) -> Any:
    return make_pairs(rows, TEXTS)


def bm25(pairs: Any, query: int) -> np.ndarray:
    """Scores of all candidates that some pair uses, by the index of the recipe `bm25`."""
    candidates = np.unique(pairs.candidate).tolist()
    tokens = [analyse([TEXTS[1][row][1]], TEXTS[1][row][0])[0] for row in candidates]
    language, text = TEXTS[0][query]
    found = make_index(tokens, USUAL).scores(analyse([text], language))[0]
    scores = np.zeros(len(TEXTS[1]))
    scores[candidates] = found
    return scores


def test_negatives_are_the_best_by_bm25_that_answer_nothing_of_the_family(tmp_path: Path) -> None:
    pairs = pairs_of(ROWS)
    queries, candidates = lexical_vectors(pairs, USUAL, tmp_path)
    mined = mine(pairs, queries, candidates, PLAIN, seed=0)
    labels = label_texts(pairs)
    for query in range(4):
        scores = bm25(pairs, query)
        other = labels.candidates.family != labels.queries.family[query]
        allowed = [row for row in np.argsort(-scores, kind="stable") if other[row] and scores[row]]
        chosen = [row for row in mined.negatives[query].tolist() if row >= 0]
        assert chosen == allowed[:2], query
        np.testing.assert_allclose(mined.scores[query][: len(chosen)], scores[chosen], rtol=1e-6)
    assert (mined.negatives[3] == -1).all()  # nothing else has a term of the Thai question
    assert 6 not in mined.negatives  # no pair uses it


def test_an_answer_in_another_language_is_never_chosen(tmp_path: Path) -> None:
    vectors = lexical_vectors(pairs_of(ROWS), USUAL, tmp_path)
    everything = PLAIN.model_copy(update={"number": 3})
    mined = mine(pairs_of(ROWS), *vectors, everything, seed=0)
    oslo = {row for row in mined.negatives[0].tolist() if row >= 0}
    assert oslo == {2, 4}  # not 1, the German answer, nor 3, an answer by another group


def test_a_run_mines_with_bm25_once_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--recipe", "hybrid-hard"]
    for setting in ("steps=2", "batch_size=8", "negatives.encoder=lucene"):
        command += ["--set", f"training.{setting}"]
    assert run(tmp_path, *command) == 0
    assert "hard negatives mined by BM25" in capsys.readouterr().err
    folder = tmp_path / "runs" / "mini-hybrid-hard-0"
    path = folder / "negatives.jsonl.gz"
    before = path.read_bytes()
    assert manifest(folder)["status"] == "complete"
    header = json.loads(gzip.decompress(before).splitlines()[0])
    assert header["provenance"]["encoder"] == "lucene"
    assert header["provenance"]["settings"]["relative_margin"] is None
    assert run(tmp_path, *command) == 0
    assert path.read_bytes() == before
    assert len((folder / "train.jsonl").read_text().splitlines()) == 2
