"""Paper A, Figure 11: cut-offs of EC and ET in the first MoE layer against the loss-free bias of TC."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from moe_replication.figures import style
from moe_replication.figures.curves import step_axis
from moe_replication.figures.pieces import band
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import THRESHOLD, complete_band, of_paper

EXPERTS = ("condition", "seed", "step", "layer", "expert", "cutoff", "bias")
OUT = ("condition", "title", "rule", "layer", "expert", "step", "n", "mean", "ci_low", "ci_high")
# Condition -> its quantity, and what the axis calls it.
QUANTITIES = {
    "ec-batch": ("cutoff", "cut-off (logits)"),
    "et": ("cutoff", "cut-off (logits)"),
    "tc-loss-free": ("bias", "bias b (logits)"),
}


def bias_data(runs: pl.DataFrame, experts: pl.DataFrame) -> pl.DataFrame:
    """Cut-off or bias of the first MoE layer per step: each expert of the first seed, and the mean over experts.

    The mean (expert null) is taken per seed, then over seeds with a 95 % t interval.
    """
    rows = of_paper(experts, THRESHOLD, EXPERTS).filter(pl.col("condition").is_in(list(QUANTITIES)))
    if rows.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(OUT, pl.String))
    loss_free = pl.col("condition") == "tc-loss-free"
    rows = rows.with_columns(value=pl.when(loss_free).then(pl.col("bias")).otherwise(pl.col("cutoff")))
    rows = rows.filter(pl.col("layer") == pl.col("layer").min().over("condition")).drop_nulls("value")
    keys = ["condition", "layer"]
    per_seed = rows.group_by(*keys, "seed", "step", maintain_order=True).agg(pl.col("value").mean())
    means = complete_band(per_seed, keys, "step", "value").with_columns(expert=pl.lit(None, pl.Int64))
    first = rows.filter(pl.col("seed") == pl.col("seed").min().over("condition")).sort(*keys, "expert", "step")
    single = first.select(*keys, "expert", "step", mean="value").with_columns(n=pl.lit(1, pl.Int64))
    names = of_paper(runs, THRESHOLD, ("condition", "title", "rule")).unique("condition", keep="first")
    both = pl.concat([means, single], how="diagonal_relaxed")
    return both.join(names, on="condition", how="left", maintain_order="left").select(OUT)


def panel(ax: Axes, data: pl.DataFrame) -> None:
    """Every expert as a faint line, the mean over experts and seeds with its band."""
    look = style.condition_look(data["condition"][0], data["rule"][0])
    for _, rows in data.drop_nulls("expert").group_by("expert", maintain_order=True):
        ax.plot(rows["step"], rows["mean"], color=look.colour, alpha=0.3, linewidth=0.6)
    mean = data.filter(pl.col("expert").is_null())
    ax.plot(mean["step"], mean["mean"], color=look.colour, linewidth=1.8)
    band(ax, mean, "step", look.colour, 0.2)
    ax.axhline(0.0, color=style.BLACK, linewidth=0.8, linestyle=":")
    step_axis(ax)


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig11-cutoff-bias: do the cut-offs settle, does the bias drift?"""
    with style.styled():
        data = bias_data(tables["runs"], tables["experts"])
        if data.is_empty():
            return style.save_empty(f"no EC, ET or loss-free runs of paper A at scale {info.scale}", OUT, out_base)
        names = [name for name in QUANTITIES if name in data["condition"]]
        figure, axes = style.panels(width=style.DOUBLE, height=2.8, columns=len(names))
        for ax, letter, name in zip(axes[0], "abc", names, strict=False):
            rows = data.filter(pl.col("condition") == name)
            panel(ax, rows)
            ax.set_ylabel(QUANTITIES[name][1])
            counts = rows.filter(pl.col("expert").is_null())["n"].to_list()
            style.panel_letter(ax, letter, style.condition_label(rows["title"][0], counts))
        style.legend_on_top(figure, _legend())
        style.save(figure, data, out_base)


def _legend() -> list[Line2D | Patch]:
    mean = Line2D([], [], color=style.GREY, linewidth=1.8, label="mean over experts and seeds")
    band = Patch(color=style.GREY, alpha=0.2, label="95 % interval")
    expert = Line2D([], [], color=style.GREY, alpha=0.5, linewidth=0.6, label="one expert of the first seed")
    return [mean, band, expert]
