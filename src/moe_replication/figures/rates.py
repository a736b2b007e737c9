"""Final loss at half, whole and double learning rates, for every rule alike."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from moe_replication.figures import style
from moe_replication.figures.differences import FINAL, final_values, interval
from moe_replication.figures.style import FigureInfo

RULES = {"dense": "dense", "tc-aux": "TC + aux loss", "ec-batch": "EC, pool of the batch", "et": "ET"}
FACTORS = {"-rates-half": 0.5, "": 1.0, "-rates-double": 2.0}
OUT = (*FINAL, "of", "factor")


def rate_data(runs: pl.DataFrame) -> pl.DataFrame:
    """Final losses by seed and mean; `of` is the condition at the scale's own rates, `factor` what they are times."""
    parts = [
        final_values(runs, [name + suffix]).with_columns(of=pl.lit(name), factor=pl.lit(factor))
        for name in RULES
        for suffix, factor in FACTORS.items()
    ]
    return pl.concat(parts).select(OUT)


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-rates: mean loss with its interval against the factor on all rates, a line a rule."""
    with style.styled():
        data = rate_data(tables["runs"])
        means = data.filter(pl.col("kind") == "mean")
        if means.filter(pl.col("factor") != 1.0).is_empty():
            return style.save_empty(f"no other learning rates at scale {info.scale}", OUT, out_base)
        figure, axes = style.panels(width=style.COLUMN, height=2.9)
        ax = axes[0, 0]
        for number, (name, title) in enumerate(RULES.items()):
            rows, look = means.filter(pl.col("of") == name), style.condition_look(name, None)
            shifted = [factor * 1.03 ** (number - 1.5) for factor in rows["factor"]]
            for position, row in zip(shifted, rows.iter_rows(named=True), strict=True):
                style.estimate_point(ax, position, interval(row), look)
            ax.plot(shifted, rows["value"], look.line, color=look.colour, linewidth=1, label=title)
        ax.set_xscale("log", base=2)
        ax.set_xticks(list(FACTORS.values()), [f"{factor:g}" for factor in FACTORS.values()])
        ax.set_xlabel("learning rates, times this scale's")
        ax.set_ylabel("final validation loss (nats / token)")
        ax.set_title(f"mean and 95 % interval, {style.seeds_text(means['n'].to_list())}", loc="left")
        style.legend_on_top(figure, ax.get_legend_handles_labels()[0])
        style.save(figure, data, out_base)
