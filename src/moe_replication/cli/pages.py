"""Command that writes the pages of the report from a scale's tables, verdicts and figures."""

from __future__ import annotations

import typer

from moe_replication.cli.common import Overrides, Scale, read_project, results_folder, say
from moe_replication.errors import BadInput

commands = typer.Typer()

DISCREPANCIES = "docs/discrepancies.md"


@commands.command()
def pages(scale: Scale = None, overrides: Overrides = None) -> None:
    """Write results/SCALE/pages: results by paper, discrepancies, environment and cost, checklist.

    Needs tables, scorecard and figures, neither torch nor DeepSpeed.
    Example: moe-replication pages --scale demo
    """
    from moe_replication.files import write_text
    from moe_replication.report.card import read_card
    from moe_replication.report.checklist import checklist_page
    from moe_replication.report.discrepancies import discrepancies_page
    from moe_replication.report.environment import environment_page
    from moe_replication.report.opening import opening
    from moe_replication.report.paper_results import results_page
    from moe_replication.report.sections import letters, page_file

    project = read_project(scale, overrides)
    results = results_folder(project)
    try:
        discrepancies = (project.root / DISCREPANCIES).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadInput(f"{DISCREPANCIES}: no such file; take it from the repository") from error
    contents = {
        f"results-paper-{letter}": results_page(project, paper, results) for paper, letter in letters(project).items()
    }
    contents |= {
        "discrepancies": discrepancies_page(discrepancies),
        "environment": environment_page(project, results),
        "checklist": checklist_page(project, results),
        "opening": opening(project, read_card(results), results),
    }
    for name, text in contents.items():
        write_text(page_file(results, name), text)
    say(f"wrote {len(contents)} pages into {page_file(results, 'x').parent}")
