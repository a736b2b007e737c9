"""Curves of a condition: mean and 95 % band over its seeds, as numbers and as a picture."""

from __future__ import annotations

import polars as pl
from matplotlib.figure import Figure

from moe_replication.figures import style
from moe_replication.figures.tables import complete_band

# What a curve is looked at for, and the labels of its axes.
CURVES = {
    "train_loss": "training loss",
    "val_loss": "validation loss",
    "test_accuracy": "test accuracy",
    "dead_experts": "dead experts",
}


def bands(curves: pl.DataFrame) -> pl.DataFrame:
    """One row a step: `{name}`, `{name}_low`, `{name}_high` of every measured curve of one condition.

    The mean is over all seeds; steps that not every seed has are left out, the interval is null at one seed.
    """
    wide = curves.select("step").unique().sort("step")
    for name in measured(curves):
        edges = {"mean": name, "ci_low": f"{name}_low", "ci_high": f"{name}_high"}
        band = complete_band(curves, ["condition"], "step", name).select("step", *edges).rename(edges)
        wide = wide.join(band, on="step", how="left", maintain_order="left")
    return wide


def measured(curves: pl.DataFrame) -> list[str]:
    """The columns of CURVES that have values."""
    return [name for name in CURVES if name in curves.columns and curves[name].count() > 0]


def draw_bands(band: pl.DataFrame, title: str, seeds: int) -> Figure:
    """One panel a curve, mean as a line and interval as a band."""
    names = measured(band)
    with style.styled():
        width = style.COLUMN if len(names) == 1 else style.DOUBLE
        figure, axes = style.panels(width=width, height=2.2, columns=len(names))
        for ax, name in zip(axes[0], names, strict=True):
            rows = band.drop_nulls(name)
            ax.plot(rows["step"], rows[name], color=style.BLUE, marker="o" if rows.height == 1 else "")
            edges = rows.drop_nulls(f"{name}_low")
            ax.fill_between(
                edges["step"], edges[f"{name}_low"], edges[f"{name}_high"],
                color=style.BLUE, alpha=0.2, linewidth=0,
            )  # fmt: skip
            ax.set_xlabel("training step")
            ax.set_ylabel(CURVES[name])
        figure.suptitle(f"{style.condition_label(title, [seeds])}, mean and 95 % interval", fontsize=8)
    return figure
