"""Expert Threshold's sensitivity to beta, to the length of its warm-up and to C, three values each."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from moe_replication.figures import style
from moe_replication.figures.differences import FINAL, final_differences, final_values, interval, pair_points
from moe_replication.figures.pieces import named_places
from moe_replication.figures.style import FigureInfo

DEFAULT = "et"
# Setting -> condition by value, rising; the middle one is the paper's.
SETTINGS = {
    "EMA decay beta": {"0.99": "et-beta-0.99", "0.999": DEFAULT, "0.9999": "et-beta-0.9999"},
    "warm-up (steps of 19,073)": {"1,000": "et-warmup-1000", "4,000": DEFAULT, "8,000": "et-warmup-8000"},
    "capacity C": {"0.25": "et-capacity-0.25", "0.5": DEFAULT, "1": "et-capacity-1.0"},
}
OUT = (*FINAL, "setting", "setting_value")


def sensitivity_data(runs: pl.DataFrame) -> pl.DataFrame:
    """Final losses of ET and its variants, and each variant's difference to ET over paired seeds."""
    names = {name: (setting, value) for setting, row in SETTINGS.items() for value, name in row.items()}
    variants = [name for name in names if name != DEFAULT]
    both = pl.concat([final_values(runs, names), final_differences(runs, [(name, DEFAULT) for name in variants])])
    columns = {"setting": 0, "setting_value": 1}
    known = [
        pl.col("condition").replace_strict(
            {name: pair[index] for name, pair in names.items() if name != DEFAULT}, default=None, return_dtype=pl.String
        ).alias(column)
        for column, index in columns.items()
    ]  # fmt: skip
    return both.with_columns(known).select(OUT)


def panel(ax: Axes, data: pl.DataFrame, values: dict[str, str], spread: float | None) -> None:
    """Differences of one setting's values to the default; the band is the default's own 95 % interval."""
    for position, name in enumerate(values.values()):
        rows = data.filter((pl.col("kind") == "difference") & (pl.col("condition") == name))
        if name == DEFAULT:
            ax.plot(position, 0.0, "D", color=style.GREEN, markersize=5)
        elif not rows.is_empty():
            row = rows.row(0, named=True)
            look = style.condition_look(name, "expert_threshold")
            pair_points(ax, position, data, row, look, horizontal=False)
    ax.axhline(0.0, color=style.BLACK, linewidth=0.8, linestyle=":")
    if spread is not None:
        ax.axhspan(-spread, spread, color=style.GREEN, alpha=0.1, linewidth=0)
    named_places(ax, list(values))


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-sensitivity: validation loss against the default for three values of each of ET's settings."""
    with style.styled():
        data = sensitivity_data(tables["runs"])
        if data.filter(pl.col("kind") == "difference").is_empty():
            return style.save_empty(f"no variants of ET's settings at scale {info.scale}", OUT, out_base)
        default = data.filter((pl.col("kind") == "mean") & (pl.col("condition") == DEFAULT)).row(0, named=True)
        spread = style.half_width(interval(default))
        figure, axes = style.panels(width=style.DOUBLE, height=2.8, columns=len(SETTINGS), sharey=True)
        for ax, letter, (setting, values) in zip(axes[0], "abc", SETTINGS.items(), strict=True):
            panel(ax, data, values, spread)
            ax.set_xlabel(setting)
            counts = data.filter((pl.col("kind") == "difference") & pl.col("condition").is_in(list(values.values())))[
                "n"
            ]
            seeds = f", {style.seeds_text(counts.to_list())}" if len(counts) else ""
            style.panel_letter(ax, letter, setting.partition(" (")[0] + seeds)
        dots = [style.legend_dot("one seed"), style.legend_mean()]
        style.legend_on_top(figure, [*dots, Patch(color=style.GREEN, alpha=0.1, label="the default's own interval")])
        axes[0, 0].set_ylabel("loss minus the default's,\npaired by seed (nats / token)")
        style.save(figure, data, out_base)
