"""The figure of a run's training: losses, learning rate, and what the terms observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bias_bench.report.figure_parts import STEPS, Figure, colour, drawing, plain
from bias_bench.report.run_summary import Curve
from bias_bench.report.run_tables import observations
from bias_bench.report.svg import INK, as_svg

_DASHES = ((0, (5, 2)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (3, 3)))


def training_figure(curve: Curve) -> Figure:
    """Losses over the steps, below them the learning rate, and what the terms observed."""
    steps, loss = _binned(curve.rows, [row["loss"] for row in curve.rows])
    observed = observations(curve.rows)
    panels = 2 + bool(observed)
    with drawing(2.6 + 1.3 * (panels - 1)) as canvas:
        axes = canvas.subplots(panels, 1, sharex=True, height_ratios=[2.2] + [1] * (panels - 1))
        axes[0].plot(steps, loss, color=INK, alpha=0.35, linewidth=0.8)
        axes[0].plot(steps, _smooth(loss), color=INK, linewidth=2, label="training, smoothed")
        if curve.evaluations:
            at, held_out = zip(*curve.evaluations, strict=True)
            axes[0].plot(at, held_out, color=colour(0), marker="o", markersize=5, label="held out")
        names = sorted({name for row in curve.rows for name in row.get("terms", {})})
        if len(names) > 1:
            for number, name in enumerate(names):
                _, values = _binned(curve.rows, [row["terms"].get(name, 0.0) for row in curve.rows])
                axes[0].plot(
                    steps, _smooth(values), color=colour(number + 1), linestyle=_DASHES[number % 4],
                    linewidth=1.4, label=plain(name.replace("_", " ")),
                )  # fmt: skip
        axes[0].set_ylabel("loss")
        canvas.legend(loc="outside upper left", ncols=4, frameon=False)
        for number, (name, values) in enumerate(observed.items()):
            _, shown = _binned(curve.rows, values)
            axes[1].plot(
                steps, _smooth(shown), color=colour(number), label=plain(name),
                linestyle=("-", *_DASHES)[number % 5],
            )  # fmt: skip
        if observed:
            axes[1].set_ylabel("observed")
            axes[1].legend(frameon=False, fontsize=8)
        _, rates = _binned(curve.rows, [row["learning_rate"] for row in curve.rows])
        axes[-1].plot(steps, rates, color=INK, linewidth=1.2)
        axes[-1].set_ylabel("learning rate")
        axes[-1].set_xlabel("step")
        svg = as_svg(canvas, "training", "Training", _described(curve))
    caption = "The loss of training batches by step, each thin, smoothed thick."
    if curve.evaluations:
        caption += (
            " Points are the contrastive loss on held-out pairs, by which the kept step was chosen."
        )
    if len(names) > 1:
        caption += " Broken lines are the terms that the loss is made of."
    return Figure("Training", svg, caption)


def _binned(
    rows: Sequence[Mapping[str, Any]], values: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Means of at most `STEPS` runs of steps, and the last step of each."""
    parts = np.array_split(np.arange(len(rows)), min(len(rows), STEPS))
    return (
        [float(rows[part[-1]]["step"]) for part in parts],
        [float(np.mean([values[place] for place in part])) for part in parts],
    )


def _smooth(values: Sequence[float]) -> list[float]:
    """Means over a window of a tenth of the curve, shorter at its ends."""
    reach = max(1, len(values) // 20)
    return [
        float(np.mean(values[max(0, place - reach) : place + reach + 1]))
        for place in range(len(values))
    ]


def _described(curve: Curve) -> str:
    first, last = curve.rows[0], curve.rows[-1]
    text = (
        f"Training loss {first['loss']:.3f} at step {first['step']} and {last['loss']:.3f} at step "
        f"{last['step']}."
    )
    if curve.evaluations:
        listed = ", ".join(
            f"{loss:.3f} after step {step}" for step, loss in curve.evaluations[-40:]
        )
        text += f" Held-out loss: {listed}."
    return text
