"""Campaigns of kills: a run is killed again and again, wherever it is, and then must be as ever."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.support import faults

KILLS = int(os.environ.get("BIASBENCH_FAULTS", "8"))
MANY = KILLS >= 100  # nox -s faults
SEED = int(os.environ.get("BIASBENCH_FAULTS_SEED", "0"))
CHAIN = 12  # kills of one folder
NAME = "mini-hybrid-hard-0"
RUN = [
    "run", "mini", "--backbone", "scratch:tiny", "--recipe", "hybrid-hard",
    "--set", "languages=[en,de]", "--set", "training.steps=6", "--set", "training.batch_size=8",
    "--set", "training.evaluate_every=3", "--set", "training.checkpoint_every=2",
    "--set", "robustness={topics: 5, strengths: [light]}",
]  # fmt: skip
_STAGES = (
    "audit", "mine", "train", "encode", "search", "score", "robustness", "probe", "metrics",
    "report", "index",
)  # fmt: skip

_NEXT = 0.2  # share of kills in the stage after the one that is next
_AT_THE_END = 2  # kills of a folder while its page is written
_AT_A_CHANGE = 0.7  # share of kills before a change of a file; others are at any moment


class Command(NamedTuple):
    """A run: its folder's `name`, its `stages`, and what its process does `before`."""

    arguments: list[str]
    name: str
    stages: tuple[str, ...]
    before: Callable[[], None] | None = None

    def run(
        self, folder: Path, kill_at: int | None = None, log: Path | None = None
    ) -> faults.Ended:
        return faults.end(self.start(folder, kill_at, log), folder)

    def start(
        self, folder: Path, kill_at: int | None = None, log: Path | None = None
    ) -> faults.Run:
        return faults.start(self.arguments, folder, kill_at=kill_at, log=log, before=self.before)

    def files(self, folder: Path) -> dict[str, str]:
        """sha256 of what it leaves."""
        page = folder / "reports" / f"{self.name}.html"
        return faults.fingerprint(folder / "runs" / self.name, page)


TRAINED = Command(RUN, NAME, _STAGES)


class Undisturbed(NamedTuple):
    """A run that nobody killed: its files, and every change of a file that it made."""

    command: Command
    files: dict[str, str]
    events: list[faults.Event]

    def work(self, event: faults.Event) -> str:
        """What the process was at: a stage, or the encoding within it."""
        stage = self.command.stages[event.finished]
        return f"{stage}: cache" if event.path.startswith("cache/") else stage

    def differences(self, folder: Path) -> list[str]:
        """Files that are not as those of this run."""
        return faults.differences(self.command.files(folder), self.files)


def undisturbed_run(command: Command, folder: Path) -> Undisturbed:
    log = folder / "events.json"
    done = command.run(folder, log=log)
    assert done.code == 0, done.err
    events = [faults.Event(*event) for event in json.loads(log.read_text("utf-8"))]
    return Undisturbed(command, command.files(folder), events)


class Kill(NamedTuple):
    """Before change `at`, or after some seconds; `kind` is the work that is meant to be hit."""

    at: int | None
    seconds: float
    kind: str


def draw_kill(undisturbed: Undisturbed, finished: int, random: np.random.Generator) -> Kill:
    """Where to kill a run that has so many stages already.

    That is in the stage that it is at or in the next one, and early in it rather than late: with
    what an earlier run has left in the cache, there are fewer changes and less time than here.
    """
    events, stages = undisturbed.events, undisturbed.command.stages
    left = [index for index, event in enumerate(events) if event.finished >= finished]
    stage = min(finished + int(random.random() < _NEXT), len(stages) - 1)
    kinds = sorted({undisturbed.work(event) for event in events if event.finished == stage})
    kind = kinds[random.integers(len(kinds))]
    own = [index for index in left if undisturbed.work(events[index]) == kind]
    if random.random() < _AT_A_CHANGE:
        return Kill(own[int(len(own) * random.random() ** 2)] - left[0] + 1, 0.0, kind)
    first, last = events[own[0]].seconds, events[min(own[-1] + 1, len(events) - 1)].seconds
    skipped = events[left[0]].seconds - events[0].seconds
    seconds = first + (last - first) * random.random() ** 2 - skipped
    return Kill(None, max(seconds, 0.0), kind)


def kill_again_and_again(undisturbed: Undisturbed, folder: Path, kills: int = KILLS) -> None:
    """Kill runs `kills` times, each folder up to `CHAIN` times, finish each, and print how often.

    AssertionError unless each run then has the files of the undisturbed one, and no others.
    """
    command = undisturbed.command
    random = np.random.default_rng(SEED)
    killed: Counter[str] = Counter()
    wrong, finished_runs = [], 0
    while killed.total() < kills:
        faults.emptied(folder)
        history: list[str] = []
        at_the_end = 0
        while len(history) < min(CHAIN, kills - killed.total()) and at_the_end < _AT_THE_END:
            finished = faults.finished_stages(folder / "runs" / command.name)
            at_the_end += finished == len(command.stages) - 1
            kill = draw_kill(undisturbed, finished, random)
            process = command.start(folder, kill.at)
            ended = faults.killed_after(300 if kill.at else kill.seconds, process, folder)
            history.append(f"{kill}: {ended.code}")
            assert ended.code in (0, -9), f"{history}: {ended.err}"
            reached = faults.finished_stages(folder / "runs" / command.name)
            killed[command.stages[reached]] += ended.code == -9
        done = command.run(folder)
        finished_runs += 1
        if done.code != 0:
            wrong.append(f"{history}: {done.err}")
        else:
            different, left = undisturbed.differences(folder), faults.leftovers(folder / "runs")
            if different or left:
                wrong.append(f"{history}: {different} {left}")
        counts = ", ".join(f"{kind} {number}" for kind, number in sorted(killed.items()))
        so_far = f"{killed.total()} kills of {finished_runs} runs: {counts}; {len(wrong)} wrong"
        print(so_far, flush=True)  # noqa: T201 - shown by -s
    assert not wrong, "\n".join(wrong)
