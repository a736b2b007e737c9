"""Paper B: dead experts against E."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from moe_replication.figures import style
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import ECOLOGY, of_paper
from moe_replication.statistics.intervals import mean_interval

RUNS = ("condition", "seed", "title", "task", "dataset", "experts", "control_number", "dead_experts")
DEAD_OUT = (
    "source",
    "dataset",
    "data_used",
    "condition",
    "seed",
    "experts",
    "control_number",
    "dead_experts",
    "label",
    "place",
)
THRESHOLD_E = 0.5  # the paper's claim: E >= 0.5 alone guarantees zero dead experts
# Embedded stand-ins are grouped with the set whose place they take.
SETS = {
    "cifar10": "CIFAR-10",
    "digits-10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "digits-100": "CIFAR-100",
    "tiny-imagenet": "TinyImageNet",
    "digits-200": "TinyImageNet",
}


def dead_data(runs: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """Final dead experts of every run and the paper's cells; `dataset` is the paper's set (or `language`)."""
    rows = of_paper(runs, ECOLOGY, RUNS).drop_nulls("dead_experts")
    own = rows.with_columns(
        source=pl.lit("run"),
        data_used=pl.col("dataset"),
        dataset=pl.when(pl.col("task") == "language")
        .then(pl.lit("language"))
        .otherwise(pl.col("dataset").replace(SETS)),
        label=pl.lit(None, pl.String),
        place=pl.lit(None, pl.String),
    )
    reported = values.filter((pl.col("paper") == ECOLOGY) & (pl.col("metric") == "dead_experts"))
    reported = reported.filter(pl.col("dataset").is_in(own["dataset"].unique().to_list())).with_columns(
        source=pl.lit("paper"),
        data_used=pl.col("dataset"),
        condition=pl.lit(None, pl.String),
        seed=pl.lit(None, pl.Int64),
        experts=pl.lit(None, pl.Int64),
        dead_experts=pl.col("value"),
    )
    both = pl.concat([own.select(DEAD_OUT), reported.select(DEAD_OUT)], how="vertical_relaxed")
    return both.sort("dataset", "source", "condition", "seed", "label", nulls_last=True)


def rounded_control(value: float | None) -> float | None:
    """E to three decimals, as the paper quotes it: its 0.545 is 6/11 here."""
    return None if value is None else round(value, 3)


def control_slots(controls: Sequence[float | None]) -> list[float | None]:
    """The values of E present, rounded and rising, an undefined one (None) first."""
    known = {rounded_control(value) for value in controls}
    return sorted(known, key=lambda value: -1.0 if value is None else value)


def dead_panel(ax: Axes, data: pl.DataFrame, slots: list[float | None]) -> None:
    """Dead experts of one data set: every run, mean and interval; conditions at one E share its slot.

    Slots are equally spaced, because on a true axis of E the runs at 0.545 would lie across the line at 0.5.
    """
    look = style.DATASET_LOOKS.get(data["dataset"][0], style.Look(colour=style.GREY, marker="v"))
    for slot, control in enumerate(slots):
        here = data.filter(pl.col("control_number").round(3).eq_missing(pl.lit(control, pl.Float64)))
        names = here["condition"].drop_nulls().unique().sort().to_list()
        reported = here.filter(pl.col("source") == "paper")
        places = len(names) + (2 if reported.height else 0)
        cells = slot - 0.4 + 0.8 * (np.arange(places) + 0.5) / max(places, 1)
        for x, name in zip(cells, names, strict=False):
            values = here.filter(pl.col("condition") == name)["dead_experts"].to_list()
            style.seed_points(ax, x, values, look, jitter=min(0.2 / len(cells), 0.06))
            if max(values) > 0:
                top = max(*values, mean_interval(values).high or 0.0)
                ax.text(x, top + 0.6, name, rotation=90, ha="center", va="bottom", fontsize=6)
        for value, label in reported.select("dead_experts", "label").iter_rows():
            style.paper_point(ax, cells[-2:].mean(), value, look.marker)
            style.label_above(ax, cells[-2:].mean(), value, label)
    below = sum(control is None or control < THRESHOLD_E for control in slots)
    ax.axvline(below - 0.5, color=style.BLACK, linestyle=":", linewidth=1)
    ax.set_xticks(range(len(slots)), ["undefined" if value is None else f"{value:g}" for value in slots])
    ax.set_xlim(-0.55, len(slots) - 0.45)
    ax.grid(False, axis="x")


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-dead-vs-e: final dead experts against E, one panel per data set."""
    with style.styled():
        data = dead_data(tables["runs"], info.paper_values)
        own = data.filter(pl.col("source") == "run")
        if own.is_empty():
            return style.save_empty(f"no runs of paper B at scale {info.scale}", DEAD_OUT, out_base)
        sets = sorted(own["dataset"].unique(), key=lambda name: (name == "language", name))
        shared = {"sharex": True, "sharey": True}
        figure, axes = style.grid(len(sets), columns=2, panel_height=2.2, header=0.6, **shared)
        slots = control_slots(data["control_number"].to_list())
        for ax, name in zip(axes.flat, sets, strict=False):
            dead_panel(ax, data.filter(pl.col("dataset") == name), slots)
            ax.set_title(_title(name, own.filter(pl.col("dataset") == name)), loc="left", fontsize=7.5)
        top = max(data["dead_experts"].max() * 1.45, 4)
        axes[0, 0].set_ylim(-0.05 * top, top)
        axes[0, 0].yaxis.set_major_locator(MaxNLocator(integer=True))
        figure.supylabel("dead experts at the end (usage < 1 %)", fontsize=8)
        figure.supxlabel("control number E = T H / (O + B), values equally spaced", fontsize=8)
        _legend(figure)
        style.save(figure, data, out_base)


def _title(name: str, own: pl.DataFrame) -> str:
    used = own["data_used"].unique().sort().to_list()
    stand_in = all(data.startswith("digits-") for data in used)
    shown = f"{', '.join(used)} (for {name})" if stand_in else f"{name} ({', '.join(used)})"
    seeds = own.group_by("condition", maintain_order=True).len()["len"].to_list()
    count = f"{len(seeds)} condition{'s' if len(seeds) > 1 else ''}"
    return f"{shown}, {count}, {style.seeds_text(seeds)}"


def _legend(figure: Figure) -> None:
    run = style.legend_dot("one run")
    mean = Line2D([], [], marker="_", linestyle="none", color=style.GREY, label="mean, 95 % interval")
    paper = style.legend_dot("paper's value", open_marker=True)
    claim = Line2D([], [], linestyle=":", color=style.BLACK, linewidth=1, label=f"E = {THRESHOLD_E}")
    style.legend_on_top(figure, [run, mean, paper, claim])
