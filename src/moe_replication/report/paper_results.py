"""A paper's results in its own order: every table and figure with its verdicts, the paper's numbers beside ours."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from markdown_it import MarkdownIt

from moe_replication.config.matrix import read_paper
from moe_replication.config.project import Project
from moe_replication.errors import BadInput
from moe_replication.figures.alt_text import alt_text, sample_text
from moe_replication.figures.paper_values import read_paper_values
from moe_replication.report.captions import caption_html
from moe_replication.report.card import read_card
from moe_replication.report.html import badge, escape, page, table
from moe_replication.report.pictures import Picture, pictures
from moe_replication.report.scorecard_words import change
from moe_replication.report.values import Ours, value_rows
from moe_replication.report.verdicts import KINDS as CLAIM_KINDS
from moe_replication.report.verdicts import verdict_words
from moe_replication.statistics.claims import PAPER_CELL, UNJUDGED, VERDICTS

OURS = "Further tables and figures, not the paper's"
NUMBERED = re.compile(r"[a-z]-(?P<kind>table|fig|appendix-)(?P<number>\d+[a-z]?|[a-z])(?:-(?P<rest>.+))?")
ITEMS = {"table": ("Tables", "Table"), "fig": ("Figures", "Figure"), "appendix-": ("Appendices", "Appendix")}
NAMES = {"e": "E", "core": "CORE", "jsd": "JSD"}
LONG_TABLE = 25  # lines of Markdown from which a table is folded
STYLE = """
section { border-top: 1px solid #8886; margin-top: 2rem; }
figure { margin: 1rem 0; }
figcaption { max-width: 60rem; }
.scroll { overflow-x: auto; }
.scroll table { font-size: .85em; width: auto; }
.claims { list-style: none; padding: 0; }
.claims li { margin: .6rem 0; max-width: 60rem; }
.kind { border: 1px solid currentColor; border-radius: .3rem; font-size: .8em; padding: 0 .3rem; }
nav ul { columns: 20rem; padding-left: 1.2rem; }
details { margin: .6rem 0; }
@media print { figure, .claims li { break-inside: avoid; } nav { display: none; } }
"""
# Inside Snakemake's report a page has no folder, so that its links to files lead nowhere.
SCRIPT = """
if (location.protocol === "data:") {
  for (const link of document.querySelectorAll("a[data-file]")) link.replaceWith(link.dataset.file);
}
"""


def results_page(project: Project, paper: str, results: Path) -> str:
    """The results of one paper as a page; `results` is results/{scale} with scorecard.json and summary.parquet.

    Needs the figures in figures/{scale} and their captions; BadInput names what is missing.
    """
    document = read_paper(project.root, paper)
    card = read_card(results)
    edits = {edit["id"]: change(edit) for edit in card["claims_edited"] if edit["paper"] == paper}
    claims = [entry | {"edited": edits.get(entry["id"], "")} for entry in card["claims"] if entry["paper"] == paper]
    figures = project.papers[paper].figures
    folder = project.root / "figures" / project.scale.name
    drawn = pictures({name: folder / f"{name}.png" for name, entry in figures.items() if "md" not in entry.also})
    ours = Ours.read(results, paper)
    reported = read_paper_values(project.root / "config/paper_values.yaml")
    groups = grouped(figures)
    of_figure = {name: [entry for entry in claims if name in entry["figures"]] for name in figures}
    body = [_head(document, card, claims), _contents(groups, of_figure)]
    for group, names in groups.items():
        body += [f"<h2>{escape(group)}</h2>"] if group else []
        for name in names:
            rows = value_rows(project, paper, item_of(name), of_figure[name], ours, reported)
            body.append(_section(project, name, drawn.get(name), of_figure[name], rows))
    body.append(_without_picture([entry for entry in claims if not set(entry["figures"]) & set(figures)]))
    title = f"Results, paper {document['letter'].upper()}: {document['title']}"
    return page(title, f"<h1>{escape(title)}</h1>\n" + "\n".join(body), script=SCRIPT, style=STYLE)


def grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """Names by heading: the paper's tables, figures and appendices by number, then ours as they come.

    Where nothing is numbered there is one group without a heading.
    """
    names = list(names)
    found: dict[str, list[str]] = {heading: [] for heading, _ in ITEMS.values()} | {OURS: []}
    for name in names:
        numbered = NUMBERED.fullmatch(name)
        found[ITEMS[numbered["kind"]][0] if numbered else OURS].append(name)
    if len(found[OURS]) == len(names):
        return {"": names}
    return {heading: members for heading, members in found.items() if members}


def item_of(name: str) -> str | None:
    """What the paper calls a figure: a-fig04b-expert-ratio is Figure 4b; None where it has no number there."""
    numbered = NUMBERED.fullmatch(name)
    if numbered is None:
        return None
    number = numbered["number"].lstrip("0")
    return f"{ITEMS[numbered['kind']][1]} {number.upper() if number.isalpha() else number}"


def title_of(name: str) -> str:
    """Heading of a figure, from its name."""
    item, numbered = item_of(name), NUMBERED.fullmatch(name)
    rest = (numbered["rest"] or "") if numbered else name.partition("-")[2]
    head = item or ("Table" if rest.startswith("table-") else "")
    words = " ".join(NAMES.get(word, word) for word in rest.removeprefix("table-").split("-") if word)
    return ": ".join(filter(None, (head, words))) if head else words[:1].upper() + words[1:]


def _head(document: dict, card: dict, claims: Sequence[dict]) -> str:
    counts = Counter((entry["kind"], entry["verdict"]) for entry in claims)
    rows = [
        (escape(kind.title), *(str(counts[name, verdict] or "") for verdict in VERDICTS))
        for name, kind in CLAIM_KINDS.items()
        if any(entry["kind"] == name for entry in claims)
    ]
    head = ("Verdicts", *map(verdict_words, VERDICTS))
    note = f"Scale {card['scale']}: {card['scale_note']}" if card["scale_note"] else f"Scale {card['scale']}"
    warnings = "".join(f"<p><strong>{escape(text)}</strong></p>" for text in card["warnings"])
    totals = f'<div class="scroll">{table(head, rows, range(1, len(head)))}</div>'
    return f"<p>{escape(document['citation'])}. {escape(note)}</p>{warnings}\n{totals}"


def _contents(groups: dict[str, list[str]], claims: dict[str, list[dict]]) -> str:
    """A link to every section, with the verdicts that it holds."""
    parts = []
    for group, names in groups.items():
        links = "".join(
            f'<li><a href="#{escape(name)}">{escape(title_of(name))}</a>{_verdicts(claims[name])}</li>'
            for name in names
        )
        parts.append(f"{f'<p>{escape(group)}</p>' if group else ''}<ul>{links}</ul>")
    return f'<nav aria-label="Contents">{"".join(parts)}</nav>'


def _verdicts(claims: Sequence[dict]) -> str:
    counts = Counter(entry["verdict"] for entry in claims)
    words = ", ".join(
        f"{counts[name]} {verdict_words(name)}" for name in VERDICTS if counts[name] and name not in UNJUDGED
    )
    return f" <small>{words}</small>" if words else ""


def _section(project: Project, name: str, picture: Picture | None, claims: list[dict], rows: list[list[str]]) -> str:
    root, scale = project.root, project.scale.name
    if picture is None:
        shown = _markdown_table(root / "figures" / scale / f"{name}.md")
    else:
        shown = (
            f'<img src="{picture.address}" width="{picture.width}" height="{picture.height}"'
            f' alt="{escape(alt_text(root, scale, name))}">'
        )
    if sample := sample_text(root, scale, name):
        sample = f"<p>{escape(sample)} ({escape(name)}.csv).</p>"
    suffixes = project.figures[name].suffixes
    files = ", ".join(_file_link(f"figures/{scale}/{name}.{suffix}") for suffix in suffixes)
    parts = [
        f"<h3>{escape(title_of(name))}</h3>",
        f"<figure>{shown}<figcaption>{caption_html(root, scale, name)}{sample}</figcaption></figure>",
        _claims(claims),
        _values(rows, scale),
        f"<p><small>Files: {files}</small></p>",
    ]
    return f'<section id="{escape(name)}">{"".join(filter(None, parts))}</section>'


def _markdown_table(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file; draw the figures first: make replicate") from error
    shown = f'<div class="scroll">{MarkdownIt("commonmark", {"html": False}).enable("table").render(text)}</div>'
    if (lines := len(text.splitlines())) < LONG_TABLE:
        return shown
    return f"<details><summary>The table, {lines} lines</summary>{shown}</details>"


def _claims(claims: Sequence[dict]) -> str:
    """The judged claims, then, folded, those that have no verdict at this scale."""
    judged = [entry for entry in claims if entry["verdict"] not in UNJUDGED]
    others = [entry for entry in claims if entry["verdict"] in UNJUDGED]
    folded = f"<details><summary>Claims without a verdict here: {len(others)}</summary>{_list(others)}</details>"
    return _list(judged) + (folded if others else "")


def _list(claims: Sequence[dict]) -> str:
    items = "".join(f"<li>{_claim(entry)}</li>\n" for entry in claims)
    return f'<ul class="claims">{items}</ul>' if items else ""


def _claim(entry: dict) -> str:
    kind = f' <span class="kind">{escape(CLAIM_KINDS[PAPER_CELL].title)}</span>' if entry["kind"] == PAPER_CELL else ""
    edited = f' <span class="kind">{escape(entry["edited"])}</span>' if entry["edited"] else ""
    evidence = f"<br><small>{escape(entry['evidence'])}</small>" if entry["evidence"] else ""
    return (
        f"{badge(entry['verdict'])}{kind}{edited} <strong>{escape(entry['claim'])}</strong>"
        f" <small>{escape(entry['place'])}; {escape(entry['id'])}</small><br>{escape(entry['sentence'])}{evidence}"
    )


def _values(rows: list[list[str]], scale: str) -> str:
    if not rows:
        return ""
    head = ("Condition", "Metric", "The paper", "Place", "Ours [95 % interval]", "n", "Our data")
    apart = "" if scale == "paper" else f"; at scale {scale} orders and signs compare, absolute values do not"
    shown = f'<div class="scroll">{table(head, rows, (2, 4, 5))}</div>'
    return f"<details open><summary>The paper beside ours{escape(apart)}</summary>{shown}</details>"


def _without_picture(claims: list[dict]) -> str:
    return f"<section><h2>Claims without a picture</h2>{_claims(claims)}</section>" if claims else ""


def _file_link(path: str) -> str:
    return f'<a href="../../../{escape(path)}" data-file="{escape(path)}">{escape(path.rpartition(".")[2])}</a>'
