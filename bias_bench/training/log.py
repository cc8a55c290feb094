"""train.jsonl: a row per step with losses, learning rate and the languages seen."""

from __future__ import annotations

import json
import os
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from bias_bench.data.pairs import Pairs
from bias_bench.errors import DataError
from bias_bench.system.files import make_folder, named_where_full, parse_json
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
    """The log's rows up to the checkpoint; what an interrupted run logged beyond is dropped.

    DataError for a log that lacks a step: what training goes on with depends on it.
    """
    if not steps:
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        rows = [parse_json(line) for line in lines[:steps]]
        logged = [row["step"] for row in rows]
    except (ValueError, KeyError, TypeError):
        logged = []
    if logged != list(range(1, steps + 1)):
        raise DataError(
            f"{path}: damaged: does not hold steps 1 to {steps}, which the checkpoint is of; "
            f"delete {path.parent / 'checkpoints'} to train from scratch"
        )
    return rows


def cut_log(path: Path, steps: int) -> None:
    """Leave the log's first `steps` rows, which the checkpoint is of; an empty log for none."""
    make_folder(path.parent)
    with path.open("ab+") as stream:
        stream.seek(0)
        stream.truncate(sum(len(line) for line in islice(stream, steps)))


def append_log(path: Path, rows: list[dict[str, Any]]) -> None:
    """Add rows to the log, on the disk before the checkpoint that counts on them is written."""
    text = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
    with named_where_full(path), path.open("ab") as stream:
        stream.write(text.encode("utf-8"))
        stream.flush()
        os.fsync(stream.fileno())
