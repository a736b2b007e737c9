"""The page of verdicts on the committed runs of the cpu scale."""

from __future__ import annotations

from collections import Counter

from generator.markdown import PAPERS, ROOT, WORDS, code, lines, prose, table
from moe_replication.files import read_json
from moe_replication.report.scorecard_words import certainty, ours, papers
from moe_replication.report.verdicts import verdict_words
from moe_replication.statistics.claims import UNJUDGED, VERDICTS

CARD = "reference/cpu/scorecard.json"
CERTAINTY = ("n", "p", "p corrected")


def verdicts_page() -> str:
    """docs/reference/verdicts.md."""
    card = read_json(ROOT / CARD)
    parts = [f"# Verdicts at cpu scale\n\n{WORDS['intro']['verdicts']}\n{_totals(card)}"]
    for name, paper in PAPERS.items():
        claims = [claim for claim in card["claims"] if claim["paper"] == paper and claim["verdict"] not in UNJUDGED]
        head = ("Claim", "Place", "Ours (95 % interval)", "Paper", "Certainty", "Verdict")
        parts.append(f"## {name}\n\n{table(head, map(_row, claims))}")
    return "".join(parts)


def _totals(card: dict) -> str:
    counts = Counter((claim["paper"], claim["verdict"]) for claim in card["claims"])
    rows = ((name, *(str(counts[paper, verdict]) for verdict in VERDICTS)) for name, paper in PAPERS.items())
    return table(("Claims of", *map(verdict_words, VERDICTS)), rows)


def _row(claim: dict) -> tuple[str, ...]:
    found = certainty(claim)
    return (
        lines(prose(claim["claim"]), code(claim["id"])),
        prose(claim["place"]),
        prose(ours(claim)),
        prose(papers(claim)),
        lines(*(f"{name} {found[name]}" for name in CERTAINTY if name in found)),
        verdict_words(claim["verdict"]),
    )
