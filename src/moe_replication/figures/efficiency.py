"""Paper A, Figure 1: the bar that says with how many fewer tokens ET reaches token choice's final loss."""

from __future__ import annotations

import polars as pl
from matplotlib.axes import Axes

from moe_replication.figures import style
from moe_replication.figures.paper_values import of_metric
from moe_replication.statistics.token_efficiency import Efficiency, ratios_by_seed, token_efficiency

# Model size -> (condition that should need fewer tokens, conditions whose loss it is to reach: the first that ran).
COMPARED = {"d12": ("et", ("tc-aux", "tc")), "d20": ("d20-et", ("d20-tc-aux",))}
NAMES = {"et": "ET", "tc-aux": "TC aux", "tc": "TC"}
ROW = {
    "size": pl.String,
    "condition": pl.String,
    "title": pl.String,
    "series": pl.String,
    "tokens": pl.Int64,
    "n": pl.Int64,
    "mean": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
}


def compared(curves: pl.DataFrame, size: str) -> tuple[str, str] | None:
    """(reference, baseline) of a model size among the conditions of `curves`; None when one of them did not run."""
    reference, baselines = COMPARED[size]
    present = set(curves["condition"])
    found = [name for name in baselines if name in present]
    return (reference, found[0]) if reference in present and found else None


def efficiency_rows(curves: pl.DataFrame, sizes: list[str]) -> pl.DataFrame:
    """One row of series `token_efficiency` per model size: mean and interval hold the ratio, title the note."""
    rows = []
    for size in sizes:
        if pair := compared(curves, size):
            found = token_efficiency(curves, *pair)
            label = (size, pair[0], f"tokens of {pair[1]} over those of {pair[0]} at equal loss; {found.note}")
            rows.append((*label, "token_efficiency", None, found.n, found.ratio, found.low, found.high))
    return pl.DataFrame(rows, schema=ROW, orient="row")


def efficiency_bar(ax: Axes, curves: pl.DataFrame, size: str, values: pl.DataFrame) -> None:
    """A bar at the baseline's final loss, from the tokens that the reference needed to those that were spent."""
    pair = compared(curves, size)
    if pair is None:
        return
    seeds = ratios_by_seed(curves, *pair).drop_nulls("ratio")
    found = token_efficiency(curves, *pair)
    if found.ratio is not None:
        loss, spent = seeds["loss"].mean(), seeds["baseline_tokens"].mean()
        arrow = {"arrowstyle": "<->", "color": style.BLACK, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", (spent / found.ratio, loss), (spent, loss), arrowprops=arrow, zorder=6)
        for ratio in of_metric(values, "token_efficiency")["value"]:
            style.paper_point(ax, spent / ratio, loss, "o")
    ax.text(0.02, 0.02, _sentence(found, pair, values), transform=ax.transAxes, fontsize=6.2, va="bottom", zorder=7)


def _sentence(found: Efficiency, pair: tuple[str, str], values: pl.DataFrame) -> str:
    reference, baseline = (NAMES[name.removeprefix("d20-")] for name in pair)
    lines = [f"{reference} to {baseline}'s loss:"]
    if found.ratio is None:
        lines.append(f"reached in {found.n - found.censored} of {found.n} seeds")
    else:
        lines.append(f"{found.ratio:.2f}x fewer tokens")
        ends = "" if found.low is None else f"[{found.low:.2f}, {found.high:.2f}], "
        lines.append(f"{ends}n = {found.n}")
    lines += [f"(paper, d20: {value:g}x)" for value in of_metric(values, "token_efficiency")["value"]]
    return "\n".join(lines)
