"""Paper B: dead experts and evenness of use against E."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from moe_replication.figures import style
from moe_replication.figures.ecology_runs import (
    ecology_runs,
    paper_rows,
    reported_dead,
    set_look,
    set_order,
    set_title,
    share_text,
)
from moe_replication.figures.slots import LogSlots, log_slots
from moe_replication.figures.style import FigureInfo
from moe_replication.statistics.intervals import Interval, mean_interval
from moe_replication.statistics.studies import without_cross

MEASURES = ("dead_experts", "usage_entropy")
OUT = {
    "source": pl.String,
    "dataset": pl.String,
    "data_used": pl.String,
    "condition": pl.String,
    "seed": pl.Int64,
    "experts": pl.Int64,
    "control_number": pl.Float64,
    "measure": pl.String,
    "value": pl.Float64,
    "n": pl.Int64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "label": pl.String,
    "place": pl.String,
}
BIN_FACTOR = 1.25  # one bin of E to the next; an edge lies on the threshold
JITTER = 0.02  # half-width of a column of dots, as a share of the axis
NARROWEST = 0.45  # a data set with few values of E, as a share of the one with most


def dead_data(runs: pl.DataFrame, values: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """Columns of OUT: every run (`label` the paper's rows it belongs to), `bin` means, and the paper's cells.

    E has three decimals, as the paper quotes it: its 0.545 is 6/11 here.
    """
    found = without_cross(ecology_runs(runs, ("experts", "control_number", *MEASURES)))
    found = found.with_columns(pl.col("control_number").round(3), label=paper_rows().list.join(" "))
    long = found.unpivot(MEASURES, index=[name for name in found.columns if name not in MEASURES])
    long = long.rename({"variable": "measure"}).drop_nulls("value")
    own = long.with_columns(source=pl.lit("run"), label=pl.col("label").replace("", None))
    cells = reported_dead(values).filter(pl.col("dataset").is_in(long["dataset"].unique().to_list()))
    cells = cells.with_columns(source=pl.lit("paper"), data_used=pl.col("dataset"), measure=pl.lit("dead_experts"))
    both = pl.concat([_shaped(own), bins(long, threshold), _shaped(cells)])
    return both.sort("dataset", "measure", "source", "condition", "seed", "control_number", nulls_last=True)


def _shaped(rows: pl.DataFrame) -> pl.DataFrame:
    missing = [pl.lit(None).alias(name) for name in OUT if name not in rows.columns]
    return rows.with_columns(missing).select(list(OUT)).cast(OUT)


def bins(long: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """Mean by data set, measure and bin of E (zero and undefined are bins of their own), where two runs meet.

    It is the mean of the conditions' means; the t interval is over them, or over seeds where one condition is alone.
    """
    control = pl.col("control_number")
    steps = (control / threshold).log(BIN_FACTOR)  # -inf at zero
    keys = ["dataset", "measure", (steps + 1e-9).floor().alias("bin")]
    rows = []
    for (dataset, measure, _), group in long.group_by(keys, maintain_order=True):
        means = group.group_by("condition", maintain_order=True).agg(pl.col("value").mean())["value"]
        if group.height > 1:
            found = mean_interval(group["value"] if len(means) == 1 else means)
            row = {"source": "bin", "dataset": dataset, "measure": measure, "value": found.mean, "n": found.n}
            row |= {"control_number": _middle(group["control_number"]), "ci_low": found.low, "ci_high": found.high}
            rows.append(dict.fromkeys(OUT) | row)
    return pl.DataFrame(rows, schema=OUT)


def _middle(controls: pl.Series) -> float | None:
    """Geometric mean of the E of a bin; zero and undefined ones never share theirs."""
    return controls[0] if controls[0] in (None, 0.0) else math.exp(controls.log().mean())


def places(runs: pl.DataFrame, axis: LogSlots, threshold: float) -> list[float]:
    """Where the dots of one panel lie: runs with equal E and value side by side, never across the threshold."""
    found = np.empty(runs.height)
    for (control, _), group in runs.with_row_index("row").group_by("control_number", "value", maintain_order=True):
        width = JITTER
        if control and control != threshold:
            span = math.log(axis.limits[1] / axis.limits[0])
            width = min(JITTER, 0.8 * abs(math.log(control / threshold)) / span)
        shares = style.side_by_side(width, group.height)
        found[group["row"].to_numpy()] = [axis.aside(axis.place(control), share) for share in shares]
    return found.tolist()


def panel(ax: Axes, data: pl.DataFrame, axis: LogSlots, threshold: float) -> None:
    """One measure of one data set: every run, faint where its condition is not the paper's, means and paper's cells."""
    look = set_look(data["dataset"][0])
    runs = data.filter(pl.col("source") == "run")
    xs = np.array(places(runs, axis, threshold))
    ours = runs["label"].is_null().to_numpy()
    for chosen, strength in ((ours, 0.35), (~ours, 0.9)):
        dots = {"color": look.colour, "alpha": strength, "markersize": 3.2, "markeredgecolor": "white"}
        ax.plot(xs[chosen], runs["value"].to_numpy()[chosen], look.marker, markeredgewidth=0.3, **dots)
    for row in data.filter(pl.col("source") == "bin").iter_rows(named=True):
        mean = Interval(n=row["n"], mean=row["value"], sd=None, low=row["ci_low"], high=row["ci_high"])
        place = axis.aside(axis.place(row["control_number"]), 1.6 * JITTER)
        style.estimate_point(ax, place, mean, style.Look(colour=style.BLACK, marker="_"))
    for row in data.filter(pl.col("source") == "paper").iter_rows(named=True):
        style.paper_point(ax, axis.place(row["control_number"]), row["value"], look.marker)
    ax.axvline(threshold, color=style.BLACK, linestyle=":", linewidth=1)
    axis.dress(ax)
    ax.grid(False, axis="x")


def row_labels(ax: Axes, data: pl.DataFrame, axis: LogSlots) -> None:
    """The paper's rows at the top of their column of dots, one below the other."""
    named = data.filter(pl.col("source") == "run").drop_nulls("label")
    for (control,), group in named.group_by("control_number", maintain_order=True):
        names = sorted({name for label in group["label"] for name in label.split()})
        at = (axis.place(control), 0.985)
        clear = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        text = ax.text(*at, "\n".join(names), ha="center", va="top", fontsize=6, bbox=clear)
        text.set_transform(ax.get_xaxis_transform())


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-dead-vs-e: final dead experts and entropy of use against E, one column a data set."""
    threshold = info.analysis.rule_threshold
    with style.styled():
        data = dead_data(tables["runs"], info.paper_values, threshold)
        if data.filter(pl.col("source") == "run").is_empty():
            return style.save_empty(f"no runs of paper B at scale {info.scale}", OUT, out_base)
        sets = set_order(data["dataset"])
        figure, axes = style.panels(width=style.DOUBLE, height=4.6, rows=2, columns=len(sets), sharey="row")
        counts = [data.filter(pl.col("dataset") == name)["control_number"].n_unique() for name in sets]
        widths = [max(count / max(counts), NARROWEST) for count in counts]
        axes[0, 0].get_gridspec().set_width_ratios(widths)
        for column, name in enumerate(sets):
            _column(axes[:, column], data.filter(pl.col("dataset") == name), threshold)
        share = share_text(info.analysis.dead_share)
        axes[0, 0].set_ylabel(f"dead experts at the end\n(top-1 share < {share})")
        axes[1, 0].set_ylabel("entropy of use at the end\n(0 one expert, 1 even)")
        _limits(axes[:, 0], data)
        figure.supxlabel("control number E = T H / (O + B)", fontsize=8)
        _legend(figure, threshold)
        style.save(figure, data, out_base)


def _column(axes: np.ndarray, data: pl.DataFrame, threshold: float) -> None:
    runs = data.filter(pl.col("source") == "run")
    axis = log_slots(data.filter(pl.col("source") != "bin")["control_number"], guides=[threshold])
    for ax, measure in zip(axes, MEASURES, strict=True):
        here = data.filter(pl.col("measure") == measure)
        if here.is_empty():
            style.say(ax, "not recorded")
        else:
            panel(ax, here, axis, threshold)
    row_labels(axes[0], data, axis)
    seeds = runs.group_by("condition").agg(pl.col("seed").n_unique())["seed"].to_list()
    text = set_title(data["dataset"][0], runs["data_used"]).replace(" (", "\n(", 1).replace(", ", ",\n")
    kinds = f"{len(seeds)} condition{'s' if len(seeds) > 1 else ''}"
    axes[0].set_title(f"{text}\n{kinds}\n{style.seeds_text(seeds)}", loc="left", fontsize=7)


def _limits(axes: np.ndarray, data: pl.DataFrame) -> None:
    """Limits by the runs, not by wide intervals of two conditions; the top is kept free for the rows' names."""
    shown = data.filter((pl.col("measure") == "dead_experts") & (pl.col("source") != "bin"))["value"]
    top = max(shown.max() or 0.0, 4.0)
    axes[0].set_ylim(-0.07 * top, 1.45 * top)
    axes[0].yaxis.set_major_locator(MaxNLocator(integer=True))
    axes[1].set_ylim(-0.04, 1.06)


def _legend(figure: Figure, threshold: float) -> None:
    ours = style.legend_dot("one run, condition of ours", size=3.2)
    ours.set_alpha(0.35)
    handles = [
        style.legend_dot("one run, the paper's condition", size=3.2),
        ours,
        Line2D([], [], marker="_", linestyle="none", color=style.BLACK, label="mean of a bin of E, 95 % interval"),
        style.legend_dot("paper's value", open_marker=True),
        Line2D([], [], linestyle=":", color=style.BLACK, linewidth=1, label=f"E = {threshold:g}"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
