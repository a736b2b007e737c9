"""The numbers that a paper reports, beside the means of our runs of the same condition and metric."""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from moe_replication.config.project import Project
from moe_replication.report.html import escape
from moe_replication.statistics.wording import number


def value_rows(
    project: Project,
    paper: str,
    item: str | None,
    claims: Sequence[dict],
    summary: pl.DataFrame,
    reported: pl.DataFrame,
) -> list[list[str]]:
    """Cells, as HTML, of the reported values that stand at `item` ("Table 1") or that `claims` speak of.

    Values whose condition or metric our summary does not have are left out.
    """
    ours = {
        (row["condition"], row["metric"]): row for row in summary.filter(pl.col("paper") == paper).iter_rows(named=True)
    }
    judged = {(condition, entry["metric"]) for entry in claims for condition in entry["conditions"]}
    rows = []
    for value in reported.filter(pl.col("paper") == paper).iter_rows(named=True):
        key = (value["condition"], value["metric"])
        if key in ours and (_stands_at(value["place"], item) or key in judged):
            cells = _cells(project, paper, value, ours[key])
            if cells not in rows:
                rows.append(cells)
    return rows


def _stands_at(place: str, item: str | None) -> bool:
    return item is not None and re.search(rf"\b{re.escape(item)}\b", place) is not None


def _cells(project: Project, paper: str, value: dict, ours: dict) -> list[str]:
    condition = project.papers[paper].conditions[value["condition"]]
    when = [value["dataset"], f"epoch {value['epoch']}" if value["epoch"] is not None else None]
    where = ", ".join(filter(None, when))
    theirs = f"{number(value['value'])}<br><small>{escape(where)}</small>" if where else number(value["value"])
    spread = "" if ours["ci_low"] is None else f" [{number(ours['ci_low'])}, {number(ours['ci_high'])}]"
    return [
        f"{escape(condition.title)}<br><small>{escape(condition.name)}</small>",
        escape(value["metric"]),
        theirs,
        escape(value["place"]),
        f"{number(ours['mean'])}{escape(spread)}",
        str(ours["n"]),
        escape(condition.config.data.set),
    ]
