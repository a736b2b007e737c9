"""Paper B: ecology and accuracy over the temperature at evaluation."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from moe_replication.figures import style
from moe_replication.figures.ecology import tier_colour
from moe_replication.figures.ecology_runs import ecology_runs, set_title, with_means
from moe_replication.figures.pieces import band
from moe_replication.figures.slots import round_marks
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import ECOLOGY
from moe_replication.statistics.studies import of_row

ROW = "X2"
PROBE = "probe-temperature"
SCALARS = ("accuracy", "active_experts", "active_by_mass", "hard_sample_gradient")
LISTS = ("tier_shares", "mass_tier_shares")
# A panel each: its name, and what it shows. T moves gates but not which is largest, so by top-1 nothing can move.
PANELS = {
    "test accuracy": ("accuracy",),
    "active experts\nby gate mass": ("active_experts", "active_by_mass"),
    "tiers' shares\nof the gate mass": LISTS,
    "gradient, hardest tenth\nover all samples": ("hard_sample_gradient",),
}
CONTROLS = ("active_experts", "tier_shares")
KEYS = ("condition", "dataset", "data_used", "trained_at", "temperature", "tier")
OUT = ("source", *KEYS, "seed", "measure", "value", "n", "ci_low", "ci_high")


def scan_data(probe: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """Columns of OUT: every seed and the mean over seeds of each measure by condition of row X2 and temperature.

    `trained_at` is the temperature of training (its end, where it was annealed); `tier` is null but for tier shares.
    """
    trained = of_row(ecology_runs(runs, ("temperature",)), ROW).rename({"temperature": "trained_at"})
    scans = probe.filter(pl.col("paper") == ECOLOGY)
    if scans.is_empty() or trained.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(OUT, pl.String))
    names = ["condition", "seed", "dataset", "data_used", "trained_at"]
    scans = scans.join(trained.select(names), on=["condition", "seed"], maintain_order="left")
    whole = scans.with_columns(tier=pl.lit(None, pl.Int64))
    tiers = scans.with_columns(tier=pl.int_ranges(pl.col(LISTS[0]).list.len())).explode("tier", *LISTS)
    both = pl.concat([with_means(whole, KEYS, SCALARS), with_means(tiers, KEYS, LISTS)])
    return both.select(OUT).sort("condition", "measure", "source", "tier", "seed", "temperature")


def panel(ax: Axes, data: pl.DataFrame) -> None:
    """The measures of one panel and condition: every seed faint, the mean with its band, a colour a tier.

    CONTROLS are dotted, without a band.
    """
    for (measure, tier), rows in data.group_by("measure", "tier", maintain_order=True):
        control = measure in CONTROLS
        colour = style.BLACK if tier is None else tier_colour(tier)
        options = {"color": colour, "linestyle": ":" if control else "-"}
        for _, seed in rows.filter(pl.col("source") == "run").group_by("seed", maintain_order=True):
            dots = {"marker": ".", "markersize": 2.5, "linewidth": 0.6, "alpha": 0.55}
            ax.plot(seed["temperature"], seed["value"], **options | dots)
        mean = rows.filter(pl.col("source") == "mean").sort("temperature")
        ax.plot(mean["temperature"], mean["value"], **options, linewidth=1.4, zorder=3)
        if control:  # flat by construction: its band would only hide the others
            continue
        band(ax, mean, "temperature", colour, 0.12)
    ax.axvline(data["trained_at"][0], color=style.BLACK, linestyle="--", linewidth=0.8, zorder=1)
    ax.set_xscale("log")
    marks = round_marks(data["temperature"].min(), data["temperature"].max())
    ax.set_xticks(marks, [f"{mark:g}" for mark in marks], fontsize=6.5)
    ax.xaxis.set_minor_locator(NullLocator())


def _limits(ax: Axes, measures: tuple[str, ...], data: pl.DataFrame) -> None:
    """By the seeds, since the band of two seeds may be far wider."""
    values = data.filter(pl.col("source") == "run")["value"]
    if measures == LISTS:
        ax.set_ylim(0, 1)
    elif "active_experts" in measures:
        ax.set_ylim(0, 1.1 * values.max())
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        margin = max(0.35 * (values.max() - values.min()), 0.02 * abs(values.max()))
        ax.set_ylim(values.min() - margin, values.max() + margin)


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-temperature-scan: accuracy, active experts, tier shares and gradient over the temperature at evaluation."""
    with style.styled():
        data = scan_data(tables[PROBE], tables["runs"])
        if data.is_empty():
            message = f"no scans of the evaluation temperature at scale {info.scale}"
            return style.save_empty(message, OUT, out_base)
        names = data["condition"].unique().sort().to_list()
        size = {"height": 0.8 + 1.75 * len(names), "rows": len(names), "columns": len(PANELS)}
        figure, axes = style.panels(width=style.DOUBLE, sharex=True, **size)
        for row, name in enumerate(names):
            scan = data.filter(pl.col("condition") == name)
            for ax, (label, measures) in zip(axes[row], PANELS.items(), strict=True):
                here = scan.filter(pl.col("measure").is_in(measures))
                if here.is_empty():
                    style.say(ax, "not recorded")
                    continue
                panel(ax, here)
                _limits(ax, measures, here)
                ax.set_ylabel(label, fontsize=7)
            seeds = style.seeds_text(scan.filter(pl.col("source") == "mean")["n"].to_list())
            text = f"{name}, {set_title(scan['dataset'][0], scan['data_used'])}, {seeds}"
            axes[row, 0].set_title(text, loc="left")
        figure.supxlabel("temperature T at evaluation (log scale)", fontsize=8)
        tiers = data["tier"].drop_nulls().unique().sort()
        handles = [Line2D([], [], color=tier_colour(tier), label=f"tier {tier}") for tier in tiers]
        handles += [
            Line2D([], [], color=style.BLACK, label="mean, 95 % band"),
            Line2D([], [], color=style.BLACK, linestyle=":", label="by top-1 routing"),
            Line2D([], [], color=style.BLACK, marker=".", markersize=2.5, linewidth=0.6, alpha=0.55, label="one seed"),
            Line2D([], [], color=style.BLACK, linestyle="--", linewidth=0.8, label="T of training"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=4)
        style.save(figure, data, out_base)
