"""Tables as pictures and as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from moe_replication.figures import style
from moe_replication.files import atomic_path

NOT_RUN = "not run"
NUMBER = re.compile(rf"{NOT_RUN}$|-$|[-+<>~\[( ]*\d")  # what a cell of a column of numbers looks like
CHARACTER = 0.058  # width of a character at the tables' 7 points, in inches
LINE = 0.16  # height of a row, in inches
HEAD_LINE = 0.7  # height of a line of the header, in rows


def save_table(header: Sequence[str], cells: Sequence[Sequence[str]], data: pl.DataFrame, out_base: Path | str) -> None:
    """Write the table as picture (.png, .pdf), numbers (.csv) and text (.md)."""
    widths = [max(len(line) for text in (head, *column) for line in text.split("\n")) + 2.0
              for head, column in zip(header, zip(*cells, strict=True), strict=True)]  # fmt: skip
    top = -0.8 - HEAD_LINE * max(head.count("\n") + 1 for head in header)
    height = LINE * (len(cells) + 0.8 - top)
    figure, axes = style.panels(width=max(style.COLUMN, CHARACTER * sum(widths)), height=height)
    ax = axes[0, 0]
    ax.set_axis_off()
    ax.set_xlim(0, sum(widths))
    ax.set_ylim(len(cells) + 0.3, top - 0.1)
    left = 0.0
    for number, (head, width) in enumerate(zip(header, widths, strict=True)):
        words = number == 0 or not all(NUMBER.match(row[number]) for row in cells)
        x, side = (left + min(number, 1), "left") if words else (left + width - 1, "right")
        ax.text(x, -0.6, head, ha=side, va="baseline", fontsize=7, weight="bold", linespacing=1.1)
        for line, row in enumerate(cells):
            grey = row[number] in (NOT_RUN, "-")
            ax.text(x, line + 0.5, row[number], ha=side, va="center", fontsize=7,
                    color=style.GREY if grey else style.BLACK)  # fmt: skip
        left += width
    for y, thickness in ((top, 1.0), (-0.2, 0.6), (len(cells) + 0.1, 1.0)):
        ax.plot([0, sum(widths)], [y, y], color=style.BLACK, linewidth=thickness)
    style.save(figure, data, out_base)
    _save_text(header, cells, out_base)


def save_empty_table(message: str, columns: Sequence[str], out_base: Path | str) -> None:
    """A sentence in place of a table."""
    style.save_empty(message, columns, out_base)
    _save_text([message], [], out_base)


def _save_text(header: Sequence[str], cells: Sequence[Sequence[str]], out_base: Path | str) -> None:
    lines = [[head.replace("\n", " ") for head in header], ["---"] * len(header), *cells]
    base = Path(out_base)
    with atomic_path(base.with_name(f"{base.name}.md")) as temporary:
        temporary.write_text("".join(f"| {' | '.join(line)} |\n" for line in lines), encoding="utf-8")
