"""Quantities over training: means with intervals over seeds per condition, and lines with bands."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from moe_replication.figures import style
from moe_replication.figures.pieces import band
from moe_replication.figures.tables import THRESHOLD, complete_band, of_paper

NAMES = ("condition", "title", "rule")
BAND = (*NAMES, "series", "step", "n", "mean", "ci_low", "ci_high")
MARKERS = 8  # on a line, about
LATE = 1 / 3  # share of training that a view of its later part leaves out


def smoothed(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """`column` as an exponential mean over a twentieth of each run's logged rows; rows sorted by run and step."""
    span = max(1.0, rows.group_by("condition", "seed", maintain_order=True).len()["len"].median() / 20)
    smooth = pl.col(column).ewm_mean(span=span, ignore_nulls=True).over("condition", "seed")
    return rows.with_columns(pl.when(pl.col(column).is_not_null()).then(smooth).alias(column))


def step_bands(
    runs: pl.DataFrame,
    curves: pl.DataFrame,
    conditions: Sequence[str],
    series: Sequence[str],
    smooth: Sequence[str] = (),
) -> pl.DataFrame:
    """Mean with 95 % t interval over seeds of each column of `series` per condition and step (columns of BAND).

    Columns named in `smooth` are smoothed within each run first. Steps that not every seed has are left out.
    """
    rows = of_paper(curves, THRESHOLD, ("condition", "seed", "step", *series))
    rows = rows.filter(pl.col("condition").is_in(list(conditions))).sort("condition", "seed", "step")
    if rows.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(BAND, pl.String))
    for column in smooth:
        rows = smoothed(rows, column)
    bands = [complete_band(rows, ["condition"], "step", name).with_columns(series=pl.lit(name)) for name in series]
    names = of_paper(runs, THRESHOLD, NAMES).unique("condition", keep="first", maintain_order=True)
    return pl.concat(bands).join(names, on="condition", how="left", maintain_order="left").select(BAND)


def lines(ax: Axes, bands: pl.DataFrame, order: Sequence[str], along: str = "step", *, markers: bool = True) -> None:
    """One line with band per condition of `order`; the label holds title and number of seeds."""
    for number, condition in enumerate(order):
        rows = bands.filter(pl.col("condition") == condition)
        if rows.is_empty():
            continue
        look = style.condition_look(condition, rows["rule"][0])
        label = style.condition_label(rows["title"][0] or condition, rows["n"].to_list())
        dots = {"marker": look.marker, "markersize": 3, "markevery": spread(rows.height, number)} if markers else {}
        ax.plot(rows[along], rows["mean"], look.line, color=look.colour, label=label, **dots)
        band(ax, rows, along, look.colour, 0.15)


def spread(points: int, number: int) -> tuple[int, int]:
    """First point and stride of about MARKERS markers; lines of another `number` carry theirs elsewhere."""
    stride = max(1, points // MARKERS)
    return number * max(1, stride // 4) % stride, stride


def show_late(ax: Axes, rows: pl.DataFrame, along: str, *, below: float = 0.08, late: float = LATE) -> bool:
    """Limit the view to training after its first `late` share, where curves part; False where points are too few.

    `below` is the room left under the curves, as a share of their height.
    """
    last = rows[along].max()
    shown = rows.filter(pl.col(along) >= last * late)
    if shown[along].n_unique() <= 3:
        return False
    low, high = shown["mean"].min(), shown["mean"].max()
    ax.set_ylim(low - below * (high - low), high + 0.03 * (high - low))
    ax.set_xlim(last * late, last * 1.02)
    return True


def step_axis(ax: Axes) -> None:
    """Whole training steps along the bottom."""
    ax.set_xlabel("training step")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def warmup_end(curves: pl.DataFrame, conditions: Sequence[str]) -> int | None:
    """First logged step after the warm-up of these conditions; None when none warms up or it was not logged."""
    rows = of_paper(curves, THRESHOLD, ("condition", "step", "warming_up"))
    rows = rows.filter(pl.col("condition").is_in(list(conditions))).drop_nulls("warming_up")
    warm = rows.filter(pl.col("warming_up") > 0)["step"].max()
    return None if warm is None else rows.filter(pl.col("step") > warm)["step"].min()


def mark_warmup(ax: Axes, step: int | None) -> None:
    """A grey line where the warm-up ends."""
    if step is not None:
        ax.axvline(step, color=style.GREY, linewidth=0.9, linestyle=(0, (1, 1)), label="warm-up ends", zorder=1)
