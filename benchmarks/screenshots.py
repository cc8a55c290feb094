"""The README's pictures, made from run folders: the tops of a run's page and of a comparison's.

    python -m benchmarks.screenshots runs/xquad-r-bm25-0 runs/xquad-r-zero-shot-0

The first run is the comparison's baseline, the last one's page is shown. Needs the test extra and a
Chromium, as the tests of pages do.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bias_bench.errors import BiasBenchError
from bias_bench.report.comparison_page import write_comparison_page
from bias_bench.report.run_page import write_run_page
from bias_bench.significance.comparison import compare
from bias_bench.significance.options import CompareOptions
from bias_bench.system.files import write_bytes
from tests.support.browser import find

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
LARGEST = 300_000  # bytes
_WIDTH = 1000  # pixels
_HEIGHTS = {"run": 1420, "comparison": 1250}


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.screenshots")
    arguments.add_argument("runs", nargs="+", type=Path, help="complete run folders, two or more")
    arguments.add_argument("--out", type=Path, default=PICTURES, help="folder for the pictures")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        result = compare(given.runs, CompareOptions())
        pages = {
            "run": write_run_page(given.runs[-1], Path(name)),
            "comparison": write_comparison_page(result, Path(name) / "comparison.html"),
        }
        for title, picture in _shoot(pages).items():
            path = given.out / f"{title}.png"
            if len(picture) > LARGEST:
                raise BiasBenchError(f"{path}: {len(picture):,} bytes; show less of the page")
            write_bytes(path, picture)
            print(f"{path}: {len(picture):,} bytes")


def _shoot(pages: dict[str, Path]) -> dict[str, bytes]:
    """PNG of the upper part of each page, in light colours."""
    from playwright.sync_api import sync_playwright

    chromium = find()
    pictures = {}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(**(chromium.options() if chromium else {}))
        for title, path in pages.items():
            size = {"width": _WIDTH, "height": _HEIGHTS[title]}
            page = browser.new_page(viewport=size, color_scheme="light")
            page.goto(path.as_uri())
            pictures[title] = page.screenshot()
        browser.close()
    return pictures


if __name__ == "__main__":
    main()
