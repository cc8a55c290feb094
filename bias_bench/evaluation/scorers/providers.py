"""Where trec_eval comes from: the program in pyserini's jar, else pytrec-eval-terrier.

Both are the same C code. Two independent scorers, ranx and trec_eval, must agree with the exact
ranks in every run, so a run without either of the two is refused.
"""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import NamedTuple

from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.metrics import Metric
from bias_bench.evaluation.ranking import Files
from bias_bench.evaluation.scorers import pytrec_eval, trec_eval
from bias_bench.system.java import anserini_jar, java_command

_BUILT_FOR = ("x86_64", "amd64", "i386", "i686")  # processors of pyserini's program on Linux

Score = Callable[
    [Mapping[str, Files], tuple[Metric, ...]], dict[str, dict[Metric, dict[str, float]]]
]


class Provider(NamedTuple):
    """One way to run a scorer: the distribution it comes in, and how that is installed.

    `missing` says why it cannot be used here (None: it can); `score` maps settings to the values
    of their queries, metric by metric.
    """

    package: str
    install: str
    missing: Callable[[], str | None]
    score: Score

    def __str__(self) -> str:
        return f"{self.package} {version(self.package)}"


def _pyserini_missing() -> str | None:
    if sys.platform == "linux" and platform.machine().lower() not in _BUILT_FOR:
        return f"pyserini has no trec_eval for Linux on {platform.machine()}"
    try:
        java_command()
        anserini_jar()
    except BiasBenchError as error:
        return str(error)
    return None


def _pytrec_eval_missing() -> str | None:
    module = importlib.util.find_spec("pytrec_eval")
    return None if module else "pytrec-eval-terrier is not installed"


TREC_EVAL = (
    Provider("pyserini", "pip install 'pyserini>=1.6,<2'", _pyserini_missing, trec_eval.score),
    Provider(
        "pytrec-eval-terrier",
        "pip install 'pytrec-eval-terrier>=0.5.10'",
        _pytrec_eval_missing,
        pytrec_eval.score,
    ),
)


class Chosen(NamedTuple):
    """The provider to use, and what to tell the user where it is not the first (else None)."""

    provider: Provider
    note: str | None


def trec_eval_provider() -> Chosen:
    """The first provider of trec_eval that works here; BiasBenchError where none does."""
    reasons: list[str] = []
    for provider in TREC_EVAL:
        reason = provider.missing()
        if reason is None:
            note = f"{reasons[0]}; {provider} scores in its place" if reasons else None
            return Chosen(provider, note)
        reasons.append(reason)
    raise BiasBenchError(f"{reasons[0]}; for trec_eval without it: run `{TREC_EVAL[-1].install}`")
