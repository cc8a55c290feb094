"""The page of a real run folder: all sections from its files, fewer where files are missing."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from bias_bench.errors import BiasBenchError, DataError
from bias_bench.report.render import LARGEST_PAGE
from bias_bench.report.run_page import write_run_page
from bias_bench.system.files import write_json
from tests.support.report_pages import Page, sections
from tests.support.runs import manifest, run

NAME = "mini-zero-shot-0"
MEASURED = ["summary", "retrieval", "bias", "distance", "shares", "probe", "robustness", "topics"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of the embedded benchmark and its report."""
    folder = tmp_path_factory.mktemp("finished")
    assert run(folder) == 0
    return folder


@pytest.fixture(scope="module")
def html(out: Path) -> str:
    return (out / "reports" / f"{NAME}.html").read_text(encoding="utf-8")


def test_page_has_every_section_and_is_small(html: str) -> None:
    assert sections(html) == [*MEASURED, "audit", "provenance"]
    assert len(html.encode()) < LARGEST_PAGE / 2


def test_figures_have_text_alternatives_and_ids_are_unique(html: str) -> None:
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    drawings = page.of("svg")
    assert len(drawings) == len(page.of("figure")) == len(page.of("figcaption")) == 4
    for drawing in drawings:
        assert drawing["role"] == "img"
        assert all(name in ids for name in str(drawing["aria-labelledby"]).split())
    for target in re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', html):
        assert target in ids


def test_page_made_again_is_the_same_bytes(out: Path, html: str, tmp_path: Path) -> None:
    page = write_run_page(out / "runs" / NAME, tmp_path)
    assert page.read_text(encoding="utf-8") == html


def test_a_folder_with_fewer_files_gives_a_page_with_fewer_sections(
    out: Path, tmp_path: Path
) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    for name in ("manifest.json", "metrics.json"):
        shutil.copy(out / "runs" / NAME / name, folder)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    del metrics["robustness"], metrics["bias"]["language_probe"]
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    with pytest.raises(DataError, match=r"metrics\.json: damaged: its checksum"):
        write_run_page(folder, tmp_path)
    content = manifest(folder)
    del content["stages"]["metrics"]  # then nothing says what it was
    write_json(folder / "manifest.json", content)
    found = sections(write_run_page(folder, tmp_path).read_text(encoding="utf-8"))
    assert found == [
        "summary", "retrieval", "bias", "distance", "shares", "audit", "provenance",
    ]  # fmt: skip


def test_damaged_training_log_is_named(out: Path, tmp_path: Path) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    for name in ("manifest.json", "metrics.json"):
        shutil.copy(out / "runs" / NAME / name, folder)
    (folder / "train.jsonl").write_text('{"step": 1', encoding="utf-8")
    with pytest.raises(BiasBenchError, match=r"train\.jsonl: damaged"):
        write_run_page(folder, tmp_path)


def test_examples_are_of_the_benchmark(out: Path, html: str) -> None:
    content = json.loads((out / "runs" / NAME / "examples.json").read_text(encoding="utf-8"))
    assert len(content["examples"]) == 12
    assert html.count("<article") == 12
    assert 'lang="ar" dir="rtl"' in html
    assert 'lang="en" dir="ltr"' in html
