"""Stages of a run: what is kept, computed and refused under each policy, and what is recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from bias_bench.errors import BiasBenchError, UsageError
from bias_bench.evaluation.run_record import SCHEMA, Encoding, RunRecord
from bias_bench.runs.graph import (
    Graph,
    Made,
    Policy,
    Stage,
    Work,
    decide,
    execute,
    stages_until,
)

RECORD = RunRecord(
    schema=SCHEMA,
    name="toy",
    benchmark="toy",
    system="toy@none#0",
    seeds=[0],
    collection="",
    encoding=Encoding(precision="none"),
)


class Toy:
    """Four stages in a row, each of which adds its setting to what the one before wrote."""

    def __init__(self, folder: Path, experiment: str = "toy: 1\n", **settings: str) -> None:
        self.folder, self.experiment = folder, experiment
        self.calls: list[str] = []
        self.settings = {"train": "z", "encode": "a", "search": "b", "metrics": "c"} | settings

    def stage(self, name: str, needs: tuple[str, ...]) -> Stage:
        def work(work: Work) -> Made:
            self.calls.append(name)
            if self.settings[name] == "fail":
                raise BiasBenchError("no good")
            if self.settings[name] == "stop":
                raise KeyboardInterrupt
            before = [(work.folder / need).read_text() for need in needs]
            (work.folder / name).write_text("".join(before) + self.settings[name])
            return Made([work.folder / name], {"note": "searched"} if name == "search" else {})

        return Stage(name, work, lambda: {"setting": self.settings[name]}, needs)

    @property
    def graph(self) -> Graph:
        names = list(self.settings)
        needs = [(), *((name,) for name in names[:-1])]
        stages = [self.stage(name, need) for name, need in zip(names, needs, strict=True)]
        return Graph(RECORD, self.experiment, stages)

    def run(self, policy: Policy = "only-missing", until: str | None = None) -> list[str]:
        """The stages that were worked on."""
        self.calls.clear()
        execute(self.graph, self.folder, policy, until)
        return list(self.calls)

    def decisions(self, policy: Policy) -> dict[str, str]:
        record = RunRecord.load(self.folder) if self.folder.is_dir() else RECORD
        made = decide(self.graph.stages, record, self.folder, policy)
        return {decision.stage: decision.action for decision in made}


def contents(folder: Path) -> dict[str, Any]:
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
        if path.name != ".lock"
    }


def nothing(toy: Toy) -> None:
    """Leave the folder as it is."""


def no_folder(toy: Toy) -> None:
    import shutil

    shutil.rmtree(toy.folder)


def lost(toy: Toy) -> None:
    (toy.folder / "search").unlink()


def damaged(toy: Toy) -> None:
    (toy.folder / "search").write_text("x")


def outdated(toy: Toy) -> None:
    toy.settings["search"] = "other"


def stopped(toy: Toy) -> None:
    no_folder(toy)
    toy.run(until="search")


STATES: dict[str, tuple[Callable[[Toy], None], list[str]]] = {
    "whole": (nothing, []),
    "absent": (no_folder, ["train", "encode", "search", "metrics"]),
    "lost": (lost, ["search"]),
    "damaged": (damaged, ["search"]),
    "outdated": (outdated, ["search", "metrics"]),
    "stopped": (stopped, ["metrics"]),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("policy", get_args(Policy))
def test_every_policy_does_what_it_says_in_every_state_of_a_folder(
    tmp_path: Path, policy: Policy, state: str
) -> None:
    toy = Toy(tmp_path / "run")
    toy.run()
    change, missing = STATES[state]
    change(toy)
    before = contents(toy.folder) if toy.folder.is_dir() else None
    planned = toy.decisions(policy)
    assert (contents(toy.folder) if toy.folder.is_dir() else None) == before  # a plan does nothing
    if policy == "never" and state != "absent":
        with pytest.raises(BiasBenchError, match="holds results"):
            toy.run(policy)
        assert toy.calls == []
        assert contents(toy.folder) == before
        assert set(planned.values()) == {"refuse"}
        return
    if policy == "only-cache":
        if missing:
            with pytest.raises(BiasBenchError, match=f"'{missing[0]}'.*computes nothing"):
                toy.run(policy)
        else:
            assert toy.run(policy) == []
        assert toy.calls == []
        assert (contents(toy.folder) if toy.folder.is_dir() else None) == before
        assert [name for name, action in planned.items() if action == "refuse"] == missing
        return
    expected = list(toy.settings) if policy == "always" else missing
    assert toy.run(policy) == expected
    assert [name for name, action in planned.items() if action == "compute"] == expected
    assert (toy.folder / "metrics").read_text() == "".join(toy.settings.values())
    assert RunRecord.load(toy.folder).status == "complete"


@pytest.mark.parametrize("until", ["encode", "search", "metrics"])
def test_a_finished_run_stays_finished_when_a_stage_is_asked_for(
    tmp_path: Path, until: str
) -> None:
    toy = Toy(tmp_path / "run")
    toy.run()
    before = contents(toy.folder)
    assert toy.run(until=until) == []
    assert contents(toy.folder).keys() == before.keys()
    assert RunRecord.load(toy.folder).complete


def test_status_follows_from_the_stages(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "run")
    toy.run(until="search")
    assert RunRecord.load(toy.folder).status == "stopped after search"
    assert toy.run() == ["metrics"]
    toy.settings["encode"] = "other"
    toy.run(until="encode")
    assert (
        RunRecord.load(toy.folder).status == "stopped after encode"
    )  # search is of the one before
    toy.settings["encode"] = "a"
    toy.run(until="encode")
    assert RunRecord.load(toy.folder).status == "complete"  # its file is what the others stand on


@pytest.mark.parametrize(
    ("setting", "error", "status"),
    [
        ("fail", BiasBenchError, "failed in search"),
        ("stop", KeyboardInterrupt, "interrupted in search"),
    ],
)
def test_a_stage_that_fails_keeps_those_before_it(
    tmp_path: Path, setting: str, error: type[BaseException], status: str
) -> None:
    toy = Toy(tmp_path / "run", search=setting)
    with pytest.raises(error):
        toy.run()
    assert RunRecord.load(toy.folder).status == status
    toy.settings["search"] = "b"
    assert toy.run() == ["search", "metrics"]
    assert RunRecord.load(toy.folder).status == "complete"


def test_a_run_that_fails_at_once_leaves_no_folder(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "run", train="fail")
    with pytest.raises(BiasBenchError, match="no good"):
        toy.run()
    assert not toy.folder.exists()


def test_each_stage_records_its_own_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Toy(tmp_path / "run")
    toy.run(until="search")
    monkeypatch.setattr("bias_bench.system.provenance.versions", lambda: {"biasbench": "later"})
    toy.run()
    toy.run(until="search")
    first, second = RunRecord.load(toy.folder).environments
    assert first[0] == ["train", "encode", "search"]
    assert second[0] == ["metrics"]
    assert (first[1].versions != second[1].versions, second[1].versions["biasbench"]) == (
        True, "later",
    )  # fmt: skip


def test_fields_that_a_stage_found_out_stay_while_it_is_kept(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "run")
    toy.run()
    toy.run()
    assert RunRecord.load(toy.folder).note == "searched"


def test_files_that_a_stage_makes_no_longer_are_removed(tmp_path: Path) -> None:
    names = ["one", "two"]

    def work(work: Work) -> Made:
        for name in names:
            (work.folder / name).write_text(name)
        return Made([work.folder / name for name in names])

    graph = Graph(RECORD, "toy: 1\n", [Stage("metrics", work, lambda: {"names": list(names)})])
    execute(graph, tmp_path / "run")
    names.remove("two")
    execute(graph, tmp_path / "run")
    assert not (tmp_path / "run/two").exists()
    assert (tmp_path / "run/one").exists()


def test_of_another_experiment_nothing_is_left_where_it_is_replaced(tmp_path: Path) -> None:
    Toy(tmp_path / "run", "toy: 1\n", index="x").run()
    Toy(tmp_path / "run", "toy: 2\n").run("always")
    record = RunRecord.load(tmp_path / "run")
    assert set(record.stages) == {"train", "encode", "search", "metrics"}
    assert not (tmp_path / "run/index").exists()


def test_a_stage_is_decided_by_those_files_of_another_that_it_names(tmp_path: Path) -> None:
    text = {"weights": "w", "log": "1"}
    calls: list[str] = []

    def train(work: Work) -> Made:
        for name, content in text.items():
            (work.folder / name).write_text(content)
        return Made([work.folder / name for name in text])

    def metrics(work: Work) -> Made:
        calls.append("metrics")
        (work.folder / "metrics").write_text((work.folder / "weights").read_text())
        return Made([work.folder / "metrics"])

    stages = [
        Stage("train", train, lambda: dict(text)),
        Stage("metrics", metrics, dict, ("train:weights",)),
    ]
    graph, folder = Graph(RECORD, "toy: 1\n", stages), tmp_path / "run"
    execute(graph, folder)
    text["log"] = "2"
    execute(graph, folder)
    assert calls == ["metrics"]
    assert RunRecord.load(folder).complete
    text["weights"] = "v"
    execute(graph, folder)
    assert calls == ["metrics", "metrics"]


def test_only_what_a_stage_stands_on_is_done_for_it(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "run")
    assert [stage.name for stage in stages_until(toy.graph, "search")] == [
        "train",
        "encode",
        "search",
    ]
    with pytest.raises(UsageError, match=r"no stage 'serch'.*search"):
        stages_until(toy.graph, "serch")
