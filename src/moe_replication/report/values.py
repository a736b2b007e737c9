"""The numbers that a paper reports, beside the means of our runs of the same condition, metric and time of training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from moe_replication.config.matrix import Condition, read_paper
from moe_replication.config.overlays import lay_over, read_layer, values
from moe_replication.config.project import Project
from moe_replication.config.recipes import recipe_tree
from moe_replication.report.html import escape
from moe_replication.statistics.collect import read_parquet
from moe_replication.statistics.intervals import mean_interval
from moe_replication.statistics.wording import number

# Half of the ten epochs of a hundred in which paper B reports: further away is another time of training.
LARGEST_SHIFT = 0.05


@dataclass(frozen=True, kw_only=True)
class Mean:
    """Our mean over n seeds with its interval, None at n = 1, and in words when in training."""

    mean: float
    low: float | None
    high: float | None
    n: int
    when: str


@dataclass(frozen=True, kw_only=True)
class Ours:
    """One paper's means at the end of training, from summary.parquet, and its curves."""

    ends: pl.DataFrame
    curves: pl.DataFrame

    @classmethod
    def read(cls, results: Path, paper: str) -> Ours:
        """Of a paper in results/{scale}; BadInput names a faulty table."""
        ends = read_parquet(results / "summary.parquet", ("paper", "condition", "metric"))
        curves = read_parquet(results / "curves.parquet", ("paper", "condition", "epoch"))
        return cls(ends=ends.filter(paper=paper), curves=curves.filter(paper=paper))

    def at_end(self, condition: str, metric: str) -> Mean | None:
        """The mean at the end of training; None where our runs have none."""
        when = "highest in training" if metric.endswith("_peak") else "end of training"
        for row in self.ends.filter(condition=condition, metric=metric).iter_rows(named=True):
            return Mean(mean=row["mean"], low=row["ci_low"], high=row["ci_high"], n=row["n"], when=when)
        return None

    def at(self, condition: str, metric: str, share: float) -> Mean | None:
        """The mean at this share of the horizon; None where no census lies within LARGEST_SHIFT of it."""
        if metric not in self.curves.columns:
            return None
        rows = self.curves.filter(condition=condition).select("epoch", metric).drop_nulls()
        if rows.is_empty():
            return None
        end = rows["epoch"].max()
        nearest = min(rows["epoch"], key=lambda epoch: abs(epoch - share * end))
        if abs(nearest - share * end) > LARGEST_SHIFT * end:
            return None
        found = mean_interval(rows.filter(epoch=nearest)[metric])
        when = f"epoch {nearest:g} of {end:g}"
        return Mean(mean=found.mean, low=found.low, high=found.high, n=found.n, when=when)


def value_rows(
    project: Project, paper: str, item: str | None, claims: Sequence[dict], ours: Ours, reported: pl.DataFrame
) -> list[list[str]]:
    """Cells, as HTML, of the reported values that stand at `item` ("Table 1") or that `claims` speak of.

    A value at an epoch stands beside our census at the same share of the horizon, others beside the end of training.
    Values that our runs have no number for are left out.
    """
    judged = {(condition, entry["metric"]) for entry in claims for condition in entry["conditions"]}
    document = read_paper(project.root, paper)
    rows = []
    for value in reported.filter(pl.col("paper") == paper).iter_rows(named=True):
        condition, metric = project.papers[paper].conditions.get(value["condition"]), _metric(value)
        if condition is None or not (_stands_at(value["place"], item) or (condition.name, metric) in judged):
            continue
        if value["epoch"] is None:
            found = ours.at_end(condition.name, metric)
        else:
            horizon = _papers_epochs(document, condition)
            found = horizon and ours.at(condition.name, metric, value["epoch"] / horizon)
        if found and (cells := _cells(condition, value, found)) not in rows:
            rows.append(cells)
    return rows


def _metric(value: dict) -> str:
    """The metric of our curves that a reported value is of."""
    return value["metric"].removesuffix("_by_epoch")


def _papers_epochs(document: dict, condition: Condition) -> int | None:
    """How many epochs the paper trains a condition for, whatever our scale does; None where it counts tokens."""
    tree = recipe_tree(document, condition.recipe or "paper")
    tree = lay_over(tree, read_layer(document["conditions"][condition.name]["set"], "paper"))
    return values(tree)["training"]["epochs"]


def _stands_at(place: str, item: str | None) -> bool:
    return item is not None and re.search(rf"\b{re.escape(item)}\b", place) is not None


def _cells(condition: Condition, value: dict, ours: Mean) -> list[str]:
    when = [value["dataset"], f"epoch {value['epoch']}" if value["epoch"] is not None else None]
    where = ", ".join(filter(None, when))
    theirs = f"{number(value['value'])}<br><small>{escape(where)}</small>" if where else number(value["value"])
    spread = "" if ours.low is None else f" [{number(ours.low)}, {number(ours.high)}]"
    return [
        f"{escape(condition.title)}<br><small>{escape(condition.name)}</small>",
        escape(_metric(value)),
        theirs,
        escape(value["place"]),
        f"{number(ours.mean)}{escape(spread)}<br><small>{ours.when}</small>",
        str(ours.n),
        escape(condition.config.data.set),
    ]
