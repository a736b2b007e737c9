"""Paper A, Figure 7: training loss (exponential mean) against validation loss, and the gap that remains."""

from __future__ import annotations

import textwrap
from pathlib import Path

import polars as pl
from matplotlib.axes import Axes

from moe_replication.figures import style
from moe_replication.figures.curves import show_late, smoothed, spread
from moe_replication.figures.differences import final_values
from moe_replication.figures.number_formats import short_numbers
from moe_replication.figures.paper_values import reported
from moe_replication.figures.pieces import band, named_places
from moe_replication.figures.style import FigureInfo, Look
from moe_replication.figures.tables import THRESHOLD, complete_band, of_paper

CONDITIONS = ("ec-sequence", "ec-batch", "et")
OUT = ("panel", "series", "condition", "title", "rule", "tokens", "seed", "n", "mean", "ci_low", "ci_high")
SERIES = {"train_loss": "training, smoothed", "val_loss": "validation"}


def gap_data(runs: pl.DataFrame, curves: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """Panel `curves`: both losses over training; panel `gap`: the final gap by seed, its mean, and the paper's."""
    return pl.concat([_curves(runs, curves), _gaps(runs, values)], how="vertical_relaxed")


def _curves(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.DataFrame:
    rows = of_paper(curves, THRESHOLD, ("condition", "seed", "tokens", *SERIES))
    rows = rows.filter(pl.col("condition").is_in(CONDITIONS)).sort("condition", "seed", "tokens")
    if rows.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(OUT, pl.String))
    rows = smoothed(rows, "train_loss")
    bands = [complete_band(rows, ["condition"], "tokens", name).with_columns(series=pl.lit(name)) for name in SERIES]
    names = of_paper(runs, THRESHOLD, ("condition", "title", "rule")).unique("condition", keep="first")
    joined = pl.concat(bands).join(names, on="condition", how="left", maintain_order="left")
    return joined.with_columns(panel=pl.lit("curves"), seed=pl.lit(None, pl.Int64)).select(OUT)


def _gaps(runs: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    own = final_values(runs, CONDITIONS, "generalization_gap").rename({"kind": "series", "value": "mean"})
    own = own.with_columns(tokens=pl.lit(None, pl.Int64))
    evaluation, training = reported(values, "val_loss", "A, Table 1"), reported(values, "train_loss", "A, Figure 6")
    both = [name for name in CONDITIONS if name in evaluation and name in training]
    paper = pl.DataFrame(
        {"condition": both, "mean": [evaluation[name] - training[name] for name in both]},
        schema={"condition": pl.String, "mean": pl.Float64},
    ).with_columns(series=pl.lit("paper"))
    return pl.concat([own, paper], how="diagonal").with_columns(panel=pl.lit("gap")).select(OUT)


def curve_panel(ax: Axes, data: pl.DataFrame) -> None:
    """Validation (solid) and smoothed training loss (dashed) of one condition."""
    for series, name in SERIES.items():
        rows = data.filter(pl.col("series") == series)
        if rows.is_empty():
            continue
        own = style.condition_look(rows["condition"][0], rows["rule"][0])
        look = own if series == "val_loss" else Look(colour=style.GREY, marker="v", line="--")
        line = "-" if series == "val_loss" else "--"
        dots = {"marker": look.marker, "markersize": 3, "markevery": spread(rows.height, int(series == "train_loss"))}
        ax.plot(rows["tokens"], rows["mean"], line, color=look.colour, label=name, **dots)
        band(ax, rows, "tokens", look.colour, 0.15)
    show_late(ax, data, "tokens", below=0.05)
    ax.set_xlabel("training tokens")
    ax.xaxis.set_major_formatter(short_numbers)
    ax.locator_params(axis="x", nbins=4)


def gap_panel(ax: Axes, data: pl.DataFrame) -> None:
    """Validation minus training loss at the end, by seed, with the paper's."""
    names = [name for name in CONDITIONS if name in data.filter(pl.col("series") == "run")["condition"]]
    labels = []
    for position, name in enumerate(names):
        rows = data.filter(pl.col("condition") == name)
        own = rows.filter(pl.col("series") == "run")
        look = style.condition_look(name, own["rule"][0])
        labels.append(textwrap.fill(own["title"][0], 13))
        style.seed_points(ax, position, own["mean"].to_list(), look, jitter=0.08)
        for value in rows.filter(pl.col("series") == "paper")["mean"]:
            style.paper_point(ax, position + 0.25, value, look.marker)
    ax.axhline(0.0, color=style.BLACK, linewidth=0.8, linestyle=":")
    named_places(ax, labels)
    ax.set_ylabel("validation minus training")


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig07-train-eval-gap: training loss and validation loss of EC with small and large pool and of ET."""
    with style.styled():
        data = gap_data(tables["runs"], tables["curves"], info.paper_values)
        curves, gaps = (data.filter(pl.col("panel") == panel) for panel in ("curves", "gap"))
        names = [name for name in CONDITIONS if name in curves["condition"]]
        if not names:
            return style.save_empty(f"no EC or ET runs of paper A at scale {info.scale}", OUT, out_base)
        figure, axes = style.grid(len(names) + 1, columns=2, panel_height=2.0, header=0.4)
        for ax, letter, name in zip(axes.flat, "abc", names, strict=False):
            rows = curves.filter(pl.col("condition") == name)
            curve_panel(ax, rows)
            style.panel_letter(ax, letter, style.condition_label(rows["title"][0], rows["n"].to_list()))
            ax.set_ylabel("loss (nats / token)")
        last = axes.flat[len(names)]
        style.panel_letter(last, "abcd"[len(names)], "final gap (nats / token)")
        if gaps.filter(pl.col("series") == "run").is_empty():
            style.say(last, "no gap recorded")
        else:
            gap_panel(last, gaps)
        handles = axes[0, 0].get_legend_handles_labels()[0]
        handles += [style.legend_dot("one run"), style.legend_dot("paper's value", open_marker=True)]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        style.save(figure, data, out_base)
