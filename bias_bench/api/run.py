"""A finished run folder, as frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bias_bench.errors import BiasBenchError, DataError, UsageError, nearest
from bias_bench.evaluation.metrics import ordered_names
from bias_bench.evaluation.metrics_document import KindMeans, Metrics
from bias_bench.evaluation.ranks import read_rank_rows
from bias_bench.evaluation.run_record import RunRecord
from bias_bench.evaluation.score_run import qrels_file, run_file
from bias_bench.evaluation.scores import read_exact
from bias_bench.evaluation.settings import KINDS, parse_setting
from bias_bench.significance.systems import read_finished

if TYPE_CHECKING:
    import pandas as pd

ALL_LANGUAGES = "all"
_PER_LANGUAGE = "per_language"


@dataclass(frozen=True)
class Run:
    """A complete run folder. Everything is read when it is first asked for, and then kept.

    ``docs/run-folder.md`` says what the files of a folder are; `load_run` makes a Run of one.
    """

    folder: Path

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}: {self.system} on {self.benchmark})"

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def benchmark(self) -> str:
        """The benchmark's name."""
        return self.manifest.benchmark

    @property
    def system(self) -> str:
        """What was run, as ``recipe@backbone#seed``."""
        return self.manifest.system

    @cached_property
    def manifest(self) -> RunRecord:
        """manifest.json: versions, checksums, machine, timings, what the model was."""
        return RunRecord.load(self.folder)

    @cached_property
    def metrics(self) -> Metrics:
        """metrics.json: every aggregate, also those that the frames leave out."""
        return Metrics.load(self.folder)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Macro averages: a row per kind of setting, a column per metric.

        In [0, 1], higher is better.
        """
        import pandas as pd

        means = {kind: _ordered(kind_means.macro) for kind, kind_means in self._kinds().items()}
        return pd.DataFrame.from_dict(means, orient="index").rename_axis("kind")

    @cached_property
    def retrieval(self) -> pd.DataFrame:
        """Means over queries, long: kind, setting, metric, value. In [0, 1], higher is better.

        The macro average of a kind (`summary`) is the mean of its settings.
        """
        import pandas as pd

        rows = [
            (kind, setting, metric, value)
            for kind, kind_means in self._kinds().items()
            for setting, means in kind_means.per_setting.items()
            for metric, value in _ordered(means).items()
        ]
        return pd.DataFrame(rows, columns=["kind", "setting", "metric", "value"])

    @cached_property
    def bias(self) -> pd.DataFrame:
        """Language bias in the pool of all languages, long: metric, language, value.

        `language` is the query language (of ``language_gaps.candidate`` the candidates'), and
        ``all`` for the mean over languages. ``rank_distance.log`` is part of ``rank_distance``.
        Directions are in docs/definitions.md; matrices, counts and tests are in `metrics`. Empty
        for rankings without such a pool.
        """
        import pandas as pd

        rows = [row for name, part in self.metrics.bias.dump().items() for row in _rows(name, part)]
        return pd.DataFrame(rows, columns=["metric", "language", "value"])

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Every metric of every query, long: kind, setting, query, topic, …, metric, value.

        The values are those of the exact ranks, which `compare` tests too; scores.parquet also has
        what ranx and trec_eval say. In [0, 1], higher is better.
        """
        frame = read_exact(self.folder / "scores.parquet").to_pandas().drop(columns="scorer")
        kinds = {name: parse_setting(name).kind for name in frame["setting"].cat.categories}
        frame.insert(0, "kind", frame["setting"].map(kinds).astype("category"))
        return frame

    @cached_property
    def ranks(self) -> pd.DataFrame:
        """The rank of every relevant candidate in every setting: setting, query, …, rank (from 1).

        Where `metrics` has a ``cutoff``, candidates past it have the rank cut-off + 1.
        """
        return read_rank_rows(self.folder / "ranks.parquet").to_pandas()

    @property
    def settings(self) -> list[str]:
        """The settings of the run, such as ``en``, ``en-de`` and ``en-all``."""
        return [name for means in self._kinds().values() for name in means.per_setting]

    def trec(self, setting: str) -> Path:
        """The TREC run file (gzip) of a setting; UsageError for one that the run lacks."""
        return self._file(run_file(self.folder, parse_setting(self._known(setting))))

    def qrels(self, setting: str) -> Path:
        """The TREC judgements (gzip) of a setting; UsageError for one that the run lacks."""
        return self._file(qrels_file(self.folder, parse_setting(self._known(setting))))

    def report(self, out: str | PathLike[str] = "reports") -> Path:
        """Write the HTML page of the run into the folder `out`; returns the page's path."""
        from bias_bench.report.run_page import write_run_page

        return write_run_page(self.folder, Path(out))

    def _kinds(self) -> dict[str, KindMeans]:
        """The aggregates of each kind of setting, in the usual order."""
        held = self.metrics.retrieval
        return {kind: held[kind] for kind in KINDS if kind in held}

    def _known(self, setting: str) -> str:
        if setting not in self.settings:
            raise UsageError(
                f"{self.folder}: no setting '{setting}': {nearest(setting, self.settings)}"
            )
        return setting

    @staticmethod
    def _file(path: Path) -> Path:
        if not path.is_file():
            raise DataError(f"{path}: no such file; repeat the run")
        return path


def load_run(folder: str | PathLike[str]) -> Run:
    """A finished run folder; DataError where it is not one, BiasBenchError where not complete.

    >>> from bias_bench import load_run
    >>> load_run("no-such-run")
    Traceback (most recent call last):
    ...
    bias_bench.errors.DataError: no-such-run: not a run folder (no manifest.json)
    """
    path = Path(folder)
    read_finished(path)
    for name in ("metrics.json", "scores.parquet", "ranks.parquet"):
        if not (path / name).is_file():
            raise BiasBenchError(f"{path}: holds no {name}; repeat the run")
    return Run(path)


def _ordered(means: dict[str, float]) -> dict[str, float]:
    return {name: means[name] for name in ordered_names(means)}


def _rows(name: str, part: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Every figure below a part of `bias` that is a mean over languages, or goes by language."""
    suffix = f"_{_PER_LANGUAGE}"
    for key, value in part.items():
        if key == "macro":
            yield name, ALL_LANGUAGES, value
        elif key == _PER_LANGUAGE and "macro" in part:
            yield from ((name, language, number) for language, number in value.items())
        elif key + suffix in part:  # as `median` and `median_per_language`
            yield f"{name}.{key}", ALL_LANGUAGES, value
        elif key.endswith(suffix):
            inner = f"{name}.{key.removesuffix(suffix)}"
            yield from ((inner, language, number) for language, number in value.items())
        elif isinstance(value, dict):
            yield from _rows(f"{name}.{key}", value)
