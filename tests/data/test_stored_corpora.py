"""Corpora that are kept on disk and encoded in parts, killed and damaged: as undisturbed ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.journeys.test_damage import Damage, damages, some_damages
from tests.support import faults
from tests.support.kills import (
    KILLS,
    MANY,
    Command,
    Undisturbed,
    kill_again_and_again,
    undisturbed_run,
)
from tests.support.miracl_data import stand_in
from tests.support.small_disks import fill_again_and_again

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0 if MANY else 900)]


def small_parts() -> None:
    """In a process of a test: several parts of a corpus where there would be one."""
    from bias_bench.data import corpus, corpus_store
    from bias_bench.encoders import blocks
    from bias_bench.search import streamed

    blocks.BLOCK, streamed.TILE = 16, 8
    for module in (corpus, corpus_store):
        module.SHARD, module.TEXTS = 16, 8
    corpus_store._SORTED = 4_000
    corpus_store._MERGED = 2


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("corpora")
    stand_in(folder / "data")
    arguments = ["run", "miracl", "--data-dir", str(folder / "data"), "--recipe", "zero-shot"]
    command = Command(
        [*arguments, "--backbone", "scratch:tiny"],
        "miracl-zero-shot-0",
        ("encode", "search", "score", "metrics", "report", "index"),
        small_parts,
    )
    return undisturbed_run(command, folder)


def test_a_corpus_is_stored_and_encoded_in_parts(undisturbed: Undisturbed) -> None:
    stored = {event.path for event in undisturbed.events if event.path.startswith("cache/")}
    assert sum(path.endswith(".npy") for path in stored) > 8
    assert any("/corpora/" in path and "run-1-" in path for path in stored)


def test_runs_killed_while_a_corpus_is_stored_encoded_or_searched_end_with_the_same_files(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    kill_again_and_again(undisturbed, tmp_path / "run", max(KILLS // 3, 5))


@some_damages
def test_every_damaged_part_of_a_stored_corpus_is_found_and_made_again(
    undisturbed: Undisturbed, tmp_path: Path, damage: Damage
) -> None:
    assert undisturbed.command.run(tmp_path).code == 0
    shutil.rmtree(tmp_path / "runs")
    for path in sorted((tmp_path / "cache").rglob("*")):
        if path.is_file() and path.suffix != ".lock":
            damage(path)
    ended = undisturbed.command.run(tmp_path)
    assert ended.code == 0, ended.err
    assert "the stored corpus is damaged; reading its shards again" in ended.err
    assert "cached vectors are damaged" in ended.err
    assert undisturbed.differences(tmp_path) == []


def test_a_disk_that_is_full_while_a_corpus_is_stored_is_one_line_and_it_goes_on_later(
    undisturbed: Undisturbed, disk: Path
) -> None:
    assert fill_again_and_again(undisturbed, disk, step=15) > 1


@damages
def test_a_damaged_shard_of_the_data_is_one_line(
    undisturbed: Undisturbed, tmp_path: Path, damage: Damage
) -> None:
    data = stand_in(tmp_path / "data")
    shard = sorted(data.rglob("docs-*.jsonl.gz"))[1]
    damage(shard)
    given = undisturbed.command.arguments
    place = given.index("--data-dir") + 1
    ended = faults.run([*given[:place], str(data), *given[place + 1 :]], tmp_path)
    assert ended.code == 3
    assert "Traceback" not in ended.err
    assert f"{shard.name}: damaged" in ended.err
    assert not (tmp_path / "runs").exists()
