"""A small pooled run in three languages, as another tool might write it, with worked numbers.

Topics t1 and t2 are answered by candidates 1 and 2 of each language; candidates 9 answer nothing.
`fr:t2` is judged without a relevant candidate, `de:t1` has no results, `en:t7` no judgements.
"""

from __future__ import annotations

from pathlib import Path

from bias_bench.cli import run_command
from tests.support.helpers import qrels_text, run_text

LANGUAGES = ("de", "en", "fr")
DEPTH = 4
RUN = {
    "en:t1": {"en:1": 0.9, "de:9": 0.8, "de:1": 0.7, "fr:9": 0.6},
    "en:t2": {"de:2": 0.9, "en:2": 0.8, "fr:2": 0.7, "en:9": 0.6},
    "en:t7": {"en:1": 0.9},
    "de:t2": {"de:9": 0.9, "en:9": 0.8, "fr:9": 0.7, "en:1": 0.6},
    "fr:t1": {"en:1": 0.5, "fr:1": 0.5, "de:1": 0.4},  # the tie goes to the larger id, fr:1
}
QRELS = {
    **{
        f"{language}:{topic}": {f"{other}:{topic[1]}": 1 for other in LANGUAGES}
        for language, topic in (
            ("en", "t1"),
            ("en", "t2"),
            ("de", "t1"),
            ("de", "t2"),
            ("fr", "t1"),
        )
    },
    "fr:t2": {"fr:2": 0},
}


class Files:
    """Files of a test, and the command that scores them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "runs"

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def write_example(self, run: str = run_text(RUN), qrels: str = qrels_text(QRELS)) -> None:
        self.write("a.run", run)
        self.write("a.qrels", qrels)

    def score(self, *arguments: str, run: str = "a.run", qrels: str = "a.qrels") -> int:
        """`biasbench score` on files of this folder."""
        given = ["--run", str(self.folder / run), "--qrels", str(self.folder / qrels)]
        return run_command(["score", *given, "--out", str(self.out), *arguments])
