"""Paper B: do runs at equal E agree, however T, H, O and B make it up?"""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from moe_replication.config.analysis import AnalysisSettings
from moe_replication.figures import style
from moe_replication.figures.ecology_runs import ecology_runs, set_order, set_title
from moe_replication.figures.style import FigureInfo, Look
from moe_replication.figures.tables import ECOLOGY
from moe_replication.statistics.intervals import mean_interval
from moe_replication.statistics.iso_e import iso_runs, level_agreement
from moe_replication.statistics.studies import FACTORS

METRICS = {"dead_experts": "dead experts at the end", "usage_entropy": "usage entropy (1 is uniform)"}
RUNS = ("control_number", *FACTORS, *METRICS)
OUT = (
    "kind",
    "dataset",
    "data_used",
    "level",
    "metric",
    "condition",
    *FACTORS,
    "seed",
    "n",
    "tuples",
    "value",
    "ci_low",
    "ci_high",
    "eta_squared",
    "eta_squared_chance",
    "p",
    "place",
)
COLOURS = (style.VERMILION, style.BLUE, style.GREEN, style.PURPLE, style.ORANGE, style.SKY)


def iso_data(runs: pl.DataFrame, values: pl.DataFrame, settings: AnalysisSettings) -> pl.DataFrame:
    """Rows of kind `run`, `tuple` (mean and t interval of its runs), `level` (of its tuples) and `paper`."""
    chosen = iso_runs(ecology_runs(runs, RUNS))
    parts = []
    for metric in METRICS:
        own = chosen.drop_nulls(metric).with_columns(metric=pl.lit(metric), value=pl.col(metric))
        parts.append(own.with_columns(kind=pl.lit("run")))
        parts.append(_tuples(own))
        levels = level_agreement(chosen, metric, settings)
        parts.append(levels.rename({"mean": "value"}).with_columns(kind=pl.lit("level")))
        reported = values.filter((pl.col("paper") == ECOLOGY) & (pl.col("metric") == metric))
        marked = reported.select(
            "metric", "value", "place", "dataset", level=pl.col("control_number").round(3), kind=pl.lit("paper")
        )
        parts.append(marked.join(levels, on=["dataset", "level"], how="semi"))
    order = ("dataset", "level", "metric", "kind", "balance_weight", "oracle_weight", "condition", "seed")
    return pl.concat(parts, how="diagonal_relaxed").select(OUT).sort(order)


def _tuples(runs: pl.DataFrame) -> pl.DataFrame:
    """Mean and t interval of the runs of each tuple; they share all but seed and value."""
    rows = []
    for _, here in runs.group_by("dataset", "condition", maintain_order=True):
        estimate = mean_interval(here["value"].to_list())
        first = here.select("dataset", "data_used", "level", "metric", "condition", *FACTORS).row(0, named=True)
        found = {"value": estimate.mean, "ci_low": estimate.low, "ci_high": estimate.high, "n": estimate.n}
        rows.append(first | found | {"kind": "tuple"})
    return pl.DataFrame(rows, infer_schema_length=None)


def level_panel(ax: Axes, data: pl.DataFrame, colour: str) -> None:
    """One level and metric: the tuples side by side, the mean of all with its band, the paper's value dotted."""
    look = Look(colour=colour, marker="o")
    level = data.row(by_predicate=pl.col("kind") == "level", named=True)
    ax.axhline(level["value"], color=colour, linewidth=0.8, alpha=0.7, zorder=1)
    if level["ci_low"] is not None:
        ax.axhspan(level["ci_low"], level["ci_high"], color=colour, alpha=0.15, linewidth=0, zorder=0)
    tuples = data.filter(pl.col("kind") == "tuple").sort("balance_weight", "oracle_weight", "condition")
    for place, name in enumerate(tuples["condition"]):
        runs = data.filter((pl.col("kind") == "run") & (pl.col("condition") == name))
        style.seed_points(ax, place, runs["value"].to_list(), look, jitter=0.15)
    for value in data.filter(pl.col("kind") == "paper")["value"].unique():
        style.paper_line(ax, value, "paper")
    ax.set_xticks(range(tuples.height), [_numbers(row) for row in tuples.select(FACTORS).iter_rows()])
    ax.tick_params(axis="x", rotation=90, labelsize=6.5)
    ax.set_xlim(-0.6, tuples.height - 0.4)
    ax.grid(False, axis="x")
    ax.set_title(_agreement(level), loc="left", fontsize=6.5)


def _numbers(factors: tuple[float, ...]) -> str:
    """(2.0, 0.15, 0.15, 0.4) as `2, .15, .15, .4`."""
    return ", ".join(f"{value:.3g}".removeprefix("0") or "0" for value in factors)


def _agreement(level: dict) -> str:
    head = f"E = {level['level']:g}: {level['tuples']} tuple{'s' if level['tuples'] > 1 else ''}, n = {level['n']}"
    if level["p"] is None:
        return f"{head}\ntoo few runs to compare tuples"
    if level["eta_squared"] is None:
        return f"{head}\nall runs equal, p = 1"
    share, chance = level["eta_squared"], level["eta_squared_chance"]
    return f"{head}\nη² = {share:.2f} (chance {chance:.2f}), p = {level['p']:.2g}"


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-iso-e: dead experts and usage entropy of all tuples of each level, two rows of panels per data set."""
    with style.styled():
        data = iso_data(tables["runs"], info.paper_values, info.analysis)
        if data.is_empty():
            return style.save_empty(f"no runs of row ISO of paper B at scale {info.scale}", OUT, out_base)
        sets, levels = set_order(data["dataset"]), data["level"].unique().sort().to_list()
        rows = [(name, metric) for name in sets for metric in METRICS]
        size = {"width": style.DOUBLE, "height": 0.5 + 2.3 * len(rows)}
        figure, axes = style.panels(**size, rows=len(rows), columns=len(levels), sharey="row")
        for line, (name, metric) in zip(axes, rows, strict=True):
            for ax, level, colour in zip(line, levels, COLOURS, strict=False):
                here = data.filter(
                    (pl.col("dataset") == name) & (pl.col("metric") == metric) & (pl.col("level") == level)
                )
                if here.filter(pl.col("kind") == "level").is_empty():
                    style.say(ax, f"no runs at E = {level:g}")
                else:
                    level_panel(ax, here, colour)
            used = data.filter((pl.col("dataset") == name) & (pl.col("kind") == "run"))["data_used"]
            line[0].set_ylabel(f"{set_title(name, used)}\n{METRICS[metric]}")
            _possible_range(line[0], metric, data.filter(pl.col("metric") == metric))
        figure.supxlabel("T, H, O, B of each tuple, by rising B", fontsize=8)
        _legend(figure)
        style.save(figure, data, out_base)


def _possible_range(ax: Axes, metric: str, data: pl.DataFrame) -> None:
    """Ends the axis where the metric does: an interval's ends may lie beyond."""
    if metric == "dead_experts":
        top = max(data["value"].max(), data["ci_high"].max() or 0, 1) * 1.05
        ax.set_ylim(-0.05 * top, top)
    else:
        ax.set_ylim(top=1.02)


def _legend(figure: Figure) -> None:
    mean = Line2D([], [], marker="_", linestyle="none", color=style.GREY, label="mean of a tuple, 95 % interval")
    band = Patch(color=style.GREY, alpha=0.3, label="mean over tuples, 95 % interval")
    paper = style.legend_paper_line("paper's value")
    style.legend_on_top(figure, [style.legend_dot("one run"), mean, band, paper])
