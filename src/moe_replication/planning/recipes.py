"""Where two recipes of a paper differ, as a table with the source of either value."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from moe_replication.config.matrix import read_paper
from moe_replication.config.project import Project
from moe_replication.config.recipes import RecipeDifference, recipe_difference
from moe_replication.errors import BadInput


def recipe_differences(project: Project, a: str, b: str) -> list[RecipeDifference]:
    """Settings in which recipes `a` and `b` of the chosen papers differ; BadInput for unknown names."""
    papers = [read_paper(project.root, name) for name in project.papers]
    papers = [paper for paper in papers if "recipes" in paper]
    if not papers:
        raise BadInput(f"--diff: none of papers = {', '.join(project.papers)} has recipes; choose expert-threshold")
    return [row for paper in papers for row in recipe_difference(paper, a, b)]


def difference_table(differences: Iterable[RecipeDifference], a: str, b: str) -> Table:
    """Settings in which two recipes differ, each with its source."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("setting", a, "source", b, "source"):
        table.add_column(name, overflow="fold", no_wrap=name == "setting")
    for row in differences:
        table.add_row(row.key, _plain(row.value_a), row.origin_a, _plain(row.value_b), row.origin_b)
    return table


def _plain(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
