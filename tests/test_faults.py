"""Runs that are killed anywhere, any number of times, end with the files of an undisturbed run.

`BIASBENCH_FAULTS` is the number of kills, a few by default; `nox -s faults` does hundreds.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests import faults

NAME = "mini-hybrid-hard-0"
RUN = [
    "run", "mini", "--backbone", "scratch:tiny", "--recipe", "hybrid-hard",
    "--set", "languages=[en,de]", "--set", "training.steps=6", "--set", "training.batch_size=8",
    "--set", "training.evaluate_every=3", "--set", "training.checkpoint_every=2",
    "--set", "robustness={topics: 5, strengths: [light]}",
]  # fmt: skip
KILLS = int(os.environ.get("BIASBENCH_FAULTS", "8"))
SEED = int(os.environ.get("BIASBENCH_FAULTS_SEED", "0"))
STAGES = ("train", "search", "score", "robustness", "probe", "metrics", "report")
CHAIN = 12  # kills of one folder
_NEXT = 0.4  # share of kills in the stage after the one that is next

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0 if KILLS > 100 else 900)]


class Undisturbed(NamedTuple):
    """A run that nobody killed: its files, and every change of a file that it made."""

    files: dict[str, str]
    events: list[faults.Event]

    def work(self, event: faults.Event) -> str:
        """What the process was at: a stage, or the encoding within it."""
        stage = STAGES[event.finished]
        return f"encoding for {stage}" if event.path.startswith("cache/") else stage


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    log = folder / "events.json"
    done = faults.run(RUN, folder, log=log)
    assert done.code == 0, done.err
    events = [faults.Event(*event) for event in json.loads(log.read_text("utf-8"))]
    return Undisturbed(files_of(folder), events)


def files_of(folder: Path) -> dict[str, str]:
    return faults.fingerprint(folder / "runs" / NAME, folder / "reports" / f"{NAME}.html")


def draw_kill(
    undisturbed: Undisturbed, finished: int, random: np.random.Generator
) -> tuple[int | None, float, str]:
    """Where to kill a run that has so many stages already: at a change or after seconds; in what.

    That is in the stage that it is at or in the next one; all changes of one kind of work are
    equally likely, or all moments.
    """
    events = undisturbed.events
    left = [index for index, event in enumerate(events) if event.finished >= finished]
    stage = min(finished + int(random.random() < _NEXT), len(STAGES) - 1)
    kinds = sorted({undisturbed.work(event) for event in events if event.finished == stage})
    kind = kinds[random.integers(len(kinds))]
    own = [index for index in left if undisturbed.work(events[index]) == kind]
    if random.random() < 0.7:
        return int(own[random.integers(len(own))]) - left[0] + 1, 0.0, kind
    first, last = events[own[0]].seconds, events[min(own[-1] + 1, len(events) - 1)].seconds
    skipped = events[left[0]].seconds - events[0].seconds
    return None, float(random.uniform(first, last)) - skipped, kind


def test_killed_runs_end_with_the_files_of_an_undisturbed_one(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    random = np.random.default_rng(SEED)
    killed: Counter[str] = Counter()
    wrong = []
    while killed.total() < KILLS:
        folder = faults.emptied(tmp_path / "run")
        history = []
        for _ in range(CHAIN):
            finished = faults.finished_stages(folder / "runs" / NAME)
            kill_at, seconds, kind = draw_kill(undisturbed, finished, random)
            process = faults.start(RUN, folder, kill_at=kill_at)
            ended = faults.killed_after(300 if kill_at else seconds, process, folder)
            history.append(f"{kind} {kill_at or round(seconds, 3)}: {ended.code}")
            assert ended.code in (0, -9), f"{history}: {ended.err}"
            killed[kind] += ended.code == -9
        done = faults.run(RUN, folder)
        if done.code != 0:
            wrong.append(f"{history}: {done.err}")
            continue
        different = faults.differences(files_of(folder), undisturbed.files)
        left = faults.leftovers(folder / "runs")
        if different or left:
            wrong.append(f"{history}: {different} {left}")
    print(f"{killed.total()} kills: {dict(sorted(killed.items()))}")  # noqa: T201 - shown by -s
    assert not wrong, "\n".join(wrong)
