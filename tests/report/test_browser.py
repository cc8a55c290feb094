"""The pages in a real browser: quiet, offline, by keyboard, in every width and colour, on paper."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bias_bench.significance.comparison import compare
from bias_bench.significance.document import ComparisonDocument
from bias_bench.significance.options import CompareOptions
from tests.support.browser import VARIABLE, find
from tests.support.browser_pages import PAGES, TOPICS, Opened, column, write_pages
from tests.support.comparisons import make_run

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

SERIOUS = {"serious", "critical"}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ComparisonDocument:
    """A comparison of three systems, tested."""
    out = tmp_path_factory.mktemp("runs")
    made = [
        make_run(out / name, name, quality=quality, noise=noise, topics=TOPICS)
        for noise, (name, quality) in enumerate((("zero-shot", 0), ("mono", 0.3), ("hybrid", 0.9)))
    ]
    return compare(made, CompareOptions(permutations=199, also=("t",)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, result: ComparisonDocument) -> Path:
    """The pages, and an index of them."""
    reports = tmp_path_factory.mktemp("reports")
    write_pages(reports, result)
    return reports


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = find()
    with playwright.sync_playwright() as driver:
        own = Path(driver.chromium.executable_path)
        if chromium is None and not own.is_file():
            how = f"install one, set {VARIABLE}, or run `python -m tests.support.browser`"
            reason = f"no Chromium: {how}"
            # where every check must run, a page that no browser saw is a failure
            (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
        started = driver.chromium.launch(**(chromium.options() if chromium else {}))
        yield started
        started.close()


@pytest.fixture
def opened(browser: Any, folder: Path) -> Iterator[Any]:
    pages: list[Opened] = []

    def open_page(name: str, **context: Any) -> Opened:
        pages.append(Opened(browser, folder / f"{name}.html", **context))
        return pages[-1]

    yield open_page
    for page in pages:
        page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_nothing_and_asks_for_nothing(opened: Any, folder: Path, name: str) -> None:
    page = opened(name)
    page.open_details()
    assert page.said == []
    assert page.asked == [(folder / f"{name}.html").as_uri()]
    assert page.page.locator("button.copy").count() > 0  # the script did run


def grave(page: Opened, **options: Any) -> list[tuple[str, str]]:
    """The rules of axe-core that a page breaks badly, each with the first element that does."""
    page.open_details()
    options = {"resultTypes": ["violations"], **options}
    found = axe.Axe().run(page.page, options=options).response["violations"]
    return [
        (rule["id"], rule["nodes"][0]["html"][:200]) for rule in found if rule["impact"] in SERIOUS
    ]


@pytest.mark.parametrize("name", ["run", "comparison", "index"])
def test_nothing_hinders_access(opened: Any, name: str) -> None:
    assert grave(opened(name)) == []


@pytest.mark.parametrize("name", ["run", "comparison"])
def test_dark_pages_have_contrast_too(opened: Any, name: str) -> None:
    assert grave(opened(name, color_scheme="dark"), runOnly=["color-contrast"]) == []


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scale", [1, 4], ids=["narrow", "zoomed"])
def test_narrow_pages_scroll_one_way_only(opened: Any, name: str, scale: int) -> None:
    page = opened(name, viewport={"width": 320, "height": 256}, device_scale_factor=scale)
    page.open_details()
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 320
    # what is wider than the page scrolls in a part of its own, which the keyboard reaches
    wide = "part => part.scrollWidth > part.clientWidth && part.tabIndex !== 0"
    assert (
        page.page.evaluate(f"[...document.querySelectorAll('.scroll, pre')].filter({wide}).length")
        == 0
    )


def test_headers_sort_by_keyboard(opened: Any) -> None:
    page = opened("comparison")
    table = page.page.get_by_role("region", name="Macro averages", exact=True).locator("table")
    first = column(table, 3)
    button = table.get_by_role("button", name="Difference")
    header = table.get_by_role("columnheader", name="Difference")

    def numbers() -> list[float]:
        return [float(text.replace("−", "-")) for text in column(table, 3)]

    page.press(button, "Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert numbers() == sorted(numbers())
    assert numbers()[0] < numbers()[-1]
    assert "sorted by Difference, ascending" in page.page.locator("[role=status]").last.inner_text()
    page.press(button, "Space")
    assert header.get_attribute("aria-sort") == "descending"
    assert numbers() == sorted(numbers(), reverse=True)
    page.press(table.get_by_role("button", name="System, settings"), "Enter")
    assert table.locator("[aria-sort]").count() == 1
    assert column(table, 0) == sorted(column(table, 0))
    page.press(button, "Enter")
    page.press(button, "Enter")
    page.press(button, "Enter")
    assert table.locator("[aria-sort]").count() == 0
    assert column(table, 3) == first


def test_what_is_missing_is_sorted_last_and_small_p_first(opened: Any) -> None:
    page = opened("comparison")
    texts = ["–", "<0.001*", "0.048", "1,190", "[−0.2, +0.1]", "0.001"]
    page.page.evaluate(
        "texts => texts.forEach((text, row) => document.querySelectorAll('tbody')[1].rows[row]"
        ".cells[3].textContent = text)", texts)  # fmt: skip
    table = page.page.locator("table").nth(1)
    button = table.get_by_role("button", name="Difference")
    for expected in (
        ["[−0.2, +0.1]", "<0.001*", "0.001", "0.048", "1,190", "–"],
        ["1,190", "0.048", "0.001", "<0.001*", "[−0.2, +0.1]", "–"],
    ):
        page.press(button, "Enter")
        assert [text for text in column(table, 3) if text in texts] == expected


def test_settings_are_filtered_by_keyboard(opened: Any, result: ComparisonDocument) -> None:
    page = opened("comparison")
    summary = page.page.locator("summary", has_text="settings of mono")
    page.press(summary, "Enter")
    page.page.keyboard.press("Tab")
    group = page.page.locator("#settings-1")
    assert page.page.evaluate("document.activeElement.type") == "search"
    status = group.get_by_role("status")
    assert status.inner_text() == "12 of 12 settings"
    assert status.evaluate("part => part.getAttribute('role')") == "status"  # announced politely
    for typed, expected in (
        ("en-", {"en-ar", "en-th", "en-all"}),
        ("THAI monolingual", {"th"}),
        ("pool of all arabic", {"ar-all"}),
        ("klingon", set()),
    ):
        page.page.keyboard.type(typed)
        assert set(column(group, 0)) == expected
        assert status.inner_text() == f"{len(expected)} of 12 settings"
        page.page.keyboard.press("Escape")
        assert len(column(group, 0)) == 12
    settings = result.systems[0].settings
    page.page.keyboard.type("significant better")
    better = {
        name for name, cell in settings.items()
        if cell.p_adjusted < 0.05 and cell.difference > 0
    }  # fmt: skip
    assert set(column(group, 0)) == better


def test_the_index_is_filtered_as_a_whole(opened: Any) -> None:
    page = opened("index")
    page.page.get_by_label("Filter pages").focus()
    page.page.keyboard.type("comparison made-up")
    assert page.page.get_by_role("link").all_inner_texts() == ["mono, hybrid against zero-shot"]
    assert page.page.get_by_role("heading", level=2).all_inner_texts() == ["Comparisons"]
    assert page.page.get_by_text("1 of 4 pages").is_visible()


def test_tables_are_copied_as_latex_as_they_stand(opened: Any) -> None:
    page = opened("comparison", permissions=["clipboard-read", "clipboard-write"])
    page.press(page.page.locator("summary", has_text="settings of mono"), "Enter")
    group = page.page.locator("#settings-1")
    page.page.get_by_label("Filter settings").first.fill("en-")
    page.press(group.get_by_role("button", name="Difference"), "Enter")
    page.press(group.get_by_role("button", name="Copy LaTeX of mono: all settings"), "Enter")
    group.get_by_text("✓ copied").wait_for()
    text = page.copied()
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()
    assert [line.split(" & ")[0] for line in body] == column(group, 0)
    form = re.search(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert form
    lines = [text.split("\\toprule\n")[1].splitlines()[0], *body]
    assert {line.count(" & ") + 1 for line in lines} == {len(form[1])}
    assert all(line.endswith(" \\\\") for line in lines)
    assert "d\\textsubscript{z}" in lines[0]
    assert " \\% interval" in lines[0]
    assert "−" not in text
    assert "copied" in page.page.locator("[role=status]").last.inner_text()


def test_methods_and_command_are_copied(opened: Any, result: ComparisonDocument) -> None:
    page = opened("comparison", permissions=["clipboard-read", "clipboard-write"])
    page.press(page.page.get_by_role("button", name="Copy methods"), "Enter")
    page.page.get_by_text("✓ copied").wait_for()
    text = page.copied()
    assert text.startswith(" ".join(result.methods))
    assert all(work in text for work in result.references)
    page.press(page.page.get_by_role("button", name="Copy command"), "Space")
    page.page.get_by_text("✓ copied").nth(1).wait_for()
    command = page.copied()
    assert command.startswith("biasbench compare runs/zero-shot runs/mono runs/hybrid ")
    assert "--significance --metric AP " in command


def test_a_refused_clipboard_is_worked_around(opened: Any) -> None:
    page = opened("run", permissions=["clipboard-read", "clipboard-write"])
    page.page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(Error('no')))")
    button = page.page.get_by_role("button", name="Copy command", exact=True)
    page.press(button, "Enter")
    page.page.get_by_text("✓ copied").wait_for()
    assert page.copied().startswith("biasbench run runs/made-up-0/experiment.yaml")
    assert button.evaluate("part => part === document.activeElement")


def test_dark_is_dark(opened: Any) -> None:
    shade = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    assert max(opened("run", color_scheme="dark").page.evaluate(shade)) < 60
    assert min(opened("run", color_scheme="light").page.evaluate(shade)) > 200


@pytest.mark.parametrize("name", ["run", "comparison"])
def test_paper_has_the_tables_and_no_controls(opened: Any, name: str) -> None:
    page = opened(name)
    assert len(re.findall(rb"/Type\s*/Page\b", page.page.pdf(format="A4"))) > 1
    page.page.emulate_media(media="print")
    assert page.page.locator("table:visible").count() > 2
    assert page.page.locator("button.copy:visible, input:visible").count() == 0


@pytest.mark.parametrize("name", ["hostile-run", "hostile-comparison"])
def test_hostile_text_shows_as_text(opened: Any, name: str) -> None:
    page = opened(name)
    assert "<script>alert(1)</script>" in page.page.get_by_role("heading", level=1).inner_text()
    assert page.page.locator("script").count() == 3
    assert json.loads(page.page.locator("#results").inner_text())
    assert (
        page.page.locator("h1").evaluate("part => getComputedStyle(part).unicodeBidi") == "isolate"
    )
    assert page.said == []


def test_without_scripts_a_page_is_whole_and_has_no_controls(opened: Any) -> None:
    for name in ("run", "comparison", "index"):
        page = opened(name, java_script_enabled=False)
        assert page.page.locator("button, input").count() == 0
        assert page.page.locator("table:visible").count() > 1
