"""train.jsonl: a row per step with losses, learning rate and the languages seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bias_bench.datasets.pairs import Pairs
from bias_bench.files import write_text
from bias_bench.training.objective import Losses, Objective


def log_row(
    step: int,
    losses: Losses,
    objective: Objective,
    rate: float,
    pairs: Pairs,
    rows: np.ndarray,
) -> dict[str, Any]:
    """One row of the log."""
    names = np.array(pairs.languages)
    observed = {name: term.observed for name, term in objective.observers().items()}
    return {
        **({"observed": observed} if observed else {}),
        "step": step,
        "loss": losses.total.item(),
        "terms": {name: value.item() for name, value in losses.terms.items()},
        "learning_rate": rate,
        "query_languages": sorted(set(names[pairs.query_language[rows]].tolist())),
        "candidate_languages": sorted(set(names[pairs.candidate_language[rows]].tolist())),
    }


def read_log(path: Path, steps: int) -> list[dict[str, Any]]:
    """The log's rows up to the checkpoint; what an interrupted run logged beyond is dropped."""
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["step"] <= steps]


def write_log(path: Path, rows: list[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows))
