"""Paper B: do dead experts come back, and do tiers collapse on the hard task?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from moe_replication.figures import style
from moe_replication.figures.ecology_runs import share_text
from moe_replication.figures.epochs import POINT, course, course_legend, over_epochs, seeds_of, whole_epochs
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import ECOLOGY
from moe_replication.statistics.collect import KEYS
from moe_replication.statistics.trajectories import census_rows, dead_course, with_tiers

# Condition of a panel -> the one it is drawn over (no table names it): ablations, the threshold, warm-up.
AGAINST = {
    "v6-no-balance": "v6",
    "v6-no-divergence": "v6",
    "v6-no-annealing": "v6",
    "v6-no-entropy": "v6",
    "v6-no-prototypes": "v6",
    "v3-e0.30": "v3-e0.545",
    "v5-random-warmup": "v3-e0.545",
    "v5-annealing": "v3-e0.545",
    "v5-both": "v3-e0.545",
}
FIRST, SECOND = style.Look(colour=style.VERMILION, marker="D"), style.Look(colour=style.BLUE, marker="o")
DEAD, PEAK = "dead_experts_by_epoch", "dead_experts_peak"
TIERED = ("v6", "v6-no-balance", "v7-e1.0", "v8-32-experts", "x1-4444", "x1-flat")
COLLAPSE = {"starved_tiers": "starved tiers", "smallest_relative_share": "least used tier:\nshare / fair share"}
CROSSED = {"marker": "x", "markersize": 5.5, "linestyle": "none", "color": style.VERMILION, "zorder": 4}


def revival_data(runs: pl.DataFrame, curves: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """Dead experts by epoch of the conditions of AGAINST that ran, and the paper's points that they reach (POINT).

    A peak of the paper has no epoch; it is there where the condition's runs reach the epoch of recovery.
    """
    census = census_rows(_paper_b(runs), _paper_b(curves))
    present = [name for name in AGAINST if name in census["condition"]]
    shown = [*present, *(AGAINST[name] for name in present)]
    data = over_epochs(census.filter(pl.col("condition").is_in(shown)), ["dead_experts"])
    reached = _reached(data, values, DEAD)
    peaks = values.filter((pl.col("metric") == PEAK) & pl.col("condition").is_in(reached["condition"].to_list()))
    return pl.concat([data, reached, _as_points(peaks)])


def _paper_b(table: pl.DataFrame) -> pl.DataFrame:
    return table.filter(pl.col("paper") == ECOLOGY)


def _reached(data: pl.DataFrame, values: pl.DataFrame, metric: str) -> pl.DataFrame:
    """The paper's values of a metric, as POINT, whose epochs the same condition's runs reach."""
    last = data.group_by("condition", maintain_order=True).agg(last=pl.col("epoch").max())
    found = values.filter(pl.col("metric") == metric).join(last, on="condition", maintain_order="left")
    return _as_points(found.filter(pl.col("epoch") <= pl.col("last")))


def _as_points(values: pl.DataFrame) -> pl.DataFrame:
    points = values.select("condition", "value", "place", kind=pl.lit("paper"), series="metric", epoch="epoch")
    empty = pl.DataFrame(schema=POINT)
    return pl.concat([empty, points], how="diagonal_relaxed").select(list(POINT))


def revival_panel(ax: Axes, data: pl.DataFrame, condition: str, used: str) -> None:
    """One condition, on the data set `used`, and the one it is compared with.

    The paper's points are open; its peaks, whose epoch nobody gives, are dotted lines.
    """
    other, across = AGAINST[condition], ax.get_yaxis_transform()
    for name, look in ((other, SECOND), (condition, FIRST)):
        course(ax, data, name, look)
        paper = data.filter((pl.col("kind") == "paper") & (pl.col("condition") == name))
        for series, epoch, value in paper.select("series", "epoch", "value").iter_rows():
            if series == PEAK:
                style.paper_line(ax, value, "paper's peak")
                ax.text(0.96, value, f"paper's peak of {name}", transform=across, ha="right", va="bottom", fontsize=5.5)
            else:
                style.paper_point(ax, epoch, value, look.marker)
    against = f"against {other}, {seeds_of(data, other)}" if other in data["condition"] else f"{other} did not run"
    ax.set_title(f"{condition}, {seeds_of(data, condition)}\n{against} ({used})", loc="left", fontsize=6.8)
    whole_epochs(ax)


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-revival: dead experts over the epochs, each ablation, warm-up and lower E against its baseline."""
    with style.styled():
        data = revival_data(tables["runs"], tables["curves"], info.paper_values)
        names = [name for name in AGAINST if name in data["condition"]]
        if not names:
            message = f"no ablation, warm-up or lower E of paper B at scale {info.scale}"
            return style.save_empty(message, list(POINT), out_base)
        used = dict(_paper_b(tables["runs"]).select("condition", "dataset").iter_rows())
        figure, axes = style.grid(len(names), columns=3, panel_height=1.6, header=0.7, sharey=True)
        for ax, name in zip(axes.flat, names, strict=False):
            revival_panel(ax, data, name, used[name])
        axes[0, 0].yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axes[0, 0].set_ylim(bottom=-0.07 * axes[0, 0].get_ylim()[1])
        figure.supylabel(f"dead experts (usage < {share_text(info.analysis.dead_share)})", fontsize=8)
        figure.supxlabel("epoch", fontsize=8)
        looks = {"named first": FIRST, "the one it is against": SECOND}
        lines = [Line2D([], [], color=look.colour, label=label) for label, look in looks.items()]
        paper = [style.legend_dot("paper", open_marker=True)] if "paper" in data["kind"] else []
        style.legend_on_top(figure, [*lines, *course_legend(), *paper])
        style.save(figure, data, out_base)


def collapse_data(tables: dict[str, pl.DataFrame], info: FigureInfo) -> pl.DataFrame:
    """Series of COLLAPSE by epoch for the conditions of TIERED, and the paper's third tier, over its fair share.

    Rows of kind `collapse` are each seed's values at the first epoch with collapse_share of its experts dead.
    """
    runs, curves = _paper_b(tables["runs"]), _paper_b(tables["curves"])
    census = with_tiers(census_rows(runs, curves), info.analysis).filter(pl.col("condition").is_in(TIERED))
    data = over_epochs(census, list(COLLAPSE))
    epochs = dead_course(census, info.analysis).select(*KEYS[1:], epoch="collapse_epoch")
    broken = data.filter(pl.col("kind") == "seed").join(epochs, on=["condition", "seed", "epoch"], how="semi")
    settings = runs.select("condition", "tiers").iter_rows()
    fair = {name: tiers[2] / sum(tiers) for name, tiers in settings if tiers and len(tiers) > 2}
    paper = _reached(data, info.paper_values, "tier_share_2")
    paper = paper.with_columns(
        pl.col("value") / pl.col("condition").replace_strict(fair, default=None, return_dtype=pl.Float64),
        series=pl.lit("smallest_relative_share"),
    )
    return pl.concat([data, broken.with_columns(kind=pl.lit("collapse")), paper])


def collapse_column(column: np.ndarray, data: pl.DataFrame, shape: str, starved_share: float) -> None:
    """Both series of COLLAPSE of one condition, whose tiers and data set `shape` names.

    Epochs of collapse are crossed, the paper's points open.
    """
    name = data["condition"][0]
    column[0].set_title(f"{name}, {seeds_of(data, name)}\n{shape}", loc="left", fontsize=6.8)
    for ax, series in zip(column, COLLAPSE, strict=True):
        rows = data.filter(pl.col("series") == series)
        course(ax, rows, name, SECOND)
        broken = rows.filter(pl.col("kind") == "collapse")
        ax.plot(broken["epoch"], broken["value"], **CROSSED)
        for epoch, value in rows.filter(pl.col("kind") == "paper").select("epoch", "value").iter_rows():
            style.paper_point(ax, epoch, value, SECOND.marker)
    column[1].axhline(starved_share, color=style.VERMILION, linestyle=":", linewidth=1)
    column[1].margins(x=0.08)
    whole_epochs(column[1])


def draw_collapse(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-collapse: starved tiers and the least used tier's share over the epochs on the hard task."""
    with style.styled():
        data = collapse_data(tables, info)
        names = [name for name in TIERED if name in data["condition"]]
        if not names:
            message = f"no runs of paper B on the hard task at scale {info.scale}"
            return style.save_empty(message, list(POINT), out_base)
        settings = _paper_b(tables["runs"]).select("condition", "tiers", "dataset").iter_rows()
        shapes = {name: f"{':'.join(map(str, tiers))}, {used}" for name, tiers, used in settings if name in names}
        shape = {"width": style.DOUBLE, "height": 3.5, "rows": len(COLLAPSE), "columns": len(names)}
        figure, axes = style.panels(**shape, sharex="col", sharey="row")
        for name, column in zip(names, axes.T, strict=True):
            collapse_column(column, data.filter(pl.col("condition") == name), shapes[name], info.analysis.starved_share)
        for ax, label in zip(axes[:, 0], COLLAPSE.values(), strict=True):
            ax.set_ylabel(label)
            ax.set_ylim(bottom=-0.07 * ax.get_ylim()[1])
        axes[0, 0].yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        figure.supxlabel("epoch", fontsize=8)
        limit = f"starved: below {info.analysis.starved_share:g} of the fair share"
        broken = f"collapse: first epoch with {share_text(info.analysis.collapse_share)} of the experts dead"
        handles = [*course_legend(), Line2D([], [], color=style.VERMILION, linestyle=":", label=limit)]
        handles.append(Line2D([], [], **CROSSED, label=broken))
        if "paper" in data["kind"]:
            handles.append(style.legend_dot("paper's third tier", open_marker=True))
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
        style.save(figure, data, out_base)
