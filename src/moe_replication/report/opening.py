"""The first view of report.html: verdict totals and where to read on; workflow/report/workflow.rst takes it in."""

from __future__ import annotations

import json
from pathlib import Path

from moe_replication.config.project import Project
from moe_replication.report.html import BADGES, badge, escape, table
from moe_replication.report.scorecard_words import edits_note
from moe_replication.report.sections import letters, page_file, sections
from moe_replication.report.verdicts import KINDS, verdict_words
from moe_replication.statistics.claims import VERDICTS

CONTENTS = {
    "scorecard": "every claim of the papers with its verdict and the evidence; filters by paper, verdict and words",
    "results": "tables and figures in the paper's order, each with its verdicts and the paper's numbers beside ours",
    "figures": "every figure as a file, with its caption",
    "discrepancies": "where paper, released code and arithmetic disagree, and what was run",
    "environment": "machines, versions, hours, energy, failures and retries",
    "checklist": "what conferences ask of an empirical paper, answered from the records",
    "tables": "one row a run, for further analysis",
}
# A page of the report is a data: address in a frame; a fragment behind it leads to the section of that id.
LISTENER = """
const pages = PAGES;
window.onmessage = ({ data, source }) => {
  const path = pages[data?.figure?.[0]];
  source?.postMessage({ letters: Object.keys(pages) }, "*");
  if (path) app.setView({ content: "html", contentPath: `${results[path].data_uri}#${data.figure}`, resultPath: path });
};
"""


def opening(project: Project, card: dict, results: Path) -> str:
    """A piece of HTML for the report's first view: totals by paper and kind of claim, then a link to every section."""
    of_papers = letters(project)
    parts = [part for part in card["sections"] if part["paper"] in of_papers]
    rows = [
        (
            f"{escape(KINDS[part['kind']].title)}, paper {of_papers[part['paper']].upper()}",
            *(str(part["totals"][verdict]) for verdict in VERDICTS),
        )
        for part in parts
    ]
    head = ("Claims", *map(verdict_words, VERDICTS))
    counts = {verdict: sum(part["totals"][verdict] for part in parts) for verdict in VERDICTS}
    totals = " ".join(f"{badge(verdict)}&nbsp;{counts[verdict]}" for verdict in VERDICTS)
    notes = [*card["warnings"], edits_note(card, "the scorecard names them")]
    warnings = "".join(f"<p><strong>{escape(text)}</strong></p>" for text in notes if text)
    guide = f"<p><strong>How to read this report</strong></p><ol>{_guide(of_papers, results)}</ol>"
    return (
        f'<style onload="{escape(_listener(of_papers, results))}">{BADGES}</style>\n'
        f'<div id="verdicts"><p><strong>Verdicts at scale {escape(card["scale"])}</strong></p>'
        f"<p>{totals}</p>{warnings}\n{table(head, rows, range(1, len(head)))}</div>\n"
        f'<div id="sections">{guide}</div>\n'
    )


def _guide(of_papers: dict[str, str], results: Path) -> str:
    """A line a section; those that are one page open it at once."""
    items = []
    for key, title in sections(of_papers).items():
        meaning = CONTENTS["results" if key.startswith("results-") else key]
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


def _listener(of_papers: dict[str, str], results: Path) -> str:
    """Script of the report, whose frames can only send messages: shows the figure that one names.

    Any message is answered with the letters of the papers, whose figures' names start with them.
    """
    pages = {letter: page_file(results, f"results-paper-{letter}").as_posix() for letter in of_papers.values()}
    return LISTENER.replace("PAGES", json.dumps(pages))
