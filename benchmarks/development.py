"""`python -m benchmarks.development DATA OUT`: MLQA-R in two, to choose settings on training data.

A fifth of the English articles, drawn with a seed, becomes the benchmark ``OUT/mlqa-r-held-out``
(all their questions, in every language), the rest the source ``OUT/mlqa-r-rest``: what is
chosen by it has not seen XQuAD-R.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bias_bench.system.files import write_text

SHARE, SEED = 0.2, 0
HELD_OUT, REST = "mlqa-r-held-out", "mlqa-r-rest"


def split(languages: dict[str, Any], share: float, seed: int) -> tuple[dict, dict]:
    """The held-out part and the rest of LAReQA files, by English article."""
    articles = languages["en"]["data"]
    random = np.random.default_rng(seed)
    chosen = set(random.permutation(len(articles))[: round(share * len(articles))].tolist())
    held_out = {
        question["id"]
        for number in chosen
        for paragraph in articles[number]["paragraphs"]
        for question in paragraph["qas"]
    }
    parts = [
        {language: _with(file, held_out, wanted) for language, file in languages.items()}
        for wanted in (True, False)
    ]
    return parts[0], parts[1]


def _with(file: dict[str, Any], ids: set[str], wanted: bool) -> dict[str, Any]:
    """The file with the questions that are (or are not) in `ids`, without what is left empty."""
    articles = []
    for article in file["data"]:
        paragraphs = []
        for paragraph in article["paragraphs"]:
            questions = [each for each in paragraph["qas"] if (each["id"] in ids) == wanted]
            if questions:
                paragraphs.append({**paragraph, "qas": questions})
        if paragraphs:
            articles.append({**article, "paragraphs": paragraphs})
    return {**file, "data": articles}


def main(arguments: Sequence[str]) -> None:
    """Write both parts below OUT."""
    data, out = map(Path, arguments)
    files = sorted((data / "mlqa-r").glob("*.json"))
    languages = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}
    for name, part in zip((HELD_OUT, REST), split(languages, SHARE, SEED), strict=True):
        for language, file in part.items():
            target = out / name / f"{language}.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            write_text(target, json.dumps(file, ensure_ascii=False))
        questions = sum(
            len(paragraph["qas"])
            for file in part.values()
            for article in file["data"]
            for paragraph in article["paragraphs"]
        )
        print(f"{out / name}: {questions:,} questions in {len(part)} languages")


if __name__ == "__main__":
    main(sys.argv[1:])
