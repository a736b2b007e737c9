"""Paper B: where in the plane of T H and O + B experts die."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.lines import Line2D

from moe_replication.figures import style
from moe_replication.figures.ecology_runs import ecology_runs, set_look, set_order, set_title, share_text
from moe_replication.figures.slots import LogSlots, log_slots
from moe_replication.figures.style import FigureInfo
from moe_replication.statistics.studies import FACTORS, without_cross

OUT = (
    "dataset", "data_used", *FACTORS, "numerator", "denominator", "control_number", "conditions", "n",
    "runs_with_dead", "dead_share",
)  # fmt: skip
# White below the smallest share, so that any colour means that some run has a dead expert.
COLOURS = LinearSegmentedColormap.from_list("dead", ["#FBD9BD", "#E07B39", "#5C2600"], N=256).with_extremes(
    under="white"
)
RING = 0.022  # radius of the ring of markers that share a point, as a share of the axes


def phase_data(runs: pl.DataFrame) -> pl.DataFrame:
    """Columns of OUT, one row a data set and (T, H, O, B): `runs_with_dead` of its n runs have a dead expert.

    `dead_share` is the mean over runs of dead experts / experts; `numerator` is T H, `denominator` O + B. What else
    differs (orthogonality, warm-up, tiers) is pooled.
    """
    found = without_cross(ecology_runs(runs, (*FACTORS, "control_number", "experts", "dead_experts")))
    found = found.drop_nulls([*FACTORS, "dead_experts"])
    keys = ("dataset", *FACTORS)
    groups = found.group_by(keys, maintain_order=True).agg(
        pl.col("data_used").unique().sort().str.join(" "),
        pl.col("control_number").first(),
        conditions=pl.col("condition").n_unique(),
        n=pl.len(),
        runs_with_dead=(pl.col("dead_experts") > 0).sum(),
        dead_share=(pl.col("dead_experts") / pl.col("experts")).mean(),
    )
    temperature, entropy, oracle, balance = (pl.col(name) for name in FACTORS)
    plane = groups.with_columns(numerator=(temperature * entropy).round(6), denominator=(oracle + balance).round(6))
    return plane.select(OUT).sort(keys)


def places(data: pl.DataFrame, across: LogSlots, up: LogSlots) -> tuple[np.ndarray, np.ndarray]:
    """Where the markers lie: configurations with equal T H and O + B on a small ring around their point."""
    found = np.empty((data.height, 2))
    points = data.with_row_index("row").group_by("numerator", "denominator", maintain_order=True)
    for (numerator, denominator), group in points:
        x, y = across.place(numerator), up.place(denominator)
        radius = 0.0 if group.height == 1 else RING
        angles = 2 * np.pi * np.arange(group.height) / group.height
        for row, angle in zip(group["row"], angles, strict=True):
            found[row] = across.aside(x, radius * np.cos(angle)), up.aside(y, radius * np.sin(angle))
    return found[:, 0], found[:, 1]


def panel(
    ax: Axes, data: pl.DataFrame, axes_of: tuple[LogSlots, LogSlots], threshold: float, norm: Normalize
) -> PathCollection:
    """One data set: a marker a configuration, and the line of the rule, to the right of which nothing should die."""
    across, up = axes_of
    look = set_look(data["dataset"][0])
    options = {"marker": look.marker, "cmap": COLOURS, "norm": norm, "edgecolors": style.BLACK}
    dots = ax.scatter(*places(data, across, up), c=data["dead_share"], s=22, linewidths=0.6, zorder=3, **options)
    ends = np.array([max(up.start, across.start / threshold), up.limits[1]])
    ax.plot(threshold * ends, ends, color=style.BLACK, linestyle=":", linewidth=1, zorder=2)
    across.dress(ax, "x")
    up.dress(ax, "y")
    return dots


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-phase-map: share of dead experts over T H and O + B, one panel a data set."""
    with style.styled():
        data = phase_data(tables["runs"])
        if data.is_empty():
            return style.save_empty(f"no runs of paper B at scale {info.scale}", OUT, out_base)
        sets = set_order(data["dataset"])
        if len(sets) == 1:  # a column is too narrow for legend and colour bar
            figure, axes = style.panels(width=0.8 * style.DOUBLE, height=3.6)
        else:
            figure, axes = style.grid(len(sets), columns=2, panel_height=2.6, header=0.5)
        largest = max(data["dead_share"].max(), 0.01)
        norm = Normalize(vmin=largest / 256, vmax=largest)
        axes_of = (log_slots(data["numerator"]), log_slots(data["denominator"]))
        for ax, name in zip(axes.flat, sets, strict=False):
            here = data.filter(pl.col("dataset") == name)
            dots = panel(ax, here, axes_of, info.analysis.rule_threshold, norm)
            count = f"{here.height} configuration{'s' if here.height > 1 else ''}"
            used = here["data_used"].str.split(" ").explode()
            text = f"{set_title(name, used)}\n{count}, {style.seeds_text(here['n'].to_list())} runs each"
            ax.set_title(text, loc="left", fontsize=7.5)
        share = share_text(info.analysis.dead_share)
        figure.colorbar(dots, ax=axes, pad=0.01, label=f"mean share of dead experts (top-1 < {share})")
        figure.supxlabel("T H (temperature x weight of the entropy)", fontsize=8)
        figure.supylabel("O + B (weights of oracle and balance)", fontsize=8)
        rule = f"E = T H / (O + B) = {info.analysis.rule_threshold:g}, E rises to the right"
        claim = Line2D([], [], linestyle=":", color=style.BLACK, linewidth=1, label=rule)
        alive = style.legend_dot("white: no dead expert in any run", open_marker=True)
        style.legend_on_top(figure, [claim, alive])
        style.save(figure, data, out_base)
