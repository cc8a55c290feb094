"""`python -m benchmarks.calibration [--runs BASELINE SYSTEM] [--simulations N] [--out DIR]`

Writes rates.tsv, provenance.json and two figures to the folder, and the tables to stdout.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.calibration.errors import Size
from benchmarks.calibration.estimates import as_tsv, from_tsv
from benchmarks.calibration.figures import error_figure, power_figure
from benchmarks.calibration.simulation import Calibration, provenance, simulate
from benchmarks.calibration.tables import tables
from benchmarks.calibration.worlds import read_source
from bias_bench.errors import BiasBenchError
from bias_bench.system.files import write_json, write_text

RUNS = (Path("runs/xquad-r-mono-0"), Path("runs/xquad-r-hybrid-0"))
RATES = "rates.tsv"
QUICK = Size(simulations=8, permutations=199, replicates=99)


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, write the files, print the tables."""
    parser, given, chosen = _parse(arguments)
    out, jobs, redraw = given.out, given.jobs, given.redraw
    try:
        if not redraw:
            source = read_source(chosen.runs, chosen.metric)
            write_text(out / RATES, as_tsv(simulate(source, chosen, jobs)))
            write_json(out / "provenance.json", provenance(source, chosen))
        table = from_tsv(out / RATES)  # figures and tables show what the file holds
        write_text(out / "errors.svg", error_figure(table))
        write_text(out / "power.svg", power_figure(table))
    except BiasBenchError as error:
        parser.exit(1, f"{error}\n")
    print("\n\n".join(tables(table)))


def _parse(
    arguments: Sequence[str] | None,
) -> tuple[argparse.ArgumentParser, argparse.Namespace, Calibration]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument(
        "--runs", nargs="+", type=Path, default=RUNS, metavar="RUN", help="baseline and system"
    )
    parser.add_argument("--metric", default="AP", help="a metric of both runs' scores")
    parser.add_argument("--simulations", type=int, default=1000, help="a quarter of it for power")
    # 2,499 can show p < 0.05 / 110, which Holm and Bonferroni need
    parser.add_argument("--permutations", type=int, default=2499, help="sign flips of each test")
    parser.add_argument("--replicates", type=int, default=999, help="of each bootstrap")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes; the results are the same")
    parser.add_argument("--out", type=Path, default=Path("docs/calibration"))
    parser.add_argument("--redraw", action="store_true", help="only figures and tables again")
    parser.add_argument("--quick", action="store_true", help="tiny: does it work at all?")
    given = parser.parse_args(arguments)
    size = Size(given.simulations, given.permutations, given.replicates, given.seed)
    if given.quick:
        size = QUICK._replace(seed=given.seed)
    if size.simulations < 8 or given.jobs < 1:
        parser.error("--simulations must be at least 8 and --jobs at least 1")
    fewer = size._replace(simulations=max(2, size.simulations // 4))
    return parser, given, Calibration(tuple(given.runs), given.metric, size, fewer)


if __name__ == "__main__":
    main()
