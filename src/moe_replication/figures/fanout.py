"""Paper A: experts per token against position and loss, over all layers and layer by layer."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from moe_replication.figures import style
from moe_replication.figures.layers import layer_grid
from moe_replication.figures.number_formats import short_powers
from moe_replication.figures.pieces import band
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import THRESHOLD, mean_band, of_paper

BINS = ("low", "high", "centre", "tokens")
GROUP = ("condition", "title", "rule", "mode", "axis", "layer", "bin")
COLUMNS = (*GROUP, *BINS, "seed", "fanout")
OUT = (*GROUP, *BINS, "n", "mean", "ci_low", "ci_high")
COMPARED = ("ec-sequence", "et")
AXES = {"position": "position (tokens, log scale)", "loss": "loss of the token (nats)"}
MODES = {"training": "training: top-k of its pool", "causal": "causal: logit above the cut-off"}


def fanout_data(table: pl.DataFrame, conditions: tuple[str, ...]) -> pl.DataFrame:
    """Mean fan-out with 95 % t interval over seeds per condition, mode, axis, layer (null = all) and bin.

    Edges and tokens of a bin are means over the seeds too, because edges may follow each run's own losses.
    """
    rows = of_paper(table, THRESHOLD, COLUMNS)
    if rows.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(OUT, pl.String))
    rows = rows.filter(pl.col("condition").is_in(conditions)).with_columns(pl.col(BINS).mean().over(GROUP))
    return mean_band(rows, [*GROUP, *BINS], "fanout").select(OUT).sort("condition", "mode", "axis", "layer", "bin")


def fanout_line(ax: Axes, rows: pl.DataFrame, look: style.Look, label: str) -> None:
    """Mean fan-out over the bins of one axis, with the band of its seeds."""
    ax.plot(rows["centre"], rows["mean"], look.line, color=look.colour, label=label, marker="o", markersize=2)
    band(ax, rows, "centre", look.colour, 0.18)


def log_positions(ax: Axes, last: float) -> None:
    """A logarithmic axis of positions up to `last` that holds position 0, with a tick at every fourth power."""
    ax.set_xscale("symlog", base=2, linthresh=1)
    ax.set_xlim(-0.2, last * 1.1)
    ax.set_xticks([0.0, *(4.0**power for power in range(int(math.log(max(last, 1), 4) + 1e-9) + 1))])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(short_powers)


def series_panel(ax: Axes, rows: pl.DataFrame, axis: str) -> None:
    """One condition in one mode: every layer faint, their mean solid."""
    look = style.condition_look(rows["condition"][0], rows["rule"][0])
    for layer in rows["layer"].drop_nulls().unique().sort():
        one = rows.filter(pl.col("layer") == layer)
        ax.plot(one["centre"], one["mean"], color=look.colour, alpha=0.3, linewidth=0.7)
    solid = style.Look(colour=look.colour, marker=look.marker)
    fanout_line(ax, rows.filter(pl.col("layer").is_null()), solid, "mean over layers")
    if axis == "position":
        log_positions(ax, rows["centre"].max())
    ax.set_xlabel(AXES[axis])


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig05-fanout: experts per token against position and loss, EC with a small pool (both modes) and ET."""
    with style.styled():
        data = fanout_data(tables["probe-fanout"], COMPARED)
        if data.is_empty():
            return style.save_empty(f"no probes of EC 2k or ET at scale {info.scale}", OUT, out_base)
        pairs = [(name, mode) for name in COMPARED for mode in MODES]
        shown = [pair for pair in pairs if pair in set(data.select("condition", "mode").iter_rows())]
        figure, axes = style.panels(
            width=style.DOUBLE, height=4.6, rows=len(AXES), columns=len(shown), sharey="row", sharex="row"
        )
        for row, axis in enumerate(AXES):
            for column, (condition, mode) in enumerate(shown):
                ax = axes[row, column]
                series = (pl.col("condition") == condition) & (pl.col("mode") == mode) & (pl.col("axis") == axis)
                rows = data.filter(series)
                if rows.is_empty():
                    style.say(ax, f"no fan-out by {axis}")
                    continue
                series_panel(ax, rows, axis)
                if row == 0:
                    title = style.condition_label(rows["title"][0] or condition, rows["n"].to_list())
                    ax.set_title(f"{title}\n{MODES[mode]}", loc="left")
            axes[row, 0].set_ylim(bottom=0)
            axes[row, 0].set_ylabel("experts per token and layer")
        one = Line2D([], [], color=style.GREY, alpha=0.5, linewidth=0.7, label="one layer, mean over seeds")
        mean = Line2D(
            [], [], color=style.GREY, marker="o", markersize=2, label="mean over layers, 95 % band over seeds"
        )
        figure.legend(handles=[mean, one], loc="outside lower center", ncols=2)
        style.save(figure, data, out_base)


def _draw_layers(condition: str, tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """Fan-out against loss of one condition, one panel a layer and the mean over layers in grey behind it."""
    with style.styled():
        data = fanout_data(tables["probe-fanout"], (condition,))
        data = data if data.is_empty() else data.filter(pl.col("axis") == "loss")
        if data.is_empty():
            return style.save_empty(f"no probes of {condition} at scale {info.scale}", OUT, out_base)
        layers = data["layer"].drop_nulls().unique().sort().to_list()
        figure, axes = layer_grid(layers, header=0.9)
        own = style.condition_look(condition, data["rule"][0]).colour
        looks = {
            "training": style.Look(colour=style.BLUE, marker="o", line="--"),
            "causal": style.Look(colour=own, marker="o"),
        }
        for layer, ax in axes.items():
            for mode in [mode for mode in MODES if mode in data["mode"].unique()]:
                rows = data.filter(pl.col("mode") == mode)
                fanout_line(ax, rows.filter(pl.col("layer") == layer), looks[mode], MODES[mode])
            mean = data.filter(pl.col("layer").is_null() & (pl.col("mode") == "causal"))
            ax.plot(
                mean["centre"], mean["mean"], ":", color=style.BLACK, linewidth=0.9, label="causal, mean over layers"
            )
        first = axes[layers[0]]
        first.set_ylim(bottom=0)
        title = style.condition_label(data["title"][0] or condition, data["n"].to_list())
        lines = first.get_legend_handles_labels()
        figure.legend(*lines, loc="outside upper center", ncols=3, title=f"{title}, bands: 95 % over seeds")
        figure.supxlabel(AXES["loss"], fontsize=8)
        figure.supylabel("fan-out (experts per token)", fontsize=8)
        style.save(figure, data, out_base)


def draw_layers_ec_sequence(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig15-fanout-loss-layers: fan-out against loss by layer, EC with the pool of one sequence."""
    _draw_layers("ec-sequence", tables, info, out_base)


def draw_layers_ec_batch(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig16-fanout-loss-layers: fan-out against loss by layer, EC with the pool of the batch."""
    _draw_layers("ec-batch", tables, info, out_base)


def draw_layers_et(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig17-fanout-loss-layers: fan-out against loss by layer, ET."""
    _draw_layers("et", tables, info, out_base)
