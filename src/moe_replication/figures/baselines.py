"""Expert Threshold beside baselines that match it in compute, balance pool or causality."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from moe_replication.figures import style
from moe_replication.figures.differences import (
    FINAL,
    difference_panel,
    final_differences,
    final_values,
    value_panel,
)
from moe_replication.figures.paper_values import reported
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import THRESHOLD, of_paper

OWN = "et"
CONDITIONS = ("dense", "dense-wide", "tc-aux", "tc-aux-global", "tc-loss-free", OWN, "et-fallback")
COST = ("parameters_active", "tokens_per_second")
OUT = (*FINAL, *COST)


def baseline_data(runs: pl.DataFrame) -> pl.DataFrame:
    """Final losses by seed and mean, each condition's difference to ET, its active parameters and mean tokens/s."""
    pairs = [(name, OWN) for name in CONDITIONS if name != OWN]
    both = pl.concat([final_values(runs, CONDITIONS), final_differences(runs, pairs)])
    cost = (
        of_paper(runs, THRESHOLD, ("condition", *COST)).group_by("condition").agg(pl.col(name).mean() for name in COST)
    )
    return both.join(cost, on="condition", how="left", maintain_order="left").select(OUT)


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-matched-baselines: final loss of every baseline, and its difference to ET."""
    with style.styled():
        data = baseline_data(tables["runs"])
        differences = data.filter(pl.col("kind") == "difference")
        matched = data.filter(~pl.col("condition").is_in(["dense", "tc-aux", OWN]))
        if differences.is_empty() or matched.is_empty():
            return style.save_empty(f"no ET and matched baselines at scale {info.scale}", OUT, out_base)
        figure, axes = style.panels(width=style.DOUBLE, height=2.9, columns=2)
        paper = reported(info.paper_values, "val_loss", "A, Table 1")
        value_panel(axes[0, 0], data.filter(pl.col("kind") == "run"), paper if info.scale == "paper" else {})
        style.panel_letter(axes[0, 0], "a", "final loss")
        names = differences["condition"].to_list()
        counts = [style.condition_label(title, [n]) for title, n in differences.select("title", "n").iter_rows()]
        gains = [paper[name] - paper[OWN] if name in paper and OWN in paper else None for name in names]
        difference_panel(axes[0, 1], data, counts, gains)
        axes[0, 1].set_xlabel("loss minus ET's (nats / token)")
        style.panel_letter(axes[0, 1], "b", "minus ET, paired by seed")
        handles = [style.legend_dot("one seed"), style.legend_mean(horizontal=True)]
        handles.append(style.legend_dot("paper's value", open_marker=True))
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        style.save(figure, data, out_base)
