"""Paper A, Figure 12: dividing the gates by the fan-out against leaving them as they are."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from moe_replication.figures import style
from moe_replication.figures.curves import BAND, lines, show_late, step_axis, step_bands
from moe_replication.figures.paper_values import reported
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import THRESHOLD, complete_band, of_paper

CONDITIONS = ("et", "et-normalized")


def difference_band(curves: pl.DataFrame) -> pl.DataFrame:
    """Validation loss with normalisation minus without, paired by seed, per step (columns of BAND)."""
    rows = of_paper(curves, THRESHOLD, ("condition", "seed", "step", "val_loss")).drop_nulls("val_loss")
    plain, divided = (rows.filter(pl.col("condition") == name).drop("condition") for name in CONDITIONS)
    both = divided.join(plain, on=["seed", "step"], suffix="_plain", maintain_order="left")
    both = both.with_columns(condition=pl.lit(CONDITIONS[1]), difference=pl.col("val_loss") - pl.col("val_loss_plain"))
    band = complete_band(both, ["condition"], "step", "difference")
    labels = {"title": "with minus without", "rule": "expert_threshold", "series": "difference"}
    return band.with_columns([pl.lit(text).alias(name) for name, text in labels.items()]).select(BAND)


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig12-normalization: validation loss of both, and the difference with its interval."""
    with style.styled():
        bands = step_bands(tables["runs"], tables["curves"], CONDITIONS, ["val_loss"])
        if bands["condition"].n_unique() < len(CONDITIONS):
            message = f"no pair of ET runs with and without fan-out normalisation at scale {info.scale}"
            return style.save_empty(message, BAND, out_base)
        difference = difference_band(tables["curves"])
        figure, axes = style.panels(width=style.DOUBLE, height=2.8, columns=2)
        lines(axes[0, 0], bands, CONDITIONS)
        axes[0, 0].set_ylabel("validation loss (nats / token)")
        show_late(axes[0, 0], bands, "step")
        style.panel_letter(axes[0, 0], "a", "validation loss")
        lines(axes[0, 1], difference, CONDITIONS)
        axes[0, 1].axhline(0.0, color=style.BLACK, linewidth=0.8)
        for value in reported(info.paper_values, "normalization_loss", "A, ").values():
            style.paper_line(axes[0, 1], value, f"paper, at the end: about {value:g}")
        axes[0, 1].set_ylabel("difference in loss, paired by seed")
        style.panel_letter(axes[0, 1], "b", "with minus without normalisation")
        for ax in axes[0]:
            step_axis(ax)
        handles = [handle for ax in axes[0] for handle in ax.get_legend_handles_labels()[0]]
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
        style.save(figure, pl.concat([bands, difference]), out_base)
