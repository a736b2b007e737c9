"""The first view of report.html: verdict totals and where to read on; workflow/report/workflow.rst takes it in."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from moe_replication.config.project import Project
from moe_replication.report.html import badge, escape, table
from moe_replication.report.sections import letters, page_file, sections
from moe_replication.statistics.claims import PAPER_CELL, SAME_CLAIM, VERDICTS

# Snakemake's own page knows the colours of no verdict.
STYLE = """
.badge { border-radius: .3rem; color: #fff; font-weight: 600; padding: .05rem .45rem; white-space: nowrap; }
.reproduced { background: #1a7f37; } .contradicted { background: #b42318; } .inconclusive { background: #8a5a00; }
.untestable, .not_run { background: #59636e; }
"""
KINDS = {SAME_CLAIM: "the same claim at our scale", PAPER_CELL: "the paper's own number"}
MEANINGS = {
    "scorecard": "every claim of the papers with its verdict and the evidence; filters by paper, verdict and words",
    "results": "tables and figures in the paper's order, each with its verdicts and the paper's numbers beside ours",
    "figures": "every figure as a file, with its caption",
    "discrepancies": "where paper, released code and arithmetic disagree, and what was run",
    "environment": "machines, versions, hours, energy, failures and retries",
    "checklist": "what conferences ask of an empirical paper, answered from the records",
    "tables": "one row a run, for further analysis",
}


def opening(project: Project, card: dict, results: Path) -> str:
    """A piece of HTML for the report's first view: totals by paper and kind of claim, then a link to every section."""
    of_papers = letters(project)
    rows = [
        (f"Paper {letter.upper()}, {words}", *_counts(card, paper, kind))
        for kind, words in KINDS.items()
        for paper, letter in of_papers.items()
    ]
    head = ("Claims", *(verdict.replace("_", " ") for verdict in VERDICTS))
    counts = Counter(entry["verdict"] for entry in card["claims"] if entry["paper"] in of_papers)
    totals = " ".join(f"{badge(verdict)}&nbsp;{counts[verdict]}" for verdict in VERDICTS)
    warnings = "".join(f"<p><strong>{escape(text)}</strong></p>" for text in card["warnings"])
    guide = f"<p><strong>How to read this report</strong></p><ol>{_guide(of_papers, results)}</ol>"
    return (
        f'<style>{STYLE}</style>\n<div id="verdicts"><p><strong>Verdicts at scale {escape(card["scale"])}</strong></p>'
        f"<p>{totals}</p>{warnings}\n{table(head, rows, range(1, len(head)))}</div>\n"
        f'<div id="sections">{guide}</div>\n'
    )


def _counts(card: dict, paper: str, kind: str) -> list[str]:
    found = Counter(entry["verdict"] for entry in card["claims"] if (entry["paper"], entry["kind"]) == (paper, kind))
    return [str(found[verdict]) for verdict in VERDICTS]


def _guide(of_papers: dict[str, str], results: Path) -> str:
    """A line a section; those that are one page open it at once."""
    items = []
    for key, title in sections(of_papers).items():
        meaning = MEANINGS["results" if key.startswith("results-") else key]
        file = results / "scorecard.html" if key == "scorecard" else page_file(results, key)
        folder = key in ("figures", "tables")
        script = f"app.showCategory({json.dumps(title)})" if folder else _show(file.as_posix())
        name = title.partition(" ")[2]
        items.append(f'<li><a href="javascript:void {escape(script)}">{escape(name)}</a>: {escape(meaning)}</li>')
    return "".join(items)


def _show(path: str) -> str:
    """A call of the report's script that shows a page."""
    place = json.dumps(path)
    return f'app.setView({{content: "html", contentPath: results[{place}].data_uri, resultPath: {place}}})'
