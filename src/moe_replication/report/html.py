"""The look that every page of the report shares, and the few elements that they are made of."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence

from moe_replication.report.verdicts import verdict_words

# Snakemake's own page takes the badges in without the rest of the style.
BADGES = """
.badge { border-radius: .3rem; color: #fff; display: inline-block; font-weight: 600; padding: .05rem .45rem; }
.badge { white-space: nowrap; }
.reproduced { background: #1a7f37; }
.contradicted { background: #b42318; }
.inconclusive { background: #8a5a00; }
.untestable, .not_run { background: #59636e; }
"""
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-top: 1px solid #8886; padding: .45rem .6rem; text-align: left; vertical-align: top; }
th.number, td.number { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap; }
small { opacity: .8; }
img { background: #fff; height: auto; max-width: 100%; }
"""


def escape(text: str) -> str:
    """Text as it stands in a page or an attribute."""
    return html.escape(text)


def badge(verdict: str) -> str:
    """A verdict in its colour."""
    return f'<span class="badge {escape(verdict)}">{escape(verdict_words(verdict))}</span>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numeric: Collection[int] = ()) -> str:
    """A table of cells that are HTML already; columns `numeric` are set to the right, the head is text."""

    def cells(tag: str, row: Sequence[str]) -> str:
        kinds = (' class="number"' if index in numeric else "" for index in range(len(row)))
        return "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    titles = cells("th", [escape(name) for name in head])
    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>\n{body}\n</tbody></table>"


def page(title: str, body: str, script: str = "", style: str = "") -> str:
    """A whole page that needs no other file; `body` is HTML, `style` comes after the shared one."""
    run = f"<script>\n{script}\n</script>\n" if script else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{BADGES}{style}</style></head>\n<body>\n{body}\n{run}</body></html>\n"
    )
