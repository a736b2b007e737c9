"""Routing rule x storage of the experts: whose gain is it under Muon? (our question; not in paper A)"""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.axes import Axes

from moe_replication.figures import style
from moe_replication.figures.differences import FINAL, final_differences, final_interactions, final_values, pair_points
from moe_replication.figures.paper_values import reported
from moe_replication.figures.pieces import named_places
from moe_replication.figures.style import FigureInfo

# Storage and optimiser of the experts -> the three rules under it, TC with aux loss first.
STORAGES = {
    "Muon,\nper expert": ("tc-aux", "ec-batch", "et"),
    "Muon,\nconcatenated": ("tc-aux-concat", "ec-concat", "et-concat"),
    "AdamW": ("tc-aux-adamw", "ec-adamw", "et-adamw"),
}
# The released code keeps TC's experts in one matrix, EC's and ET's apart: the paper's differences belong here only.
RELEASED = {"as in the\nreleased code": ("tc-aux-concat", "ec-batch", "et")}
GROUPS = STORAGES | RELEASED
INTERACTION = "per expert minus concatenated"
RULES = {"TC + aux loss": style.SKY, "EC, pool of the batch": style.VERMILION, "ET": style.GREEN}
MARKERS = ("o", "^", "D")
# Cell -> the paper's row that belongs there.
PAPER_CELLS = {"tc-aux-concat": "tc-aux", "ec-batch": "ec-batch", "et": "et"}
OUT = (*FINAL, "storage")


def confound_data(runs: pl.DataFrame) -> pl.DataFrame:
    """Final losses of every cell, EC's and ET's differences to TC by group, and what storage does to them.

    `storage` names the cell's or the group's; the rows of kind `interaction` are (rule - TC) with experts one by one
    minus (rule - TC) with experts in one matrix, paired by seed.
    """
    parts = []
    for name, cells in STORAGES.items():
        parts.append(_of_storage(final_values(runs, cells), name))
    for name, cells in GROUPS.items():
        parts.append(_of_storage(final_differences(runs, [(rule, cells[0]) for rule in cells[1:]]), name))
    apart, together = list(STORAGES.values())[:2]
    fours = [(apart[rule], apart[0], together[rule], together[0]) for rule in (1, 2)]
    parts.append(_of_storage(final_interactions(runs, fours), INTERACTION))
    return pl.concat(parts)


def _of_storage(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    return rows.with_columns(storage=pl.lit(name.replace("\n", " "))).select(OUT)


def _looks() -> list[style.Look]:
    return [style.Look(colour=colour, marker=marker) for colour, marker in zip(RULES.values(), MARKERS, strict=True)]


def loss_panel(ax: Axes, data: pl.DataFrame, paper: dict[str, float]) -> None:
    """Every seed, mean and interval, grouped by storage; the paper's values where they belong."""
    for slot, cells in enumerate(STORAGES.values()):
        for shift, name, look in zip((-0.25, 0.0, 0.25), cells, _looks(), strict=True):
            values = data.filter((pl.col("kind") == "run") & (pl.col("condition") == name))["value"].to_list()
            if values:
                style.seed_points(ax, slot + shift, values, look, jitter=0.05)
            if PAPER_CELLS.get(name) in paper:
                style.paper_point(ax, slot + shift + 0.1, paper[PAPER_CELLS[name]], look.marker)
    named_places(ax, list(STORAGES))
    ax.set_xlabel("optimiser and storage of the experts")
    ax.set_ylabel("final validation loss (nats / token)")


def difference_panel(ax: Axes, data: pl.DataFrame, paper: dict[str, float]) -> None:
    """EC and ET minus TC by group, paired by seed; the paper's differences in the group of the released code."""
    for slot, (name, cells) in enumerate(GROUPS.items()):
        group = data.filter(pl.col("storage") == name.replace("\n", " "))
        differences = group.filter(pl.col("kind") == "difference")
        for shift, condition, look in zip((-0.15, 0.15), cells[1:], _looks()[1:], strict=True):
            for row in differences.filter(pl.col("condition") == condition).iter_rows(named=True):
                pair_points(ax, slot + shift, group, row, look, horizontal=False)
            if name in RELEASED and {condition, "tc-aux"} <= set(paper):
                style.paper_point(ax, slot + shift + 0.13, paper[condition] - paper["tc-aux"], look.marker)
    ax.axvline(len(STORAGES) - 0.5, color=style.GREY, linewidth=0.7)
    _zero_line(ax)
    named_places(ax, list(GROUPS))
    ax.set_ylabel("loss minus TC's, paired by seed")


def interaction_panel(ax: Axes, data: pl.DataFrame) -> None:
    """What storage does to the gaps of EC and ET to TC, with the interval over seeds."""
    chosen = data.filter(pl.col("kind") == "interaction")
    if chosen.is_empty():
        return style.say(ax, "no seed has all four\ncells of Muon")
    names = []
    for slot, (rule, look) in enumerate(zip(list(RULES)[1:], _looks()[1:], strict=True)):
        names.append(rule.split(",")[0])
        for row in chosen.filter(pl.col("condition") == STORAGES["Muon,\nper expert"][slot + 1]).iter_rows(named=True):
            pair_points(ax, slot, data, row, look, horizontal=False)
    _zero_line(ax)
    named_places(ax, names)
    ax.set_xlabel(f"gap to TC, {style.seeds_text(chosen['n'].to_list())}")
    ax.set_ylabel("gap per expert\nminus concatenated")


def _zero_line(ax: Axes) -> None:
    ax.axhline(0.0, color=style.BLACK, linewidth=0.8)


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-confound: losses by rule and storage, the rules' gains over TC by storage, and whether storage changes them."""
    with style.styled():
        data = confound_data(tables["runs"])
        if data.filter(pl.col("storage") != "Muon, per expert").is_empty():
            message = f"no runs with concatenated experts or experts under AdamW at scale {info.scale}"
            return style.save_empty(message, OUT, out_base)
        figure, axes = style.panels(width=style.DOUBLE, height=5.4, rows=2, columns=2)
        figure_grid = axes[0, 0].get_gridspec()
        figure_grid.set_width_ratios([3, 1])
        for ax in axes[0]:
            ax.remove()
        top = figure.add_subplot(figure_grid[0, :])
        paper = reported(info.paper_values, "val_loss", "A, Table 1")
        loss_panel(top, data, paper if info.scale == "paper" else {})
        style.panel_letter(top, "a", "final loss")
        difference_panel(axes[1, 0], data, paper)
        counts = data.filter(pl.col("kind") == "difference")["n"].to_list()
        seeds = f", {style.seeds_text(counts)}" if counts else ""
        style.panel_letter(axes[1, 0], "b", f"against TC + aux loss{seeds}")
        interaction_panel(axes[1, 1], data)
        style.panel_letter(axes[1, 1], "c", "does storage\nchange the gap?")
        handles = [top.plot([], [], look.marker, color=look.colour, label=rule)[0]
                   for rule, look in zip(RULES, _looks(), strict=True)]  # fmt: skip
        handles += [style.legend_mean(), style.legend_dot("paper's value", open_marker=True)]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        style.save(figure, data, out_base)
