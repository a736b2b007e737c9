"""Three sizes of model: loss by size, and how the gaps between the rules move with it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.axes import Axes

from moe_replication.figures import style
from moe_replication.figures.differences import FINAL, final_differences, final_values, interval, pair_points
from moe_replication.figures.number_formats import short_numbers
from moe_replication.figures.paper_values import reported
from moe_replication.figures.pieces import named_places
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import THRESHOLD, of_paper

# Size -> dense, TC with aux loss, EC with the batch as pool, ET; the sizes from small to large.
SIZES = {
    "d6": ("d6-dense", "d6-tc-aux", "d6-ec", "d6-et"),
    "d12": ("dense", "tc-aux", "ec-batch", "et"),
    "d20": ("d20-dense", "d20-tc-aux", "d20-ec", "d20-et"),
}
RULES = ("dense", "TC + aux loss", "EC, pool of the batch", "ET")
# Differences between rules, by their place in RULES.
GAPS = {"TC aux - dense": (1, 0), "EC - TC aux": (2, 1), "ET - TC aux": (3, 1), "ET - EC": (3, 2)}
SHIFTS = (-0.3, -0.1, 0.1, 0.3)
LOOKS = {
    gap: style.Look(colour=colour, marker=marker)
    for gap, colour, marker in zip(
        GAPS, (style.SKY, style.VERMILION, style.GREEN, style.PURPLE), ("s", "^", "D", "o"), strict=True
    )
}
OUT = (*FINAL, "size", "gap", "parameters_active", "tokens")
TABLES = {"d6": None, "d12": "A, Table 1", "d20": "A, Table 2"}


def size_data(runs: pl.DataFrame) -> pl.DataFrame:
    """Final losses by seed and mean, and differences between rules paired by seed, of every size (columns OUT)."""
    cost = of_paper(runs, THRESHOLD, ("condition", "parameters_active", "tokens")).unique("condition", keep="first")
    parts = []
    for size, names in SIZES.items():
        parts.append(_labelled(final_values(runs, names), size, None))
        for gap, (first, second) in GAPS.items():
            parts.append(_labelled(final_differences(runs, [(names[first], names[second])]), size, gap))
    return pl.concat(parts).join(cost, on="condition", how="left", maintain_order="left").select(OUT)


def _labelled(rows: pl.DataFrame, size: str, gap: str | None) -> pl.DataFrame:
    return rows.with_columns(size=pl.lit(size), gap=pl.lit(gap, dtype=pl.String))


def loss_panel(ax: Axes, data: pl.DataFrame) -> None:
    """Mean and interval of every rule against the parameters that a token meets."""
    means = data.filter(pl.col("kind") == "mean")
    for number, rule in enumerate(RULES):
        rows = means.filter(pl.col("condition").is_in([names[number] for names in SIZES.values()]))
        look = style.condition_look(SIZES["d12"][number], None)
        for row in rows.iter_rows(named=True):
            style.estimate_point(ax, row["parameters_active"], interval(row), look)
        ax.plot(rows["parameters_active"], rows["value"], look.line, color=look.colour, linewidth=1, label=rule)
    ax.set_xscale("log")
    ax.set_xlabel("active parameters")
    ax.set_ylabel("final validation loss (nats / token)")


def gap_panel(ax: Axes, data: pl.DataFrame, paper: dict[str, dict[str, float]]) -> None:
    """Every difference at every size side by side: seeds, mean and interval, and the paper's."""
    sizes = [size for size in SIZES if size in data["size"]]
    for (gap, look), shift in zip(LOOKS.items(), SHIFTS, strict=True):
        for position, size in enumerate(sizes):
            here = data.filter((pl.col("size") == size) & (pl.col("gap") == gap))
            for row in here.filter(pl.col("kind") == "difference").iter_rows(named=True):
                pair_points(ax, position + shift, here, row, look, horizontal=False)
            if size in paper[gap]:
                style.paper_point(ax, position + shift, paper[gap][size], look.marker)
        ax.plot([], [], look.marker, color=look.colour, label=gap)
    ax.axhline(0.0, color=style.BLACK, linewidth=0.8, linestyle=":")
    active = {size: data.filter(pl.col("size") == size)["parameters_active"].max() for size in sizes}
    named_places(ax, [f"{size}, {short_numbers(active[size])} active" for size in sizes])
    ax.set_ylabel("difference of final loss (nats / token)")


def paper_gaps(values: pl.DataFrame) -> dict[str, dict[str, float]]:
    """The paper's difference by gap and size, where it reports both losses."""
    found = {gap: {} for gap in GAPS}
    for size, table in TABLES.items():
        losses = reported(values, "val_loss", table) if table else {}
        for gap, places in GAPS.items():
            first, second = (losses.get(SIZES[size][place]) for place in places)
            if first is not None and second is not None:
                found[gap][size] = first - second
    return found


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-sizes: loss against active parameters, and every gap between rules at every size."""
    with style.styled():
        data = size_data(tables["runs"])
        differences = data.filter(pl.col("kind") == "difference")
        if differences["size"].n_unique() < 2:
            return style.save_empty(f"fewer than two sizes of model at scale {info.scale}", OUT, out_base)
        figure, axes = style.panels(width=style.DOUBLE, height=3.1, columns=2)
        loss_panel(axes[0, 0], data)
        axes[0, 0].legend()
        style.panel_letter(axes[0, 0], "a", "loss by size")
        gap_panel(axes[0, 1], data, paper_gaps(info.paper_values))
        counts = style.seeds_text(differences["n"].to_list())
        style.panel_letter(axes[0, 1], "b", f"gaps, paired by seed, {counts}")
        handles = [*axes[0, 1].get_legend_handles_labels()[0], style.legend_dot("one seed"), style.legend_mean()]
        style.legend_on_top(figure, [*handles, style.legend_dot("paper's, at its sizes", open_marker=True)])
        style.save(figure, data, out_base)
