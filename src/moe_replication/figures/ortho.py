"""Paper B: is the orthogonality loss toxic? Dead experts, and accuracy or perplexity, against its weight."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from moe_replication.figures import style
from moe_replication.figures.ecology_runs import (
    ecology_runs,
    reported_dead,
    set_look,
    set_title,
    share_text,
    with_means,
)
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import ECOLOGY
from moe_replication.statistics.studies import of_row

# Row of the paper's matrix, a data set each -> what is measured beside dead experts.
SWEEPS = {"V2": "test_accuracy", "V4": "test_accuracy", "L2": "perplexity"}
LABELS = {"test_accuracy": "test accuracy (%)", "perplexity": "validation perplexity"}
UNITS = {"dead_experts": 1, "test_accuracy": 100, "perplexity": 1}
RUN = ("sweep", "dataset", "data_used", "condition", "ortho_weight")
OUT = ("source", *RUN, "seed", "measure", "value", "n", "ci_low", "ci_high", "place")


def ortho_data(runs: pl.DataFrame, info: FigureInfo) -> pl.DataFrame:
    """Every run of the sweeps, the means with 95 % t intervals, and the paper's values at the weights that were run.

    Its perplexities are those of its own text and tokenizer; they join only at scale `paper`.
    """
    runs = ecology_runs(runs, ("ortho_weight", *UNITS))
    parts = []
    for sweep, measure in SWEEPS.items():
        own = of_row(runs, sweep).with_columns(sweep=pl.lit(sweep))
        rows = with_means(own, RUN, ["dead_experts", measure]).sort("measure", "ortho_weight", "source", "seed")
        parts += [rows, paper_rows(own.select(RUN).unique(maintain_order=True), sweep, info)]
    return pl.concat(parts, how="diagonal_relaxed").select(OUT)


def paper_rows(conditions: pl.DataFrame, sweep: str, info: FigureInfo) -> pl.DataFrame:
    """The paper's count of dead experts for the whole sweep at each of `conditions`, and its perplexities."""
    counts = reported_dead(info.paper_values).filter(pl.col("place").str.contains(rf"\b{sweep}\b"))
    counts = conditions.join(counts.select("value", "place", measure=pl.lit("dead_experts")), how="cross")
    own = (pl.col("paper") == ECOLOGY) & (pl.col("metric") == "perplexity") & pl.lit(info.scale == "paper")
    found = info.paper_values.filter(own).select("condition", "value", "place", measure="metric")
    texts = conditions.join(found, on="condition", maintain_order="left")
    return pl.concat([counts, texts], how="diagonal").with_columns(source=pl.lit("paper"))


def ortho_panel(ax: Axes, data: pl.DataFrame, measure: str, look: style.Look) -> None:
    """Every run, means and intervals of one measure of one sweep, a line through the means, the paper's values.

    Weights are equally spaced.
    """
    rows = data.filter(pl.col("measure") == measure).with_columns(pl.col("value") * UNITS[measure])
    own = rows.filter(pl.col("source") == "run")
    weights = own["ortho_weight"].unique().sort().to_list()
    for slot, weight in enumerate(weights):
        here = rows.filter(pl.col("ortho_weight") == weight)
        style.seed_points(ax, slot, here.filter(pl.col("source") == "run")["value"].to_list(), look, jitter=0.08)
        for value in here.filter(pl.col("source") == "paper")["value"]:
            style.paper_point(ax, slot, value, look.marker)
    means = rows.filter(pl.col("source") == "mean").sort("ortho_weight")
    ax.plot(range(len(weights)), means["value"], color=look.colour, linewidth=0.9, alpha=0.6, zorder=2)
    if not weights:
        style.say(ax, f"{LABELS.get(measure, 'census')} was not recorded")
    ax.set_xticks(range(len(weights)), [f"{weight:g}" for weight in weights])
    ax.set_xlim(-0.5, max(len(weights), 1) - 0.5)


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-ortho: dead experts over accuracy or perplexity against the orthogonality weight, one column a data set."""
    with style.styled():
        data = ortho_data(tables["runs"], info)
        sweeps = [sweep for sweep in SWEEPS if sweep in data["sweep"]]
        if not sweeps:
            return style.save_empty(f"no orthogonality sweep of paper B at scale {info.scale}", OUT, out_base)
        columns = len(sweeps)
        width = style.COLUMN if columns == 1 else style.DOUBLE
        figure, axes = style.panels(width=width, height=4.2, rows=2, columns=columns, sharex="col")
        for sweep, (top, bottom) in zip(sweeps, axes.T, strict=True):
            rows = data.filter(pl.col("sweep") == sweep)
            look, measure = set_look(rows["dataset"][0]), SWEEPS[sweep]
            ortho_panel(top, rows, "dead_experts", look)
            ortho_panel(bottom, rows, measure, look)
            top.set_title(_title(rows), loc="left", fontsize=7.5)
            bottom.set_ylabel(LABELS[measure])
            bottom.ticklabel_format(axis="y", useOffset=False)
        _same_counts(axes[0])
        axes[0, 0].set_ylabel(f"dead experts\n(usage < {share_text(info.analysis.dead_share)})")
        figure.supxlabel("weight of the orthogonality loss, values equally spaced", fontsize=8)
        handles = [style.legend_dot("one run"), style.legend_mean()]
        if "paper" in data["source"]:
            handles.append(style.legend_dot("paper's value", open_marker=True))
        style.legend_on_top(figure, handles)
        style.save(figure, data, out_base)


def _title(rows: pl.DataFrame) -> str:
    runs = rows.filter((pl.col("source") == "run") & (pl.col("measure") == "dead_experts"))
    counts = runs.group_by("condition", maintain_order=True).len()["len"].to_list()
    return f"{set_title(rows['dataset'][0], rows['data_used'])}\n{style.seeds_text(counts)} a weight"


def _same_counts(row) -> None:
    """One scale from just below zero for the counts of all data sets."""
    top = max([ax.get_ylim()[1] for ax in row] + [2.0])
    for ax in row:
        ax.set_ylim(-0.05 * top, top)
        ax.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
