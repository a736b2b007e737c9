"""Conditions against others over paired seeds: tables of intervals, and panels of points."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from matplotlib.axes import Axes

from moe_replication.figures import style
from moe_replication.figures.style import Look
from moe_replication.figures.tables import THRESHOLD, of_paper
from moe_replication.statistics.compare import seed_values
from moe_replication.statistics.intervals import Interval, mean_interval

FINAL = {
    "kind": pl.String,
    "condition": pl.String,
    "baseline": pl.String,
    "title": pl.String,
    "rule": pl.String,
    "seed": pl.Int64,
    "n": pl.Int64,
    "value": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
}


def final_values(runs: pl.DataFrame, conditions: Sequence[str], metric: str = "val_loss") -> pl.DataFrame:
    """One row of kind `run` per seed and one of kind `mean` per condition, in the order given (columns of FINAL)."""
    rows = []
    for condition, title, rule in _present(runs, conditions):
        values = seed_values(runs, THRESHOLD, condition, metric)
        if values:
            label = (condition, None, title, rule)
            rows += [("run", *label, seed, 1, value, None, None) for seed, value in values.items()]
            rows.append(("mean", *label, None, *_estimate(mean_interval(list(values.values())))))
    return pl.DataFrame(rows, schema=FINAL, orient="row")


def final_differences(runs: pl.DataFrame, pairs: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """Final losses: per (condition, baseline) a row of kind `difference`, and a `seed_difference` per shared seed.

    Columns of FINAL.
    """
    names = {name: (name, title, rule) for name, title, rule in _present(runs, [pair[0] for pair in pairs])}
    rows = []
    for condition, baseline in pairs:
        first, second = (seed_values(runs, THRESHOLD, name, "val_loss") for name in (condition, baseline))
        found = {seed: value - second[seed] for seed, value in first.items() if seed in second}
        if found:
            rows += _paired("difference", found, names[condition], baseline)
    return pl.DataFrame(rows, schema=FINAL, orient="row")


def final_interactions(runs: pl.DataFrame, quadruples: Sequence[tuple[str, str, str, str]]) -> pl.DataFrame:
    """Final losses: per (a, b, c, d) a row of kind `interaction`, one of kind `seed_interaction` per shared seed.

    The value is (a - b) - (c - d); `condition` and `baseline` are a and b (columns of FINAL).
    """
    names = {name: (name, title, rule) for name, title, rule in _present(runs, [four[0] for four in quadruples])}
    rows = []
    for four in quadruples:
        a, b, c, d = (seed_values(runs, THRESHOLD, name, "val_loss") for name in four)
        shared = [seed for seed in a if seed in b and seed in c and seed in d]
        if shared:
            found = {seed: (a[seed] - b[seed]) - (c[seed] - d[seed]) for seed in shared}
            rows += _paired("interaction", found, names[four[0]], four[1])
    return pl.DataFrame(rows, schema=FINAL, orient="row")


def _paired(kind: str, values: dict[int, float], names: tuple[str, str, str], baseline: str) -> list[tuple]:
    condition, title, rule = names
    label = (condition, baseline, title, rule)
    seeds = [(f"seed_{kind}", *label, seed, 1, value, None, None) for seed, value in values.items()]
    return [(kind, *label, None, *_estimate(mean_interval(list(values.values())))), *seeds]


def pair_points(ax: Axes, position: float, data: pl.DataFrame, row: dict, look: Look, *, horizontal: bool) -> None:
    """Every seed, mean and interval of the pair in `row`, of kind `difference` or `interaction`, out of `data`."""
    same = (pl.col("condition") == row["condition"]) & (pl.col("baseline") == row["baseline"])
    values = data.filter(same & (pl.col("kind") == f"seed_{row['kind']}"))["value"].to_list()
    style.seed_points(ax, position, values, look, horizontal=horizontal, jitter=0.05)


def interval(row: dict) -> Interval:
    """The interval of a row of kind `mean`, `difference` or `interaction`."""
    return Interval(n=row["n"], mean=row["value"], sd=None, low=row["ci_low"], high=row["ci_high"])


def value_panel(ax: Axes, data: pl.DataFrame, reported: dict[str, float]) -> None:
    """Every seed, mean and interval per condition, the first condition on top; the paper's values as open markers."""
    conditions = data["condition"].unique(maintain_order=True).to_list()
    labels = []
    for position, condition in enumerate(reversed(conditions)):
        rows = data.filter((pl.col("condition") == condition) & (pl.col("kind") == "run"))
        look = style.condition_look(condition, rows["rule"][0])
        style.seed_points(ax, position, rows["value"].to_list(), look, horizontal=True)
        if condition in reported:
            style.paper_point(ax, reported[condition], position, look.marker)
        labels.append(style.condition_label(rows["title"][0], [rows.height]))
    _named_rows(ax, labels)
    ax.set_xlabel("final validation loss (nats / token)")


def difference_panel(ax: Axes, data: pl.DataFrame, labels: Sequence[str], reported: Sequence[float | None]) -> None:
    """Every pair of `data` in a line, the first on top; `reported` are the paper's differences of the same pairs."""
    pairs = data.filter(pl.col("kind") == "difference")
    for number, (row, value) in enumerate(zip(pairs.iter_rows(named=True), reported, strict=True)):
        look = style.condition_look(row["condition"], row["rule"])
        pair_points(ax, pairs.height - 1 - number, data, row, look, horizontal=True)
        if value is not None:
            style.paper_point(ax, value, pairs.height - 1 - number, look.marker)
    _named_rows(ax, list(reversed(labels)))
    ax.axvline(0.0, color=style.BLACK, linewidth=0.8, linestyle=":")


def _named_rows(ax: Axes, labels: Sequence[str]) -> None:
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(-0.6, len(labels) - 0.4)
    ax.grid(False, axis="y")
    ax.locator_params(axis="x", nbins=5)


def _present(runs: pl.DataFrame, conditions: Sequence[str]) -> list[tuple[str, str, str]]:
    rows = of_paper(runs, THRESHOLD, ("condition", "title", "rule")).unique("condition", keep="first")
    names = {name: (name, title or name, rule) for name, title, rule in rows.iter_rows()}
    return [names[name] for name in dict.fromkeys(conditions) if name in names]


def _estimate(estimate: Interval) -> tuple[int, float, float | None, float | None]:
    return estimate.n, estimate.mean, estimate.low, estimate.high
