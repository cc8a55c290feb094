"""Compare runs: what `biasbench compare` does, as frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from bias_bench.api.run import Run
from bias_bench.data.units import Unit
from bias_bench.errors import UsageError
from bias_bench.report.comparison_forms import MACRO, TSV_COLUMNS, as_latex, as_table, long_rows
from bias_bench.significance.comparison import compare as compare_folders
from bias_bench.significance.document import ComparisonDocument, load
from bias_bench.significance.options import CompareOptions, Correction, Family
from bias_bench.system.console import warn
from bias_bench.system.files import json_text

if TYPE_CHECKING:
    import pandas as pd

AnyRun = Run | str | PathLike[str]
_WIDTH = 100


@dataclass(frozen=True, eq=False)
class Comparison:
    """Systems beside a baseline. `result` has all of it, as `biasbench compare --format json`.

    Frames have a row per system and kind, or setting: the means of baseline and system (`value`),
    their difference, its interval (`low`, `high`; `simultaneous_…` hold for the whole family), p
    and adjusted p, the effect sizes `d_z` and `rank_biserial`, how many topics are won, tied and
    lost, and `n`, the number of units that were resampled. Without tests, and where a number does
    not exist, it is NaN.
    """

    result: ComparisonDocument

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Comparison:
        """What `to_json` or `biasbench compare --format json` wrote to a file.

        Raises DataError, one line that names the field, for a file that does not hold a
        comparison.
        """
        return cls(load(Path(path)))

    def __str__(self) -> str:
        return as_table(self.result, False, _WIDTH)

    def __repr__(self) -> str:
        systems = ", ".join(entry.label for entry in self.result.systems)
        return f"Comparison({self.metric}: {systems} minus {self.result.baseline})"

    @property
    def metric(self) -> str:
        """The metric's name; `result.better` says which way is better."""
        return self.result.metric

    @property
    def table(self) -> pd.DataFrame:
        """Macro averages: a row per system and kind of setting."""
        frame = self._rows()
        return frame[frame["setting"] == MACRO].drop(columns="setting").reset_index(drop=True)

    @property
    def settings(self) -> pd.DataFrame:
        """A row per system and setting, such as ``en-de``."""
        frame = self._rows()
        return frame[frame["setting"] != MACRO].reset_index(drop=True)

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before believing the numbers."""
        return list(self.result.warnings)

    @property
    def methods(self) -> str:
        """A paragraph for a paper that says how the differences were tested."""
        return " ".join(self.result.methods)

    def to_json(self) -> str:
        """The result as `biasbench compare --format json` prints it."""
        return json_text(self.result.as_json(), indent=1)

    def to_latex(self, all_settings: bool = False) -> str:
        """A booktabs table of the macro averages, or with all settings a longtable."""
        return as_latex(self.result, all_settings)

    def report(self, path: str | PathLike[str]) -> Path:
        """Write the HTML page of the comparison to a file; returns its path."""
        from bias_bench.report.comparison_page import check_page, write_comparison_page

        page = Path(path)
        check_page(page)
        return write_comparison_page(self.result, page)

    def _rows(self) -> pd.DataFrame:
        import pandas as pd

        frame = pd.DataFrame(long_rows(self.result), columns=list(TSV_COLUMNS))
        counts = ["wins", "ties", "losses", "n"]
        numbers = [name for name in TSV_COLUMNS[4:] if name not in counts]
        return frame.astype(dict.fromkeys(numbers, "float64"))


def compare(
    runs: Sequence[AnyRun],
    *,
    baseline: AnyRun | None = None,
    metric: str | None = None,
    cluster: Unit | None = None,
    significance: bool = True,
    correction: Correction = "maxt",
    family: Family = "kind",
    permutations: int = 10_000,
    confidence: float = 0.95,
    margin: float | None = None,
    also: Sequence[str] = (),
    seed: int = 0,
) -> Comparison:
    """Compare runs, or run folders, of one benchmark with the first one, or with `baseline`.

    The arguments are those of `biasbench compare` (docs/significance.md), but that differences are
    tested unless `significance` is False. `metric` is AP by default; `cluster` is article where all
    runs know their topics' articles and there are at least 20, else paragraph where several topics
    share one, else topic (`result.cluster` says which); `family` "all" adjusts p-values over
    everything that is tested, not within the settings of a kind and the macro averages; `also`
    names further tests (``t``, ``wilcoxon``). Each warning is a `BiasBenchWarning`, and in the
    result.

    Raises UsageError, DataError or BiasBenchError, one line each, for what cannot be compared.

    >>> from bias_bench import compare
    >>> compare(["runs/xquad-r-mono-0"])
    Traceback (most recent call last):
    ...
    bias_bench.errors.DataError: runs/xquad-r-mono-0: not a run folder (no manifest.json)
    """
    if isinstance(runs, Run | str | PathLike) or not runs:
        raise UsageError("runs: give a list of two or more runs or run folders")
    options = CompareOptions(
        metric=metric,
        significance=significance,
        cluster=cluster,
        correction=correction,
        family=family,
        permutations=permutations,
        confidence=confidence,
        margin=margin,
        seed=seed,
        also=tuple(dict.fromkeys(also)),
    )
    result = compare_folders(
        [_folder(run) for run in runs], options, None if baseline is None else _folder(baseline)
    )
    for warning in result.warnings:
        warn(warning)
    return Comparison(result)


def _folder(run: AnyRun) -> Path:
    return run.folder if isinstance(run, Run) else Path(run)
