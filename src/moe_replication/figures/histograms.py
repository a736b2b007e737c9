"""Paper A: distributions of router logits and gates by layer, and where the cut-offs lie in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import blended_transform_factory

from moe_replication.figures import style
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import THRESHOLD, of_paper

NAMES = ("condition", "seed", "title", "rule")
COUNTS = (*NAMES, "quantity", "layer", "low", "high", "count")
CUTOFFS = (*NAMES, "layer", "expert", "cutoff")
OUT = ("kind", *NAMES, "quantity", "layer", "low", "high", "density", "expert", "cutoff")
CONDITIONS = ("ec-sequence", "ec-batch", "et")
# Quantity -> what one panel's axes hold.
QUANTITIES = {
    "logit": ("router logit, every token and expert", "density per\nunit of logit"),
    "gate": ("gate of the chosen experts", "density per\nunit of gate"),
}
COLUMNS = 4


def histogram_data(histograms: pl.DataFrame, cutoffs: pl.DataFrame) -> pl.DataFrame:
    """Rows of kind `bin` (density: share of the layer's counts per unit of the quantity) and `cutoff`.

    A logit is counted for every token and expert, a gate for the experts that a token goes to. A cut-off is a row of
    quantity `logit`, and one of quantity `gate` at its sigmoid.
    """
    rows = of_paper(histograms, THRESHOLD, COUNTS)
    if rows.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(OUT, pl.String))
    rows = rows.filter(pl.col("condition").is_in(CONDITIONS))
    total = pl.col("count").sum().over("condition", "seed", "quantity", "layer")
    bins = rows.with_columns(kind=pl.lit("bin"), density=pl.col("count") / total / (pl.col("high") - pl.col("low")))
    marks = of_paper(cutoffs, THRESHOLD, CUTOFFS).filter(pl.col("condition").is_in(CONDITIONS)).drop_nulls("cutoff")
    marks = marks.with_columns(kind=pl.lit("cutoff"), quantity=pl.lit("logit"))
    gates = marks.with_columns(quantity=pl.lit("gate"), cutoff=1 / (1 + (-pl.col("cutoff")).exp()))
    both = pl.concat([bins, marks, gates], how="diagonal_relaxed")
    both = both.with_columns(pl.lit(None, pl.Float64).alias(name) for name in OUT if name not in both.columns)
    return both.select(OUT).sort("kind", "quantity", "condition", "seed", "layer", "low", "expert", nulls_last=True)


def outline(rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Corners (x, y) of one histogram's steps; bins that were left out because they are empty lie at zero."""
    rows = rows.sort("low")
    low, high, density = (rows[name].to_numpy() for name in ("low", "high", "density"))
    x, y = [low[0]], [0.0]
    for number in range(len(low)):
        if number and low[number] - high[number - 1] > 0.5 * (high[number] - low[number]):
            x += [high[number - 1], low[number]]
            y += [0.0, 0.0]
        x += [low[number], high[number]]
        y += [density[number], density[number]]
    return np.array([*x, high[-1]]), np.array([*y, 0.0])


def layer_panel(ax: Axes, data: pl.DataFrame, order: list[str]) -> None:
    """Outlines of every run in one layer; at the top a row of ticks per condition, one tick a cut-off."""
    under = blended_transform_factory(ax.transData, ax.transAxes)
    for number, condition in enumerate(order):
        rows = data.filter(pl.col("condition") == condition)
        if rows.is_empty():
            continue
        look = style.condition_look(condition, rows["rule"][0])
        for (_, kind), part in rows.group_by("seed", "kind", maintain_order=True):
            if kind == "bin":
                ax.plot(*outline(part), look.line, color=look.colour, linewidth=0.8, alpha=0.8)
            else:
                height = np.full(part.height, 0.955 - 0.065 * number)
                ax.plot(part["cutoff"], height, "|", color=look.colour, markersize=4, alpha=0.6, transform=under)


def logit_window(data: pl.DataFrame) -> tuple[float, float]:
    """Range of logits that holds all but 0.1 % of the mass on either side of every histogram, and every cut-off."""
    bins = data.filter(pl.col("kind") == "bin").sort("low")
    mass = pl.col("density") * (pl.col("high") - pl.col("low"))
    run = ("condition", "seed", "layer")
    below = bins.with_columns(below=mass.cum_sum().over(run))
    inside = below.filter((pl.col("below") >= 0.001) & (pl.col("below") - mass <= 0.999))
    low, high = inside["low"].min(), inside["high"].max()
    marks = data["cutoff"].cast(pl.Float64).drop_nulls()
    return (low, high) if marks.is_empty() else (min(low, marks.min()), max(high, marks.max()))


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig18-logit-histograms: router logits, and gates below them, by layer under EC and ET, with every cut-off."""
    with style.styled():
        data = histogram_data(tables["probe-histograms"], tables["probe-cutoffs"])
        bins = data if data.is_empty() else data.filter(pl.col("kind") == "bin")
        if bins.is_empty():
            return style.save_empty(f"no probes of EC or ET at scale {info.scale}", OUT, out_base)
        order = [name for name in CONDITIONS if name in bins["condition"].unique()]
        layers = bins["layer"].unique().sort().to_list()
        columns = min(COLUMNS, len(layers))
        rows = -(-len(layers) // columns)
        shape = {"rows": len(QUANTITIES) * rows, "columns": columns}
        figure, axes = style.panels(width=style.DOUBLE, height=0.9 + 1.5 * len(QUANTITIES) * rows, **shape)
        for number, quantity in enumerate(QUANTITIES):
            own = data.filter(pl.col("quantity") == quantity)
            quantity_panels(axes[number * rows : (number + 1) * rows], own, quantity, layers, order)
        figure.legend(handles=_legend(bins, order), loc="outside upper center", ncols=2)
        style.save(figure, data, out_base)


def quantity_panels(
    axes: np.ndarray, data: pl.DataFrame, quantity: str, layers: Sequence[int], order: list[str]
) -> None:
    """One panel a layer, all on one scale; what lies beyond the last layer stays blank."""
    along, up = QUANTITIES[quantity]
    first, columns = axes.flat[0], axes.shape[1]
    for number, ax in enumerate(axes.flat):
        if number >= len(layers):
            ax.set_axis_off()
            continue
        if number:
            ax.sharex(first)
            ax.sharey(first)
        layer_panel(ax, data.filter(pl.col("layer") == layers[number]), order)
        ax.set_title(f"MoE layer {layers[number]}", loc="left")
        ax.tick_params(labelleft=number % columns == 0, labelbottom=number >= len(layers) - columns)
        if number % columns == 0:
            ax.set_ylabel(up)
    middle = axes.flat[len(layers) - 1 - (len(layers) - 1) % columns]
    middle.set_xlabel(along, loc="left")
    bins = data.filter(pl.col("kind") == "bin")
    if not bins.is_empty():
        first.set_ylim(0, bins["density"].max() * (1.1 + 0.075 * len(order)))
        first.set_xlim(*(logit_window(data) if quantity == "logit" else (0.0, 1.0)))


def _legend(bins: pl.DataFrame, order: list[str]) -> list[Line2D]:
    handles = []
    for condition in order:
        rows = bins.filter(pl.col("condition") == condition)
        look = style.condition_look(condition, rows["rule"][0])
        label = style.condition_label(rows["title"][0] or condition, [rows["seed"].n_unique()])
        handles.append(Line2D([], [], color=look.colour, linestyle=look.line, label=label))
    tick = Line2D([], [], color=style.GREY, marker="|", linestyle="none", label="cut-off of one expert, rows as listed")
    return [*handles, tick]
