"""The scorecard as one HTML page: totals, filters, a row for each claim that links its figures and runs."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlencode

from moe_replication.report.html import badge, escape, page
from moe_replication.report.scorecard_look import SCRIPT, STYLE
from moe_replication.report.scorecard_words import (
    RULES,
    certainty,
    change,
    entries_of,
    links,
    notes,
    ours,
    paper_names,
    papers,
    tests_note,
)
from moe_replication.report.verdicts import KINDS, verdict_words
from moe_replication.statistics.claims import VERDICTS

COLUMNS = ("Verdict", "Claim", "Finding", "Ours (95 % interval), paper", "Certainty", "Figures and runs")
# Above a cell where the row is a card; what speaks for itself has none.
LABELS = ("", "", "Finding", "", "", "Figures and runs")
# Pooled claims name dozens of conditions; longer lists start folded.
OPEN_LIST = 3
INSIDE = (
    "Inside the report, pictures are under Figures and, by paper, under Results in the menu, where a claim's figure "
    "leads; its runs are beside the report on disk, in results/{scale}/runs/."
)


def scorecard_page(card: dict) -> str:
    """scorecard.json as a page that needs no other file; without script every row is shown.

    A filtered view is an address: #paper=expert-ecology&kind=our-scale&verdict=contradicted&text=words (each may be
    left out, `verdict` repeated); #b-v1-no-dead is the row of that claim.
    """
    title = f"Scorecard, scale {card['scale']}"
    parts = [f"<h1>{escape(title)}</h1>"]
    parts += [f"<p>{escape(note)}</p>" for note in notes(card)]
    parts.append(f'<p id="inside" hidden>{escape(INSIDE.format(scale=card["scale"]))}</p>')
    parts += [_totals(card), _edits(card), _filters(card)]
    parts += [_section(card, section) for section in card["sections"]]
    rules = "".join(f"<li>{escape(rule)}</li>\n" for rule in RULES)
    parts.append(f'<h2 id="rules">How a verdict is reached</h2>\n<ul>{rules}</ul>')
    parts.append(f"<p><small>SHA-256 of the claims: <code>{escape(card['claims_sha256'])}</code></small></p>")
    return page(title, "\n".join(parts), SCRIPT, STYLE)


def _totals(card: dict) -> str:
    """Counts by kind and paper; each links the claims that it counts."""
    names, rows = paper_names(card), []
    for name, kind in KINDS.items():
        parts = [section for section in card["sections"] if section["kind"] == name]
        if not parts:
            continue
        meaning = f"{escape(kind.title)}<small>{escape(kind.meaning)}</small>"
        rows.append(f'<tr class="kind"><th scope="rowgroup" colspan="{len(VERDICTS) + 2}">{meaning}</th></tr>')
        of_kind = {"kind": kind.address}
        rows += [_counts(names[part["paper"]], part["totals"], {"paper": part["paper"]} | of_kind) for part in parts]
        if len(parts) > 1:
            sums = {verdict: sum(part["totals"][verdict] for part in parts) for verdict in VERDICTS}
            rows.append(_counts("All papers", sums, of_kind))
    rows.append(_counts("All claims, of either kind", card["totals"], {}))
    head = "".join(f'<th scope="col">{badge(verdict)}</th>' for verdict in VERDICTS)
    tests = "".join(f"<p>{escape(note)}</p>" for note in tests_note(card))
    return (
        f'<h2>Totals</h2>\n<table class="totals"><thead><tr><td></td>{head}<th scope="col">claims</th></tr></thead>'
        f"<tbody>\n{chr(10).join(rows)}\n</tbody></table>\n{tests}"
    )


def _counts(title: str, counts: dict[str, int], where: dict[str, str]) -> str:
    cells = [(verdict_words(verdict), counts[verdict], where | {"verdict": verdict}) for verdict in VERDICTS]
    cells.append(("claims", sum(counts.values()), where))
    shown = "".join(f'<td data-label="{label}">{_count(count, query)}</td>' for label, count, query in cells)
    return f'<tr><th scope="row">{escape(title)}</th>{shown}</tr>'


def _count(count: int, query: dict[str, str]) -> str:
    return f'<a href="#{escape(urlencode(query))}">{count}</a>' if count and query else str(count)


def _edits(card: dict) -> str:
    if not card["claims_edited"]:
        return ""
    current = {entry["id"] for entry in card["claims"]}
    items = (
        f"<li>{_permalink(edit['id']) if edit['id'] in current else escape(edit['id'])} {escape(change(edit))}</li>\n"
        for edit in card["claims_edited"]
    )
    return f"<h2>Claims edited after training</h2>\n<ul>{''.join(items)}</ul>"


def _filters(card: dict) -> str:
    """The filters, hidden where no script could make them work, and the line that counts the rows shown."""
    kinds = [(kind.address, kind.title) for kind in KINDS.values()]
    boxes = "".join(
        f'<label><input type="checkbox" name="verdict" value="{verdict}">{badge(verdict)}</label>'
        for verdict in VERDICTS
    )
    return (
        '<div id="filters" data-script hidden><form role="search" aria-label="Filter the claims">\n'
        f"{_choice('Paper', paper_names(card).items())}\n{_choice('Kind', kinds)}\n"
        f"<fieldset><legend>Verdict</legend>{boxes}</fieldset>\n"
        '<label>Search <input type="search" name="text" placeholder="words that all occur"></label>\n'
        '<button type="reset">Show all</button></form>\n<output id="count"></output></div>\n'
        '<p id="nothing" hidden>Nothing matches. Take a filter away, or show all.</p>'
    )


def _choice(title: str, options: Iterable[tuple[str, str]]) -> str:
    shown = "".join(f'<option value="{escape(value)}">{escape(text)}</option>' for value, text in options)
    return f'<label>{title} <select name="{title.lower()}"><option value="">all</option>{shown}</select></label>'


def _section(card: dict, section: dict) -> str:
    kind, paper = KINDS[section["kind"]], section["paper"]
    edits = {edit["id"]: edit for edit in card["claims_edited"]}
    rows = "\n".join(_claim(card, entry, edits.get(entry["id"])) for entry in entries_of(card, section))
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in COLUMNS)
    title = f"{kind.title}: {paper_names(card)[paper]}"
    return (
        f'<section class="claims" data-paper="{escape(paper)}" data-kind="{kind.address}">\n'
        f"<h2>{escape(title)}</h2>\n<p>{escape(kind.meaning)}</p>\n"
        f'<table class="claims"><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table></section>'
    )


def _claim(card: dict, entry: dict, edit: dict | None) -> str:
    targets = links(card, entry)
    mark = f'<br><span class="mark">{escape(change(edit))}</span>' if edit else ""
    cells = (
        badge(entry["verdict"]) + mark,
        f"{escape(entry['claim'])}<small>{escape(entry['place'])}</small><small>{_permalink(entry['id'])}</small>",
        f"{escape(entry['sentence'])}<small>{escape(entry['evidence'])}</small>",
        _facts({"ours": ours(entry), "paper": papers(entry)}),
        _facts(certainty(entry)),
        _list("figure", targets["figures"]) + _list("condition", targets["runs"]),
    )
    shown = "".join(
        f'<td data-label="{escape(label)}">{cell}</td>' if cell else "<td></td>"
        for label, cell in zip(LABELS, cells, strict=True)
    )
    return f'<tr id="{escape(entry["id"])}" data-verdict="{escape(entry["verdict"])}">{shown}</tr>'


def _facts(facts: dict[str, str]) -> str:
    shown = "".join(
        f"<div><dt>{escape(name)}</dt> <dd>{escape(value)}</dd></div>" for name, value in facts.items() if value
    )
    return f"<dl>{shown}</dl>" if shown else ""


def _list(what: str, targets: dict[str, str | None]) -> str:
    items = "".join(f"<li>{_link(what, name, place)}</li>" for name, place in targets.items())
    if len(targets) <= OPEN_LIST:
        return f"<ul>{items}</ul>"
    return f"<details><summary>{len(targets)} {what}s</summary><ul>{items}</ul></details>"


def _link(what: str, name: str, place: str | None) -> str:
    mark = f' data-figure="{escape(name)}"' if what == "figure" else ""
    return f"{escape(name)} (no run)" if place is None else f'<a href="{escape(place)}"{mark}>{escape(name)}</a>'


def _permalink(name: str) -> str:
    return f'<a href="#{escape(name)}">{escape(name)}</a>'
