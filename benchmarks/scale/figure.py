"""Cost and memory against the number of passages, as a figure that stands alone."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.calibration.figures import standing_alone
from bias_bench.report.figures import INK, colour, drawing

_STEPS = {"store": "o", "encode": "s", "search": "D"}


def cost_figure(rows: Sequence[dict[str, float]]) -> str:
    """SVG: processor seconds of each step and peak memory, by passages; both axes logarithmic."""
    passages = [row["passages"] for row in rows]
    with drawing(3.6) as figure:
        times, memory = figure.subplots(1, 2, sharex=True)
        for number, (step, marker) in enumerate(_STEPS.items()):
            seconds = [row[f"{step}_seconds"] for row in rows]
            own = colour(number)
            times.plot(passages, seconds, color=own, marker=marker, markersize=5, label=step)
            # from the largest size down: what exact proportion would be
            line = [seconds[-1] * number / passages[-1] for number in passages]
            times.plot(passages, line, color=own, linewidth=0.8, linestyle=":")
        times.set_xscale("log")
        times.set_yscale("log")
        times.set_xlabel("passages")
        times.set_title("processor seconds (dotted: in proportion)", fontsize=10)
        times.legend(frameon=False)
        megabytes = [row["peak_bytes"] / 1024**2 for row in rows]
        loaded = [row["loaded_bytes"] / 1024**2 for row in rows]
        memory.plot(passages, megabytes, color=INK, marker="o", markersize=5, label="peak")
        memory.plot(passages, loaded, color=INK, linestyle="--", label="after 2,000 passages")
        memory.set_ylim(bottom=0)
        memory.set_xlabel("passages")
        memory.set_title("peak memory, MB", fontsize=10)
        memory.legend(frameon=False)
        return standing_alone(
            figure,
            "scale-cost",
            "What a corpus costs, by its number of passages",
            "Left: processor seconds to store, encode and search a corpus, which grow in "
            "proportion to its passages. Right: peak memory, which does not grow. The numbers are "
            "in the table of scale.md.",
        )
