"""metrics.json and manifest.json of earlier versions still load, and a wrong field is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bias_bench.errors import BiasBenchError, DataError
from bias_bench.evaluation.metrics_document import Metrics
from bias_bench.evaluation.run_record import RunRecord
from bias_bench.report.run_page import write_run_page
from bias_bench.system.files import json_text, write_json

# result files as earlier versions wrote them: the first one, of a recipe that trains, and scored
EARLIER = sorted((Path(__file__).parents[1] / "earlier").iterdir())
TRAINED = Path(__file__).parents[1] / "earlier" / "trained"

earlier = pytest.mark.parametrize("folder", EARLIER, ids=lambda folder: folder.name)


@earlier
def test_metrics_of_earlier_versions_load_and_are_written_as_they_were(
    folder: Path, tmp_path: Path
) -> None:
    metrics = Metrics.load(folder)
    metrics.save(tmp_path, metrics.timings)
    written = (folder / "metrics.json").read_bytes()
    assert (tmp_path / "metrics.json").read_bytes() == written


@earlier
def test_runs_of_earlier_versions_have_a_page(folder: Path, tmp_path: Path) -> None:
    assert write_run_page(folder, tmp_path).is_file()


@earlier
def test_records_of_earlier_versions_load_and_are_written_as_they_were(folder: Path) -> None:
    written = (folder / "manifest.json").read_text(encoding="utf-8")
    assert json_text(RunRecord.load(folder).dump(), indent=1) + "\n" == written


@earlier
def test_records_of_earlier_versions_keep_what_they_say_of_themselves(folder: Path) -> None:
    written = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    record = RunRecord.load(folder)
    assert record.status == written["status"] == "complete"
    ((stages, environment),) = record.environments
    assert stages == list(record.stages)
    assert environment.versions == written["versions"]
    assert record.seconds.items() >= written["timings"].items()


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("seeds", [], "seeds: list should have at least 1 item"),
        ("encoding/profile/pooling", 3, "encoding.profile.pooling: input should be a valid string"),
        ("stages/train/outputs", None, "stages.train.outputs: input should be"),
        ("stages/train/key", 1.5, "stages.train.key: input should be a valid string, not 1.5"),
        ("stages/search/outputs", {"ranks.parquet": {}}, "stages.search.outputs.ranks.parquet.byt"),
        ("host/cores", "2", "host.cores: input should be a valid integer, not '2'"),
    ],
)
def test_a_wrong_field_of_a_record_is_named_in_one_line(
    tmp_path: Path, place: str, value: Any, message: str
) -> None:
    content = json.loads((TRAINED / "manifest.json").read_text(encoding="utf-8"))
    changed(content, place, value)
    (tmp_path / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError) as found:
        RunRecord.load(tmp_path)
    assert str(found.value).startswith(f"{tmp_path / 'manifest.json'}: damaged: {message}")
    assert "\n" not in str(found.value)
    assert "--policy always" in str(found.value)


def changed(content: Any, place: str, value: Any) -> None:
    *path, last = place.split("/")
    for key in path:
        content = content[key]
    content[last] = value


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("bias/rank_distance/macro", "2.5", "bias.rank_distance.macro: input should be a valid "),
        ("retrieval/monolingual/macro/AP", None, "retrieval.monolingual.macro.AP: input should"),
        ("retrieval/elsewhere", {}, "retrieval.elsewhere"),
        ("bias/language_probe", {}, "bias.language_probe.macro: field required"),
        ("bias/worst_rank/per_language/de", float("nan"), "not valid JSON"),
        ("scorers", [], "scorers: input should be"),
    ],
)
def test_a_wrong_field_of_metrics_is_named_in_one_line(
    tmp_path: Path, place: str, value: Any, message: str
) -> None:
    content = json.loads((TRAINED / "metrics.json").read_text(encoding="utf-8"))
    changed(content, place, value)
    (tmp_path / "metrics.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError) as found:
        Metrics.load(tmp_path)
    assert str(found.value).startswith(f"{tmp_path / 'metrics.json'}: damaged: {message}")
    assert "\n" not in str(found.value)
    assert str(found.value).endswith("; repeat the run")


def test_newer_metrics_and_absent_ones_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(BiasBenchError, match=r"holds no metrics\.json; finish it"):
        Metrics.load(tmp_path)
    write_json(tmp_path / "metrics.json", {"schema": 2})
    with pytest.raises(BiasBenchError, match="schema 2 is not known"):
        Metrics.load(tmp_path)


def test_what_was_not_measured_is_none_and_stays_as_it_was_written() -> None:
    bias = Metrics.load(TRAINED).bias
    assert bias.kendall is None
    assert bias.dump()["kendall@10"] == {}
    assert "chance" not in bias.dump()["target_removal"]


def test_metrics_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Metrics.load(TRAINED).bias.rank_distance = None  # type: ignore[misc]
