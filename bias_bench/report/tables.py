"""Tables of text: a figure is never cut; names give way, and wide tables become two."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from textwrap import fill
from typing import Literal, NamedTuple

_GAP = 2  # between columns
_NAME = 20  # characters that a column of names keeps where the table is too wide
_TEXT = (12, 24)  # those that one of texts keeps, for short words and for long ones


class Column(NamedTuple):
    """What a column holds decides what may become of it in a narrow table.

    A `name` says which row it is: it is folded, and stands again in every part of a table that is
    split. A `figure` stays whole. A `text` is wrapped.
    """

    heading: str
    kind: Literal["name", "figure", "text"] = "figure"


class Table:
    """Rows of texts, one for each column; `title` stands above them."""

    def __init__(self, columns: Iterable[Column], title: str = "") -> None:
        self.columns = list(columns)
        self.title = title
        self.rows: list[tuple[str, ...]] = []
        self.ends: set[int] = set()  # rows that a gap follows

    def add_row(self, *cells: str) -> None:
        """Add a row."""
        self.rows.append(cells)

    def add_section(self) -> None:
        """Leave a gap before the next row."""
        self.ends.add(len(self.rows) - 1)


def render(table: Table, width: int | None, encoding: str = "utf-8") -> str:
    """The table as text, in lines of at most `width` characters if at all possible (None: any).

    Where names, headings and texts give way and it is still too wide, it becomes several tables.
    """
    parts = [_part(table, fitted, encoding) for fitted in _fit(table, width)]
    if table.title:
        parts[0] = f"{wrapped(table.title, width)}\n{parts[0]}"
    return "\n\n".join(parts)


def wrapped(text: str, width: int | None) -> str:
    """Lines of at most `width` characters, broken between words (None: as they are)."""
    lines = text.split("\n")
    return text if width is None else "\n".join(fill(line, width) for line in lines)


def _fit(table: Table, width: int | None) -> list[dict[int, int]]:
    """For each part of the table its columns, with their widths."""
    natural, least = _natural(table), _least(table)
    columns = range(len(table.columns))
    if width is None or _total(natural) <= width:
        return [dict(zip(columns, natural, strict=True))]
    if _total(least) <= width:
        return [_widened(columns, natural, least, width)]
    names = [at for at in columns if table.columns[at].kind == "name"]
    others = [at for at in columns if at not in names]
    widest = max((least[at] for at in others), default=0)
    for at in names:  # what is left beside a figure, shared by all
        least[at] = max(1, min(least[at], (width - widest) // len(names) - _GAP))
    parts: list[list[int]] = [[*names]]
    for at in others:
        if parts[-1] != names and _total(least[of] for of in [*parts[-1], at]) > width:
            parts.append([*names])
        parts[-1].append(at)
    return [_widened(part, natural, least, width) for part in parts]


def _widened(
    columns: Iterable[int], natural: Sequence[int], least: Sequence[int], width: int
) -> dict[int, int]:
    """Widths of the columns of a part: what is left over is shared by those that lack some."""
    widths = {at: least[at] for at in columns}
    while lacking := [at for at, given in widths.items() if given < natural[at]]:
        for at in lacking:
            if _total(widths.values()) >= width:
                return widths
            widths[at] += 1
    return widths


def _total(widths: Iterable[int]) -> int:
    every = list(widths)
    return sum(every) + _GAP * (len(every) - 1)


def _natural(table: Table) -> list[int]:
    """The width of each column that wraps nothing."""
    from rich.cells import cell_len

    return [
        max(cell_len(text) for text in (column.heading, *(row[at] for row in table.rows)))
        for at, column in enumerate(table.columns)
    ]


def _least(table: Table) -> list[int]:
    """The width of each column that a narrow table has to give it."""
    from rich.cells import cell_len

    widths = []
    for at, natural in enumerate(_natural(table)):
        heading, kind = table.columns[at]
        cells = [row[at] for row in table.rows]
        word = max(
            (cell_len(word) for text in (heading, *cells) for word in text.split()), default=1
        )
        if kind == "figure":
            widths.append(max(word, *map(cell_len, cells), 1))
        else:
            least = _NAME if kind == "name" else min(max(word, _TEXT[0]), _TEXT[1])
            widths.append(min(natural, least))
    return widths


def _part(table: Table, widths: dict[int, int], encoding: str) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    lines = box.SIMPLE_HEAD if encoding.lower().startswith("utf") else box.ASCII
    drawn = RichTable(box=lines, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for at, width in widths.items():
        heading, kind = table.columns[at]
        drawn.add_column(
            Text(heading),  # as Text, since a name may hold what rich would read as markup
            width=width,
            overflow="fold",
            justify="right" if kind == "figure" else "left",
        )
    for number, row in enumerate(table.rows):
        drawn.add_row(*(Text(row[at]) for at in widths), end_section=number in table.ends)
    stream = io.StringIO()
    # whatever the environment says of terminals, this is not one
    Console(file=stream, width=_total(widths.values()), force_terminal=False).print(drawn)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())
