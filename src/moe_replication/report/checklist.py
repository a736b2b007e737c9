"""The report's checklist page: what NeurIPS and the ACL ask of an empirical paper, answered from records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from moe_replication.config.project import Project
from moe_replication.report import checklist_answers as answers
from moe_replication.report.checklist_answers import AUTHOR, Answer
from moe_replication.report.html import escape, page, table
from moe_replication.report.origins import counts_table, reconstructed_table
from moe_replication.report.records import Records, read_records

Item = tuple[str, str, Callable[[Records], Answer]]
# Numbers are the checklists' own, the questions in short.
NEURIPS: tuple[Item, ...] = (
    ("1", "Claims: do abstract and introduction claim what was found?", answers.claims),
    ("2", "Limitations: are they discussed?", answers.limitations),
    ("3", "Theory: are assumptions and proofs complete?", answers.theory),
    ("4", "Reproducibility: is all said that others need?", answers.reproducibility),
    ("5", "Access: are data and code open, with instructions?", answers.access),
    ("6", "Setting: splits, hyperparameters and how they were chosen?", answers.setting),
    ("7", "Significance: error bars or tests, and what they mean?", answers.statistics),
    ("8", "Compute: devices, memory, time of each run and of all?", answers.compute),
    ("9", "Ethics: does the work keep to the code of ethics?", answers.author),
    ("10", "Impacts: are good and bad effects on society discussed?", answers.author),
    ("11", "Safeguards: against misuse of what is released?", answers.safeguards),
    ("12", "Licences: are makers credited and terms respected?", answers.licences),
    ("13", "New assets: are they documented?", answers.assets),
    ("14", "People: instructions and pay of participants?", answers.people),
    ("15", "Review board: risks and approval for studies of people?", answers.people),
    ("16", "Language models: is their use as a part of the method declared?", answers.assistants),
)
ACL: tuple[Item, ...] = (
    ("A1", "Limitations", answers.limitations),
    ("A2", "Potential risks", answers.author),
    ("B1", "Makers of data and tools cited", answers.makers),
    ("B2", "Licences and terms", answers.licences),
    ("B3", "Use as intended", answers.intended_use),
    ("B4", "Names, personal and offensive content", answers.personal_data),
    ("B5", "Documentation: domains and languages", answers.documentation),
    ("B6", "Sizes of data and splits", answers.splits),
    ("C1", "Parameters, compute budget, infrastructure", answers.parameters),
    ("C2", "Setup, hyperparameters and their search", answers.setting),
    ("C3", "Descriptive statistics: what is reported of how many runs", answers.statistics),
    ("C4", "Packages and their versions", answers.packages),
    ("D", "Annotators and participants", answers.people),
    ("E1", "AI assistants", answers.assistants),
)
LISTS = {"NeurIPS paper checklist": NEURIPS, "ACL responsible NLP checklist": ACL}
STYLE = """
section { overflow-x: auto; } td p { margin: 0 0 .4rem; } code { overflow-wrap: anywhere; }
.answer { border: 1px solid #8888; border-radius: .3rem; font-weight: 600; padding: .05rem .45rem; }
.for-the-author { border-color: #b42318; border-style: dashed; }
@media (min-width: 45rem) {
  .list > table > tbody > tr > td:first-child { width: 24%; }
  .answer { white-space: nowrap; }
}
@media (max-width: 45rem) {
  .list > table > thead { display: none; }
  .list > table > tbody > tr > td { border: 0; display: block; padding: .2rem 0; }
  .list > table > tbody > tr { border-top: 1px solid #8886; display: block; padding: .4rem 0; }
}
"""


def checklist_page(project: Project, results: Path) -> str:
    """The page as HTML, from runs.parquet, scorecard.json and the settings; what records cannot answer says so."""
    records = read_records(project, results)
    title = f"Checklist, scale {project.scale.name}"
    lead = (
        "<p>Answered from this scale's records, verdicts and settings, for the author to take over or correct."
        " Questions are in short; the conferences' own texts count.</p>"
    )
    lists = {name: [(item, item[2](records)) for item in items] for name, items in LISTS.items()}
    parts = [f"<h1>{escape(title)}</h1>", lead, _left_open(lists)]
    for name, answered in lists.items():
        rows = [_row(item, answer) for item, answer in answered]
        parts.append(_section(name, table(("Question", "Answer", "What the records say"), rows), "list"))
    parts.append(_section("Settings by origin", counts_table(project.papers)))
    for name, paper in project.papers.items():
        parts.append(_section(f"Reconstructed settings: {name}", reconstructed_table(paper)))
    return page(title, "\n".join(parts), style=STYLE)


def _left_open(lists: dict[str, list[tuple[Item, Answer]]]) -> str:
    """Which items wait for the author."""
    left = (
        f"{escape(name)}: {', '.join(item[0] for item, answer in answered if answer[0] == AUTHOR)}"
        for name, answered in lists.items()
    )
    return f"<p><strong>Left to the author.</strong> {'. '.join(left)}.</p>"


def _row(item: Item, answer: Answer) -> tuple[str, str, str]:
    number, question, _ = item
    word, text = answer
    kind = word.replace(" ", "-")
    return f"<strong>{number}</strong> {escape(question)}", f'<span class="answer {kind}">{word}</span>', text


def _section(head: str, content: str, kind: str = "settings") -> str:
    return f'<section class="{kind}"><h2>{escape(head)}</h2>\n{content}</section>'
