"""Pages to open in a browser, made of small runs, and an opened page that records what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bias_bench.evaluation.ranks import RankTable
from bias_bench.report.comparison_page import write_comparison_page
from bias_bench.report.index_page import write_index
from bias_bench.report.run_statistics import run_statistics
from bias_bench.significance.document import ComparisonDocument
from tests.support.compared import changed
from tests.support.comparisons import make_run
from tests.support.report_pages import AUDIT, HOSTILE, PROBE, ROBUSTNESS, example, log_row, page_of

PAGES = ["run", "hostile-run", "comparison", "hostile-comparison", "index"]
TOPICS = tuple(f"t{number}" for number in range(48))
_STRANGE = HOSTILE + "\u202e" + "شبكة" + "\u200f"


def write_pages(reports: Path, result: ComparisonDocument) -> None:
    """All `PAGES`; those called hostile have strange text wherever people can put any."""
    run = make_run(reports / "source", topics=TOPICS)
    for name, title, text in (
        ("run", "made-up-0", "a recipe"),
        ("hostile-run", _STRANGE, _STRANGE),
    ):
        (reports / f"{name}.html").write_text(_run_page(title, text, run), encoding="utf-8")
    write_comparison_page(result, reports / "comparison.html")
    write_comparison_page(changed(result, _made_hostile), reports / "hostile-comparison.html")
    write_index(reports)


def _made_hostile(content: dict[str, Any]) -> None:
    for part in (*content["overview"], *content["systems"]):
        part["label"] = _STRANGE
    content |= {"benchmark": _STRANGE, "warnings": [_STRANGE]}
    content["systems"][0]["runs"] = [_STRANGE]


def _run_page(name: str, text: str, folder: Path) -> str:
    """A page with every section; `text` is what people and files put into it."""
    hit = {"rank": 2, "candidate": text, "language": "ar", "relevant": False, "text": text}
    finding = {**AUDIT["findings"][0], "matched": text, "item": text}
    topics = [example(), example(question=text, english=text, title=text, query=text, hits=[hit])]
    return page_of(
        {"audit": {**AUDIT, "findings": [finding]}, "benchmark": "xquad-r", "system": text},
        name=name,
        statistics=run_statistics(RankTable(folder / "ranks.parquet")),
        bias={"language_probe": PROBE},
        metrics={"robustness": ROBUSTNESS},
        training=[log_row(step) for step in range(1, 9)],
        examples=topics,
        experiment=f"recipe: {text}\n",
    )


class Opened:
    """A page in the browser, and all that it said and asked for."""

    def __init__(self, browser: Any, path: Path, **context: Any) -> None:
        context = {"viewport": {"width": 1100, "height": 800}, **context}
        self.context = browser.new_context(offline=True, **context)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def open_details(self) -> None:
        self.page.evaluate(
            "for (const part of document.querySelectorAll('details')) part.open = true"
        )

    def press(self, button: Any, key: str) -> None:
        button.focus()
        self.page.keyboard.press(key)

    def copied(self) -> str:
        return self.page.evaluate("navigator.clipboard.readText()")


def column(table: Any, number: int) -> list[str]:
    return [
        row.locator("th, td").nth(number).inner_text()
        for row in table.locator("tbody tr:not([hidden])").all()
    ]
