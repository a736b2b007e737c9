"""Paper A, Figure 13: what the capacity limits of training do to Expert Threshold."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from moe_replication.figures import style
from moe_replication.figures.curves import BAND, lines, mark_warmup, step_axis, step_bands, warmup_end
from moe_replication.figures.paper_values import reported
from moe_replication.figures.style import FigureInfo

CONDITIONS = ("et-capacity-0.25", "et", "et-capacity-1.0")
# Column of curves.parquet -> panel title, axis label, the paper's values that belong there.
PANELS = {
    "raw_usage_mean": ("raw usage", "tokens selected (%)", ("raw_usage_low", "raw_usage_high")),
    "saturation": ("saturation", "dropped / selected (%)", ("saturation",)),
    "starvation": ("starvation", "unused minimum (%)", ("starvation",)),
}


def capacity_data(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.DataFrame:
    """Raw usage, saturation and starvation in % over training: mean with 95 % t interval over seeds."""
    data = step_bands(runs, curves, CONDITIONS, list(PANELS))
    return data if data.is_empty() else data.with_columns(pl.col("mean", "ci_low", "ci_high") * 100)


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig13-capacity: raw usage and the two capacity rates over training, with the paper's bounds."""
    with style.styled():
        data = capacity_data(tables["runs"], tables["curves"])
        if data.is_empty():
            return style.save_empty(f"no ET runs of paper A at scale {info.scale}", BAND, out_base)
        figure, axes = style.panels(width=style.DOUBLE, height=2.8, columns=len(PANELS))
        end = warmup_end(tables["curves"], ("et",))
        for ax, letter, (series, (title, label, metrics)) in zip(axes[0], "abc", PANELS.items(), strict=True):
            style.panel_letter(ax, letter, title)
            rows = data.filter(pl.col("series") == series)
            if rows.is_empty():
                style.say(ax, "not recorded")
                continue
            mark_warmup(ax, end)
            lines(ax, rows, CONDITIONS)
            for metric in metrics:
                for value in reported(info.paper_values, metric, "A, Figure 13").values():
                    style.paper_line(ax, value * 100, "paper's bounds")
            ax.set_ylabel(label)
            ax.set_ylim(bottom=0)
            step_axis(ax)
        found = {text: handle for ax in axes[0] for handle, text in zip(*ax.get_legend_handles_labels(), strict=True)}
        figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=3)
        style.save(figure, data, out_base)
