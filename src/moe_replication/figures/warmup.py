"""Paper A, Figure 10: Expert Threshold with and without warm-up, with and without the shared expert."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from moe_replication.figures import style
from moe_replication.figures.curves import BAND, lines, mark_warmup, show_late, step_axis, step_bands, warmup_end
from moe_replication.figures.style import FigureInfo

CONDITIONS = ("et", "et-no-warmup", "et-no-warmup-corrected", "et-no-shared", "et-no-warmup-no-shared")
# Column of curves.parquet -> panel title, axis label, factor of the unit.
PANELS = {
    "train_loss": ("training loss, smoothed", "loss (nats / token)", 1),
    "val_loss": ("validation loss", "loss (nats / token)", 1),
    "raw_usage_mean": ("raw usage", "tokens selected (%)", 100),
    "cutoff_mean": ("cut-off", "mean cut-off (logits)", 1),
    "saturation": ("saturation", "dropped / selected (%)", 100),
    "starvation": ("starvation", "unused minimum (%)", 100),
}


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig10-warmup: six quantities over training, one line per condition."""
    with style.styled():
        data = step_bands(tables["runs"], tables["curves"], CONDITIONS, list(PANELS), smooth=("train_loss",))
        if data.filter(pl.col("condition") != "et").is_empty():
            message = f"no ET runs without warm-up or without shared expert at scale {info.scale}"
            return style.save_empty(message, BAND, out_base)
        figure, axes = style.panels(width=style.DOUBLE, height=4.4, rows=2, columns=3, sharex=True)
        end = warmup_end(tables["curves"], ("et", "et-no-shared"))
        for ax, letter, (series, (title, label, factor)) in zip(axes.flat, "abcdef", PANELS.items(), strict=True):
            style.panel_letter(ax, letter, title)
            rows = data.filter(pl.col("series") == series)
            if rows.is_empty():
                style.say(ax, "not recorded")
                continue
            scaled = [(pl.col(name) * factor).alias(name) for name in ("mean", "ci_low", "ci_high")]
            mark_warmup(ax, end)
            lines(ax, rows.with_columns(scaled), CONDITIONS)
            if series.endswith("loss"):
                show_late(ax, rows, "step", late=0.1)  # the first fall would press the curves together
            ax.set_ylabel(label)
        for ax in axes[1]:
            step_axis(ax)
        axes[0, 0].set_xlim(left=0)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        style.save(figure, data, out_base)
