"""Paper B: one factor of E moved alone, and a fine grid of E around the rule's threshold."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from moe_replication.figures import style
from moe_replication.figures.ecology_runs import ecology_runs, reported_dead, set_title, share_text, with_means
from moe_replication.figures.slots import log_slots
from moe_replication.figures.style import FigureInfo
from moe_replication.statistics.intervals import clopper_pearson
from moe_replication.statistics.studies import FACTORS, meets, of_row

LETTERS = dict(zip("thob", FACTORS, strict=True))
LABELS = {
    "temperature": "temperature T",
    "entropy_weight": "weight of the entropy H",
    "oracle_weight": "weight of the oracle O",
    "balance_weight": "weight of the balance B",
}
KEYS = ("moved", "moved_to", "condition", "dataset", "data_used", "control_number")
MEASURES = ("dead_experts", "usage_entropy")
OUT = ("source", *KEYS, "seed", "measure", "value", "n", "ci_low", "ci_high")
SIDES = {"E >= {:g}": style.BLUE, "E < {:g}": style.ORANGE, "E undefined": style.GREY}
GRIDS = {"b": style.Look(colour=style.VERMILION, marker="^"), "h": style.Look(colour=style.BLUE, marker="o")}


def family(runs: pl.DataFrame, row: str, prefix: str, letters: str) -> pl.DataFrame:
    """Runs of `row` by the factor that moves: conditions {prefix}-{letter}-*, and the default point in every factor.

    Columns moved (the factor) and moved_to are added; the default is the row's condition of another name.
    """
    found = of_row(ecology_runs(runs, ("control_number", *FACTORS, *MEASURES)), row)
    default = ~pl.col("condition").str.starts_with(f"{prefix}-")
    parts = []
    for letter in letters:
        here = found.filter(default | pl.col("condition").str.starts_with(f"{prefix}-{letter}-"))
        value = pl.col(LETTERS[letter]).cast(pl.Float64)
        parts.append(here.with_columns(moved=pl.lit(LETTERS[letter]), moved_to=value))
    moved = pl.concat(parts)
    return moved.filter((~default).any().over("moved"))


def line_data(runs: pl.DataFrame) -> pl.DataFrame:
    """Columns of OUT: every run and the mean over seeds of each measure along T, H, O and B."""
    long = with_means(family(runs, "LINES", "line", "thob"), KEYS, MEASURES)
    return long.select(OUT).sort("moved", "measure", "source", "moved_to", "seed")


def line_panel(ax: Axes, data: pl.DataFrame, values: pl.Series, threshold: float) -> None:
    """One measure along one factor: every run, means with intervals in the colour of E's side, joined by a line."""
    axis = log_slots(values, most=8)
    runs = data.filter(pl.col("source") == "run")
    points = runs.group_by("moved_to", maintain_order=True).agg("value", pl.col("control_number").first())
    points = points.sort("moved_to")
    xs = [axis.place(value) for value in points["moved_to"]]
    ax.plot(xs, points["value"].list.mean(), color=style.GREY, linewidth=0.8, zorder=2)
    for x, (_, found, control) in zip(xs, points.iter_rows(), strict=True):
        look = style.Look(colour=side_colour(control, threshold), marker="o")
        style.seed_points(ax, x, found, look, jitter=axis.aside(x, 0.02) - x)
    axis.dress(ax)
    ax.grid(False, axis="x")


def side_colour(control: float | None, threshold: float) -> str:
    """The colour of a run by the side of the rule that its E lies on."""
    above, below, neither = SIDES.values()
    if control is None:
        return neither
    return above if meets(control, threshold) else below


def control_axis(ax: Axes, data: pl.DataFrame) -> None:
    """The E of every point, written above the panel."""
    axis = log_slots(data["moved_to"])
    points = data.unique("moved_to").sort("moved_to").select("moved_to", "control_number")
    top = ax.secondary_xaxis("top")
    # Without the leading zero, as the paper writes them: three digits would run into each other.
    texts = ("-" if control is None else f"{control:.3g}" for control in points["control_number"])
    labels = [text.removeprefix("0") or "0" for text in texts]
    top.set_xticks([axis.place(value) for value in points["moved_to"]], labels)
    top.tick_params(labelsize=6, length=2, pad=1)
    top.minorticks_off()
    top.set_xlabel("E", fontsize=7, labelpad=2)


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-lines: dead experts and entropy of use against each of T, H, O and B, the others at their defaults."""
    threshold = info.analysis.rule_threshold
    with style.styled():
        data = line_data(tables["runs"])
        if data.is_empty():
            message = f"no runs with one factor of E moved at scale {info.scale}"
            return style.save_empty(message, OUT, out_base)
        names = [name for name in FACTORS if name in data["moved"].unique()]
        figure, axes = style.panels(width=style.DOUBLE, height=4.2, rows=2, columns=len(names), sharey="row")
        for column, name in enumerate(names):
            moved = data.filter(pl.col("moved") == name)
            for ax, measure in zip(axes[:, column], MEASURES, strict=True):
                here = moved.filter(pl.col("measure") == measure)
                line_panel(ax, here, moved["moved_to"], threshold)
                ax.tick_params(axis="x", labelsize=5.5)
            control_axis(axes[0, column], moved)
            axes[1, column].set_xlabel(LABELS[name])
            for value, at in _paper(info.paper_values, moved, "moved_to"):
                style.paper_point(axes[0, column], at, value, "o")
        _dead_axis(axes[0, 0], data, share_text(info.analysis.dead_share))
        axes[1, 0].set_ylabel("entropy of use at the end\n(0 one expert, 1 even)")
        axes[1, 0].set_ylim(-0.04, 1.06)
        used = set_title(data["dataset"][0], data["data_used"])
        figure.supxlabel(f"one factor moved, the others as at the default; {used}", fontsize=8)
        dots = {"marker": "o", "linestyle": "none"}
        handles = [Line2D([], [], color=colour, label=text.format(threshold), **dots) for text, colour in SIDES.items()]
        if not data["control_number"].null_count():
            handles.pop()
        mean = Line2D([], [], marker="_", color=style.GREY, label=f"mean, 95 % interval, {_seeds(data)}")
        style.legend_on_top(figure, [*handles, mean, style.legend_dot("paper's value", open_marker=True)])
        style.save(figure, data, out_base)


def _paper(values: pl.DataFrame, moved: pl.DataFrame, along: str) -> list[tuple[float, float]]:
    """The paper's dead experts at the default point, with the point's `along`."""
    default = moved.filter(~pl.col("condition").str.contains("^(line|grid)-")).unique("condition")
    default = default.select(pl.col("control_number").round(3), "dataset", at=along)
    cells = reported_dead(values).join(default, on=["dataset", "control_number"])
    return list(cells.select("value", "at").iter_rows())


def _dead_axis(ax: Axes, data: pl.DataFrame, share: str) -> None:
    """From below zero to above the highest run, whatever the intervals do."""
    top = max(data.filter((pl.col("measure") == "dead_experts") & (pl.col("source") == "run"))["value"].max(), 4.0)
    ax.set_ylim(-0.06 * top, 1.1 * top)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel(f"dead experts at the end\n(top-1 share < {share})")


def _seeds(data: pl.DataFrame) -> str:
    return style.seeds_text(data.filter(pl.col("source") == "mean")["n"].to_list())


def grid_data(runs: pl.DataFrame) -> pl.DataFrame:
    """Columns of OUT: dead experts of every run and means along the grid of E; `share` rows hold the share of runs
    with any dead expert and its Clopper-Pearson interval.
    """
    found = family(runs, "GRID", "grid", "bh").with_columns(pl.col("control_number").round(3))
    long = with_means(found, KEYS, ["dead_experts"])
    shares = []
    for keys, group in long.filter(pl.col("source") == "run").group_by(KEYS, maintain_order=True):
        events, n = int((group["value"] > 0).sum()), group.height
        low, high = clopper_pearson(events, n)
        share = {"source": "share", "measure": "any_dead", "value": events / n, "n": n, "ci_low": low, "ci_high": high}
        shares.append(dict(zip(KEYS, keys, strict=True)) | share)
    both = pl.concat([long, pl.DataFrame(shares)], how="diagonal_relaxed")
    return both.select(OUT).sort("moved", "source", "control_number", "seed")


def share_panel(ax: Axes, data: pl.DataFrame, look: style.Look) -> None:
    """Share of runs with any dead expert at each E, with its exact interval."""
    rows = data.filter(pl.col("source") == "share")
    error = [rows["value"] - rows["ci_low"], rows["ci_high"] - rows["value"]]
    options = {"color": look.colour, "elinewidth": 1.1, "capsize": 2.5, "linewidth": 0.8}
    ax.errorbar(rows["control_number"], rows["value"], error, marker=look.marker, **options)
    ax.set_ylim(-0.06, 1.06)


def count_panel(ax: Axes, data: pl.DataFrame, look: style.Look) -> None:
    """Dead experts of every run at each E, mean and interval."""
    for (control,), group in data.filter(pl.col("source") == "run").group_by("control_number", maintain_order=True):
        style.seed_points(ax, control, group["value"].to_list(), look, jitter=0.003)


def draw_grid(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-threshold-grid: dead experts in small steps of E around the rule's threshold, moved through B and through H."""
    threshold = info.analysis.rule_threshold
    with style.styled():
        data = grid_data(tables["runs"])
        if data.is_empty():
            message = f"no runs of the grid of E around {threshold:g} at scale {info.scale}"
            return style.save_empty(message, OUT, out_base)
        names = [LETTERS[letter] for letter in GRIDS if LETTERS[letter] in data["moved"].unique()]
        options = {"sharey": "row", "sharex": True}
        figure, axes = style.panels(width=style.DOUBLE, height=4.0, rows=2, columns=len(names), **options)
        for column, name in enumerate(names):
            moved = data.filter(pl.col("moved") == name)
            look = next(look for letter, look in GRIDS.items() if LETTERS[letter] == name)
            share_panel(axes[0, column], moved, look)
            count_panel(axes[1, column], moved, look)
            for value, control in _paper(info.paper_values, moved, "control_number"):
                style.paper_point(axes[1, column], control, value, look.marker)
            for ax in axes[:, column]:
                ax.axvline(threshold, color=style.BLACK, linestyle=":", linewidth=1, zorder=2)
            seeds = style.seeds_text(moved.filter(pl.col("source") == "share")["n"].to_list())
            title = f"E moved through the {LABELS[name]}"
            style.panel_letter(axes[0, column], "ab"[column], f"{title}, {seeds}")
        axes[0, 0].set_ylabel("share of runs\nwith a dead expert")
        _dead_axis(axes[1, 0], data, share_text(info.analysis.dead_share))
        used = set_title(data["dataset"][0], data["data_used"])
        figure.supxlabel(f"control number E = T H / (O + B), {used}", fontsize=8)
        rule = Line2D([], [], linestyle=":", color=style.BLACK, linewidth=1, label=f"the rule: E = {threshold:g}")
        bar = Line2D([], [], marker="_", color=style.GREY, label="share or mean, 95 % interval")
        run = style.legend_dot("below: one run", size=3.6)
        style.legend_on_top(figure, [rule, bar, run, style.legend_dot("paper's value", open_marker=True)])
        style.save(figure, data, out_base)
