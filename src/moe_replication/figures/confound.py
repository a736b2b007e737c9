"""Routing rule x storage of the experts: whose gain is it under Muon? (our question; not in paper A)"""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.axes import Axes

from moe_replication.figures import style
from moe_replication.figures.differences import FINAL, final_differences, final_values, interval
from moe_replication.figures.paper_values import reported
from moe_replication.figures.style import FigureInfo

# Storage and optimiser of the experts -> the three rules under it, TC with aux loss first.
STORAGES = {
    "Muon,\nper expert": ("tc-aux", "ec-batch", "et"),
    "Muon,\nconcatenated": ("tc-aux-concat", "ec-concat", "et-concat"),
    "AdamW": ("tc-aux-adamw", "ec-adamw", "et-adamw"),
}
RULES = {"TC + aux loss": style.SKY, "EC, pool of the batch": style.VERMILION, "ET": style.GREEN}
MARKERS = ("o", "^", "D")
# Cell -> the paper's row that belongs there: the released code keeps TC's experts in one matrix, EC's and ET's apart.
PAPER_CELLS = {"tc-aux-concat": "tc-aux", "ec-batch": "ec-batch", "et": "et"}


def confound_data(runs: pl.DataFrame) -> pl.DataFrame:
    """Final validation losses of every cell, and EC's and ET's differences to TC under the same storage."""
    names = [name for cells in STORAGES.values() for name in cells]
    pairs = [(name, cells[0]) for cells in STORAGES.values() for name in cells[1:]]
    both = pl.concat([final_values(runs, names), final_differences(runs, pairs)])
    storage = {name: place.replace("\n", " ") for place, cells in STORAGES.items() for name in cells}
    return both.with_columns(storage=pl.col("condition").replace_strict(storage, return_dtype=pl.String))


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
    _storage_axis(ax)
    ax.set_ylabel("final validation loss (nats / token)")


def difference_panel(ax: Axes, data: pl.DataFrame, paper: dict[str, float]) -> None:
    """EC and ET minus TC under the same storage, paired by seed."""
    for slot, cells in enumerate(STORAGES.values()):
        for shift, name, look in zip((-0.12, 0.12), cells[1:], _looks()[1:], strict=True):
            rows = data.filter((pl.col("kind") == "difference") & (pl.col("condition") == name))
            if not rows.is_empty():
                row = rows.row(0, named=True)
                style.estimate_point(ax, slot + shift, interval(row), look)
    if "et" in paper and "tc-aux" in paper:
        gain = paper["et"] - paper["tc-aux"]
        style.paper_line(ax, gain, f"paper, ET minus TC: {gain:.3f}")
    ax.axhline(0.0, color=style.BLACK, linewidth=0.8)
    _storage_axis(ax)
    ax.set_ylabel("loss minus TC's, paired by seed")


def _storage_axis(ax: Axes) -> None:
    ax.set_xticks(range(len(STORAGES)), list(STORAGES))
    ax.set_xlim(-0.5, len(STORAGES) - 0.5)
    ax.grid(False, axis="x")
    ax.set_xlabel("optimiser and storage of the experts")


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-confound: losses by rule and storage, and the rules' gains over TC by storage."""
    with style.styled():
        data = confound_data(tables["runs"])
        if data.filter(pl.col("storage") != "Muon, per expert").is_empty():
            message = f"no runs with concatenated experts or experts under AdamW at scale {info.scale}"
            return style.save_empty(message, [*FINAL, "storage"], out_base)
        figure, axes = style.panels(width=style.DOUBLE, height=3.1, columns=2)
        paper = reported(info.paper_values, "val_loss", "A, Table 1")
        loss_panel(axes[0, 0], data, paper if info.scale == "paper" else {})
        style.panel_letter(axes[0, 0], "a", "final loss")
        difference_panel(axes[0, 1], data, paper)
        counts = style.seeds_text(data.filter(pl.col("kind") == "difference")["n"].to_list())
        style.panel_letter(axes[0, 1], "b", f"against TC of the same storage, {counts}")
        handles = [axes[0, 0].plot([], [], look.marker, color=look.colour, label=rule)[0]
                   for rule, look in zip(RULES, _looks(), strict=True)]  # fmt: skip
        handles += axes[0, 1].get_legend_handles_labels()[0]
        if info.scale == "paper":
            handles.append(style.legend_dot("paper's value", open_marker=True))
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        style.save(figure, data, out_base)
