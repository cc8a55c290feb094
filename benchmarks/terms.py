"""What further terms of the objective add to a training step: the same run with and without."""

from __future__ import annotations

from typing import Any

from benchmarks.harness import Comparison, Options, interleave
from benchmarks.train import BATCH, Ours, make_setting

TERMS: dict[str, tuple[dict[str, Any], str]] = {
    "adversary": ({"language_adversary": {}}, "≥ 0.95×"),
    "FGM": ({"perturbation": {"method": "fgm"}}, "≥ 0.48×"),
    "FreeLB-3": ({"perturbation": {"method": "freelb", "steps": 3}}, "≥ 0.31×"),
}


def compare(options: Options) -> list[Comparison]:
    """Each term against plain hybrid training; the goals are 5, 110 and 220 % more time."""
    steps = 2 if options.quick else 6
    setting = make_setting(options, steps)
    plain = Ours(setting, {})
    plain()
    found = []
    for name, (terms, goal) in TERMS.items():
        times = interleave(Ours(setting, terms), plain, options.pairs_or(3))
        note = f"{steps} steps of {BATCH}; peer: without the term"
        found.append(Comparison(f"term {name}", times, goal, note))
    return found
