"""The sections of report.html in reading order, and the pages that fill them."""

from __future__ import annotations

from pathlib import Path

from moe_replication.config.matrix import read_paper
from moe_replication.config.project import Project

FIXED_PAGES = ("discrepancies", "environment", "checklist")
# Code that decides the scorecard and the other pages: the workflow tracks it, `why` names it.
SCORECARD_CODE = (
    "statistics",
    "report/html.py",
    "report/verdicts.py",
    *(f"report/scorecard_{part}.py" for part in ("look", "page", "text", "words")),
)
PAGES_CODE = (
    "report",
    "planning",
    "config/data_sets.py",
    "figures/alt_text.py",
    "figures/paper_values.py",
    "statistics/intervals.py",
    "statistics/wording.py",
)
OPENING = "opening"  # no page of its own: a part of the report's first view


def letters(project: Project) -> dict[str, str]:
    """Paper -> its letter in file names and headings, of the papers that run."""
    return {name: read_paper(project.root, name)["letter"].lower() for name in project.papers}


def sections(letters_of_papers: dict[str, str]) -> dict[str, str]:
    """Section -> the report's category; numbered, because Snakemake sorts categories by name."""
    titles = {
        "scorecard": "Scorecard",
        **{f"results-paper-{letter}": f"Results, paper {letter.upper()}" for letter in letters_of_papers.values()},
        "figures": "Figures",
        "discrepancies": "Discrepancies",
        "environment": "Environment and cost",
        "checklist": "Checklist",
        "tables": "Tables",
    }
    return {key: f"{number} {title}" for number, (key, title) in enumerate(titles.items(), start=1)}


def page_names(letters_of_papers: dict[str, str]) -> tuple[str, ...]:
    """Every page that the command `pages` writes, the opening last."""
    return (*(f"results-paper-{letter}" for letter in letters_of_papers.values()), *FIXED_PAGES, OPENING)


def page_file(results: Path | str, name: str) -> Path:
    """Where a page lies below results/{scale}."""
    return Path(results) / "pages" / f"{name}.html"
