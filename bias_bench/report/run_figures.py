"""Figures of a run's page. Each has its numbers in a table beside it, and a text alternative."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bias_bench.data.languages import language_name
from bias_bench.evaluation.metrics_document import Perturbed
from bias_bench.report.figures import (
    INK,
    PAPER,
    STEPS,
    Figure,
    colour,
    drawing,
    drawn,
    name_rows,
    plain,
)
from bias_bench.report.run_content import TrainingRow
from bias_bench.report.run_statistics import Estimate
from bias_bench.report.run_tables import observations, quantiles, robustness_rows
from bias_bench.report.wording import percent, perturbation_name, places

_DASHES = ((0, (5, 2)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (3, 3)))


def precision_figure(values: Mapping[str, Estimate], mean: Estimate, unit: str) -> Figure:
    """Pooled AP by query language with intervals over the `unit`s, the best on top."""
    names = sorted(values, key=lambda language: (-values[language].value, language))
    rows = range(len(names))
    known = [
        (row, values[name].low, values[name].high)
        for row, name in enumerate(names)
        if values[name].known
    ]
    caption = "AP in the pool of all languages by query language; the dashed line is their mean."
    with drawing(1.0 + 0.26 * len(names)) as canvas:
        axes = canvas.subplots()
        axes.axvline(mean.value, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        if known:
            axes.hlines(*zip(*known, strict=True), color=colour(0), linewidth=1.6)
            caption += f" Lines are 95 % bootstrap intervals over {unit}s, each for itself."
        _markers(axes, [values[name].value for name in names], rows, 0)
        name_rows(axes, [_label(name) for name in names])
        axes.set_xlabel("AP in the pool of all languages (higher is better)")
        described = "; ".join(f"{language_name(n)} {_estimate(values[n])}" for n in names)
        described += f"; mean {mean.value:.3f}."
        return drawn(canvas, "precision", "Pooled AP by query language", described, caption)


def distance_figure(distances: Mapping[str, np.ndarray]) -> Figure | None:
    """The distribution of rank distance: one curve per query language, and one of all queries."""
    filled = {language: values for language, values in distances.items() if len(values)}
    if not filled:
        return None
    every = np.concatenate(list(filled.values()))
    medians = {language: float(np.median(values)) for language, values in filled.items()}
    ends = [
        min(medians, key=lambda language: (medians[language], language)),
        max(medians, key=lambda language: (medians[language], language)),
    ]
    grid = np.geomspace(max(float(every.min()), 1.0), max(float(every.max()), 2.0), STEPS)
    caption = (
        "Share of queries (upwards) whose rank distance is at most the value below: the earlier a "
        "curve rises, the closer together a topic's answers are ranked."
    )
    with drawing(3.8) as canvas:
        axes = canvas.subplots()
        for language in filled:
            if language not in ends:
                shares = _reached(filled[language], grid)
                axes.plot(grid, shares, color=INK, alpha=0.3, linewidth=0.8)
        if len(filled) > 1:
            caption += (
                " The thick line is all queries; coloured are the query languages with the lowest "
                "and the highest median, thin lines are the others."
            )
            for number, (language, dashes) in enumerate(zip(ends, ("--", "-."), strict=True)):
                axes.plot(
                    grid,
                    _reached(filled[language], grid),
                    color=colour(number),
                    linestyle=dashes,
                    linewidth=1.8,
                    label=f"{_label(language)} (median {places(medians[language])})",
                )
        axes.plot(grid, _reached(every, grid), color=INK, linewidth=2.2, label="all queries")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("rank distance, logarithmic (lower is better)")
        axes.set_ylabel("share of queries")
        axes.legend(loc="lower right", frameon=False)
        described = "; ".join(
            f"{language_name(name) if name else 'all queries'}: a quarter has at most {row[1]:,}, "
            f"half {row[2]:,}, three quarters {row[3]:,}"
            for name, row in quantiles(filled).items()
        )
        return drawn(canvas, "distance", "Distribution of rank distance", f"{described}.", caption)


def share_figure(
    first: Mapping[str, float], ten: Mapping[str, float], pool: Mapping[str, float]
) -> Figure:
    """How much of the top is in the query's language, beside that language's share of the pool."""
    names = list(ten)
    rows = range(len(names))
    top, neutral = [first[name] for name in names], [pool[name] for name in names]
    caption = (
        "Share of the first result and of the first ten that is in the query's language. Without "
        "preference both would lie about at the upright mark, that language's share of the pool; "
        "further right is a stronger preference."
    )
    with drawing(1.3 + 0.26 * len(names)) as canvas:
        axes = canvas.subplots()
        axes.hlines(rows, neutral, top, color=INK, alpha=0.35, linewidth=1.2)
        axes.plot(
            neutral, rows, linestyle="none", marker="|", markersize=13, markeredgewidth=2,
            color=INK, label="share of the pool", zorder=3,
        )  # fmt: skip
        _markers(axes, [ten[name] for name in names], rows, 0, "top 10")
        _markers(axes, top, rows, 1, "top 1")
        name_rows(axes, [_label(name) for name in names])
        axes.set_xlim(-0.01, 1.01)
        axes.set_xlabel("share of results in the query's language")
        canvas.legend(loc="outside upper left", ncols=3, frameon=False)
        described = "; ".join(
            f"{language_name(n)}: {percent(pool[n])} of the pool, {percent(ten[n])} of the top 10, "
            f"{percent(first[n])} of the top 1"
            for n in names
        )
        return drawn(canvas, "share", "Results in the query's language", f"{described}.", caption)


def robustness_figure(
    perturbations: Mapping[str, Mapping[str, Perturbed]], metric: str = "pooled AP"
) -> Figure | None:
    """AP lost to each perturbation, a point per query language and one for their mean."""
    rows = robustness_rows(perturbations)
    if not rows:
        return None
    rows.sort(key=lambda row: (-row[2].loss, row[0], row[1]))
    labels = [f"{perturbation_name(kind)}, {strength}" for kind, strength, _, _ in rows]
    means = [mean.loss for _, _, mean, _ in rows]
    caption = (
        "Pooled AP of the clean question less that of the perturbed one: points are means over "
        "query languages, marks the languages. Right of the line the perturbation does harm."
    )
    with drawing(1.0 + 0.3 * len(rows)) as canvas:
        axes = canvas.subplots()
        axes.axvline(0, color=INK, linewidth=0.9)
        for place, (*_, effects) in enumerate(rows):
            losses = [effect.loss for effect in effects.values()]
            axes.plot(
                losses, [place] * len(losses), linestyle="none", marker="|", markersize=9,
                color=INK, alpha=0.5,
            )  # fmt: skip
        _markers(axes, means, range(len(rows)), 0)
        name_rows(axes, [plain(label) for label in labels])
        axes.set_xlabel(f"{metric} lost (lower is better)")
        described = "; ".join(
            f"{label} {loss:.3f}".replace("-", "−")
            for label, loss in zip(labels, means, strict=True)
        )
        title = "AP lost to perturbed questions"
        return drawn(canvas, "robustness", title, f"{described}.", caption)


def training_figure(
    rows: Sequence[TrainingRow], evaluations: Sequence[tuple[int, float]]
) -> Figure:
    """Losses over the steps, below them the learning rate, and what the terms observed."""
    steps, loss = _binned(rows, [row.loss for row in rows])
    observed = observations(rows)
    names = sorted({name for row in rows for name in row.terms})
    first, last = rows[0], rows[-1]
    caption = "The loss of training batches by step, each thin, smoothed thick."
    described = (
        f"Training loss {first.loss:.3f} at step {first.step} and {last.loss:.3f} at step "
        f"{last.step}."
    )
    panels = 2 + bool(observed)
    with drawing(2.6 + 1.3 * (panels - 1)) as canvas:
        axes = canvas.subplots(panels, 1, sharex=True, height_ratios=[2.2] + [1] * (panels - 1))
        axes[0].plot(steps, loss, color=INK, alpha=0.35, linewidth=0.8)
        axes[0].plot(steps, _smooth(loss), color=INK, linewidth=2, label="training, smoothed")
        if evaluations:
            at, held_out = zip(*evaluations, strict=True)
            axes[0].plot(at, held_out, color=colour(0), marker="o", markersize=5, label="held out")
            losses = (f"{value:.3f} after step {step}" for step, value in evaluations[-40:])
            described += f" Held-out loss: {', '.join(losses)}."
            caption += (
                " Points are the contrastive loss on held-out pairs, by which the kept step was "
                "chosen."
            )
        if len(names) > 1:
            caption += " Broken lines are the terms that the loss is made of."
            for number, name in enumerate(names):
                _, values = _binned(rows, [row.terms.get(name, 0.0) for row in rows])
                axes[0].plot(
                    steps, _smooth(values), color=colour(number + 1), linestyle=_DASHES[number % 4],
                    linewidth=1.4, label=plain(name.replace("_", " ")),
                )  # fmt: skip
        axes[0].set_ylabel("loss")
        canvas.legend(loc="outside upper left", ncols=4, frameon=False)
        for number, (name, values) in enumerate(observed.items()):
            _, shown = _binned(rows, values)
            axes[1].plot(
                steps, _smooth(shown), color=colour(number), label=plain(name),
                linestyle=("-", *_DASHES)[number % 5],
            )  # fmt: skip
        if observed:
            axes[1].set_ylabel("observed")
            axes[1].legend(frameon=False, fontsize=8)
        _, rates = _binned(rows, [row.learning_rate for row in rows])
        axes[-1].plot(steps, rates, color=INK, linewidth=1.2)
        axes[-1].set_ylabel("learning rate")
        axes[-1].set_xlabel("step")
        return drawn(canvas, "training", "Training", described, caption)


def _markers(
    axes: Any, x: Sequence[float], rows: Sequence[int], number: int, label: str | None = None
) -> None:
    axes.plot(
        x, rows, linestyle="none", marker="os"[number], markersize=6, color=colour(number),
        markeredgecolor=PAPER, markeredgewidth=0.5, clip_on=False, zorder=4, label=label,
    )  # fmt: skip


def _label(language: str) -> str:
    return plain(language_name(language))


def _estimate(mean: Estimate) -> str:
    interval = f" ({mean.low:.3f} to {mean.high:.3f})" if mean.known else ""
    return f"{mean.value:.3f}{interval}"


def _reached(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Share of the sorted values that are at most each point of the grid."""
    return np.searchsorted(np.sort(values), grid * (1 + 1e-9), side="right") / len(values)


def _binned(
    rows: Sequence[TrainingRow], values: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Means of at most `STEPS` runs of steps, and the last step of each."""
    parts = np.array_split(np.arange(len(rows)), min(len(rows), STEPS))
    return (
        [float(rows[part[-1]].step) for part in parts],
        [float(np.mean([values[place] for place in part])) for part in parts],
    )


def _smooth(values: Sequence[float]) -> list[float]:
    """Means over a window of a tenth of the curve, shorter at its ends."""
    reach = max(1, len(values) // 20)
    return [
        float(np.mean(values[max(0, place - reach) : place + reach + 1]))
        for place in range(len(values))
    ]
