"""The report's page on where the papers disagree with themselves, with released code, or stay silent."""

from __future__ import annotations

from markdown_it import MarkdownIt

from moe_replication.errors import BadInput
from moe_replication.report.html import page

STYLE = "table { display: block; overflow-x: auto; } td { overflow-wrap: break-word; }"


def discrepancies_page(markdown: str) -> str:
    """The text of docs/discrepancies.md as a page; its first line is the heading. HTML in it is shown, not obeyed."""
    first = markdown.partition("\n")[0]
    if not first.startswith("# "):
        raise BadInput(f"docs/discrepancies.md: its first line {first!r} must be a heading; start it with '# '")
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return page(first.removeprefix("# "), body, style=STYLE)
