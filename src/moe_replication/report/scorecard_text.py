"""The scorecard as Markdown."""

from __future__ import annotations

import html
from collections.abc import Iterable

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

COLUMNS = ("Verdict", "Claim", "Place", "Finding", "Ours (95 % interval)", "Paper", "Certainty", "Figures", "Runs")
# Pooled claims name dozens of conditions; the JSON lists them all.
SHOWN_RUNS = 4


def scorecard_text(card: dict) -> str:
    """scorecard.json as Markdown: totals, then one table per kind of claim and paper, then the rules."""
    lines = [f"# Scorecard, scale {card['scale']}", ""]
    lines += [line for note in notes(card) for line in (note, "")]
    lines += [*_totals(card), *_edits(card)]
    names = paper_names(card)
    for section in card["sections"]:
        kind = KINDS[section["kind"]]
        lines += [f"## {kind.title}: {names[section['paper']]}", "", kind.meaning, ""]
        lines += [_row(COLUMNS), _row("---" for _ in COLUMNS)]
        lines += [_row(_cells(card, entry)) for entry in entries_of(card, section)]
        lines.append("")
    lines += ["## How a verdict is reached", "", *(f"- {rule}" for rule in RULES)]
    lines += ["", f"SHA-256 of the claims: {card['claims_sha256']}"]
    return "\n".join(lines) + "\n"


def _totals(card: dict) -> list[str]:
    names = paper_names(card)
    rows = [
        (f"{KINDS[section['kind']].title}: {names[section['paper']]}", section["totals"])
        for section in card["sections"]
    ]
    rows.append(("All", card["totals"]))
    counts = [_row((title, *(str(totals[verdict]) for verdict in VERDICTS))) for title, totals in rows]
    head = ("Claims", *(verdict_words(verdict) for verdict in VERDICTS))
    tests = [f"- {note}" for note in tests_note(card)]
    return [_row(head), _row(("---", *("---:" for _ in VERDICTS))), *counts, "", *tests, ""]


def _edits(card: dict) -> list[str]:
    if not card["claims_edited"]:
        return []
    return [
        "## Claims edited after training",
        "",
        *(f"- {edit['id']} {change(edit)}." for edit in card["claims_edited"]),
        "",
    ]


def _cells(card: dict, entry: dict) -> Iterable[str]:
    targets = links(card, entry)
    runs = [_link(name, place) for name, place in targets["runs"].items()]
    more = f"{len(runs) - SHOWN_RUNS} more in [{entry['paper']}](runs/{entry['paper']}/)"
    return (
        f"**{verdict_words(entry['verdict'])}**",
        f"{entry['claim']} ({entry['id']})",
        entry["place"],
        f"{entry['sentence']} {entry['evidence']}".strip(),
        ours(entry),
        papers(entry),
        "; ".join(f"{name}: {value}" for name, value in certainty(entry).items()),
        ", ".join(_link(name, place) for name, place in targets["figures"].items()),
        ", ".join(runs[:SHOWN_RUNS] + ([more] if len(runs) > SHOWN_RUNS else [])),
    )


def _link(name: str, place: str | None) -> str:
    return f"{name} (no run)" if place is None else f"[{name}]({place})"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_in_cell, cells))} |"


def _in_cell(text: str) -> str:
    """One line in which neither bars nor HTML work; links are Markdown and stay."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")
