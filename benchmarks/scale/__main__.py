"""`python -m benchmarks.scale [--sizes N...] [--queries N] [--memory SIZE] [--out DIR]`

Writes scale.tsv, product.tsv and a figure to the folder, and a table to stdout; what the files hold
is not measured again. A million passages take some minutes on a machine that is free; give fewer
--sizes for a shorter look. Corpora and vectors go to $TMPDIR, 0.3 GB for a million.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import machine_line, progress, set_threads
from bias_bench.system.files import write_text

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
STEPS = ("store", "encode", "search")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write the files, print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--sizes", nargs="*", type=int, default=SIZES, help="passages")
    # nine judged passages a question, of which the smallest corpus must hold all
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--memory", default="2G")
    parser.add_argument("--out", type=Path, default=Path("docs/scale"))
    parser.add_argument("--redraw", action="store_true", help="only the figure and tables again")
    given = parser.parse_args(arguments)
    set_threads(1)
    if not given.redraw:
        print(machine_line(1))
        _measure(given)
    from benchmarks.scale.figure import cost_figure

    rows = read_rows(given.out / "scale.tsv")
    write_text(given.out / "cost.svg", cost_figure(rows))
    print("\n".join(table(rows)))


def _measure(given: argparse.Namespace) -> None:
    from benchmarks.scale.measure import Size, measure

    product = given.out / "product.tsv"
    if not product.is_file():
        from benchmarks.scale.product import product_share

        shares = []
        for dimensions in (32, 384, 768):
            for found in (True, False):
                shares.append(product_share(dimensions, found)._asdict())
                progress(str(shares[-1]))
        _write(product, shares)
    path = given.out / "scale.tsv"
    rows: list[dict[str, Any]] = [*read_rows(path)] if path.is_file() else []
    for number in sorted(set(given.sizes) - {int(row["passages"]) for row in rows}):
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Size(number, given.queries, given.memory), Path(folder) / "work")
        rows.append(found)
        progress(str(found))
        _write(path, sorted(rows, key=lambda row: row["passages"]))


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    lines = ["\t".join(rows[0])]
    for row in rows:
        cells = (f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row.values())
        lines.append("\t".join(cells))
    write_text(path, "\n".join(lines) + "\n")


def read_rows(path: Path) -> list[dict[str, float]]:
    """What scale.tsv holds."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            {key: _number(value) for key, value in row.items() if key != "memory"}
            for row in csv.DictReader(stream, delimiter="\t")
        ]


def _number(text: str) -> float:
    return int(text) if text.isdecimal() else float(text)


def table(rows: Sequence[dict[str, float]]) -> list[str]:
    """Seconds of each step, microseconds per further passage since the row before, and memory."""
    lines = [
        "| passages | store | encode | search | µs per further passage | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    before = None
    for row in rows:
        seconds = [row[f"{step}_seconds"] for step in STEPS]
        further = "–"
        if before is not None:
            more = row["passages"] - before["passages"]
            further = ", ".join(
                f"{1e6 * (now - before[f'{step}_seconds']) / more:.1f}"
                for step, now in zip(STEPS, seconds, strict=True)
            )
        cells = [f"{value:.1f} s" for value in seconds]
        memory = f"{row['peak_bytes'] / 1024**2:.0f} MB"
        lines.append(f"| {row['passages']:,.0f} | {' | '.join(cells)} | {further} | {memory} |")
        before = row
    return lines


if __name__ == "__main__":
    main()
