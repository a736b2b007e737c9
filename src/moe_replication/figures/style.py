"""One look for every figure: sizes, colours, markers, intervals, and files that regenerate byte for byte."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from moe_replication.config.analysis import AnalysisSettings
from moe_replication.files import atomic_path
from moe_replication.statistics.intervals import Interval, mean_interval

COLUMN, DOUBLE = 3.4, 7.0  # inches: one and two columns of a page

# Okabe and Ito (2008), told apart with every common colour blindness; yellow is too faint for lines.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#777777"
FAINT = "#e4e4e4"  # lines that only guide the eye

RC = {
    "figure.dpi": 200,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "pdf.fonttype": 42,
}
OPEN = {"markerfacecolor": "none", "markeredgecolor": BLACK, "markeredgewidth": 0.9}  # the paper's own numbers
PAPER_LINE = OPEN | {"color": BLACK, "linestyle": ":", "linewidth": 1, "marker": "o", "markersize": 5}
DOT = {"o": 3.6, "s": 3.4, "D": 3.4}  # points; markers with corners look smaller at one size
PNG_METADATA = {"Software": None}
PDF_METADATA = {"Creator": None, "Producer": None, "CreationDate": None, "ModDate": None}


@dataclass(frozen=True, kw_only=True)
class Look:
    """How one condition or data set is drawn everywhere."""

    colour: str
    marker: str
    line: str = "-"


@dataclass(frozen=True, kw_only=True)
class FigureInfo:
    """What a figure knows besides its tables; `paper_values` as read by figures.paper_values."""

    scale: str
    analysis: AnalysisSettings
    paper_values: pl.DataFrame


def _looks(colour: str, rows: dict[str, tuple[str, str]]) -> dict[str, Look]:
    return {name: Look(colour=colour, marker=marker, line=line) for name, (marker, line) in rows.items()}


# In the order of legends. A family keeps its colour; within it no two conditions share marker and line.
CONDITION_LOOKS = {
    **_looks(BLACK, {"dense": ("s", "-"), "dense-wide": ("s", "--")}),
    **_looks(BLUE, {"tc": ("o", "-")}),
    **_looks(SKY, {"tc-aux": ("o", "--"), "tc-aux-global": ("h", "-")}),
    **_looks(PURPLE, {"tc-loss-free": ("o", "-.")}),
    **_looks(ORANGE, {"ec-sequence": ("^", "--"), "ec-8k": ("<", "-.")}),
    **_looks(VERMILION, {"ec-64k": (">", ":"), "ec-batch": ("^", "-"), "ec-no-shared": ("v", "--")}),
    **_looks(
        GREEN,
        {
            "et": ("D", "-"),
            "et-no-warmup": ("d", "--"),
            "et-no-warmup-corrected": ("d", ":"),
            "et-no-shared": ("P", "-."),
            "et-no-warmup-no-shared": ("X", ":"),
            "et-normalized": ("p", "--"),
            "et-fallback": ("*", "-."),
            "et-beta-0.99": ("<", "--"),
            "et-beta-0.9999": (">", ":"),
            "et-warmup-1000": ("<", "-."),
            "et-warmup-8000": (">", "-."),
            "et-capacity-0.25": ("v", "--"),
            "et-capacity-1.0": ("^", ":"),
        },
    ),
    **_looks(SKY, {"tc-aux-concat": ("s", ":"), "tc-aux-adamw": ("^", "-.")}),
    **_looks(VERMILION, {"ec-concat": ("s", ":"), "ec-adamw": ("D", "-.")}),
    **_looks(GREEN, {"et-concat": ("s", ":"), "et-adamw": ("o", "-.")}),
    **_looks(BLACK, {"dense-released": ("v", ":")}),
    **_looks(SKY, {"tc-aux-released": ("v", ":")}),
    **_looks(GREEN, {"et-released": ("v", ":")}),
    **_looks(BLACK, {"d20-dense": ("P", "-")}),
    **_looks(SKY, {"d20-tc-aux": ("P", "--")}),
    **_looks(VERMILION, {"d20-ec": ("P", "-")}),
    **_looks(GREEN, {"d20-et": ("P", "-")}),
    **_looks(BLACK, {"dense-rates-half": ("v", "-."), "dense-rates-double": ("^", "-.")}),
    **_looks(SKY, {"tc-aux-rates-half": ("v", "-."), "tc-aux-rates-double": ("^", ":")}),
    **_looks(VERMILION, {"ec-batch-rates-half": ("v", "-."), "ec-batch-rates-double": ("^", ":")}),
    **_looks(GREEN, {"et-rates-half": ("h", "-."), "et-rates-double": ("h", ":")}),
    **_looks(BLACK, {"d6-dense": ("X", "--")}),
    **_looks(SKY, {"d6-tc-aux": ("X", "--")}),
    **_looks(VERMILION, {"d6-ec": ("X", "--")}),
    **_looks(GREEN, {"d6-et": ("X", "--")}),
    **_looks(BLUE, {"cross-tc-none": ("s", ":"), "cross-tc-e0.30": ("v", "--")}),
    **_looks(BLUE, {"cross-tc-e0.545": ("^", "-."), "cross-tc-e1.0": ("P", ":")}),
}
RULE_LOOKS = {
    "dense": CONDITION_LOOKS["dense"],
    "token_choice": CONDITION_LOOKS["tc"],
    "expert_choice": CONDITION_LOOKS["ec-batch"],
    "expert_threshold": CONDITION_LOOKS["et"],
}


def styled() -> AbstractContextManager[None]:
    """Context in which figures are made and saved; leaves matplotlib's own settings as they were."""
    return matplotlib.rc_context(RC)


def panels(
    *, width: float, height: float, rows: int = 1, columns: int = 1, **options: bool | str
) -> tuple[Figure, np.ndarray]:
    """A figure of `width` x `height` inches and its axes, (rows, columns); `options` share axes."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def grid(
    count: int, *, columns: int, panel_height: float, header: float = 0.3, **options: bool
) -> tuple[Figure, np.ndarray]:
    """Small multiples for `count` panels, at most `columns` wide; axes beyond `count` stay blank."""
    columns = min(columns, count)
    rows = -(-count // columns)
    width = COLUMN if columns == 1 else DOUBLE
    height = header + panel_height * rows
    figure, axes = panels(width=width, height=height, rows=rows, columns=columns, **options)
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    return figure, axes


def save(figure: Figure, data: pl.DataFrame, out_base: Path | str) -> None:
    """Write out_base.png, .pdf and .csv (the numbers drawn), each atomically and without dates."""
    base = Path(out_base)
    for kind, metadata in (("png", PNG_METADATA), ("pdf", PDF_METADATA)):
        with atomic_path(base.with_name(f"{base.name}.{kind}")) as temporary:
            figure.savefig(temporary, format=kind, metadata=metadata)
    with atomic_path(base.with_name(f"{base.name}.csv")) as temporary:
        data.write_csv(temporary)


def save_empty(message: str, columns: Sequence[str], out_base: Path | str) -> None:
    """A panel that says why there is nothing to draw, and a CSV with its header only."""
    figure, axes = panels(width=COLUMN, height=1.4)
    say(axes[0, 0], message)
    save(figure, pl.DataFrame(schema=dict.fromkeys(columns, pl.String)), out_base)


def say(ax: Axes, message: str) -> None:
    """A sentence in place of a panel."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, message, ha="center", va="center", wrap=True, transform=ax.transAxes)


def condition_order(data: pl.DataFrame) -> list[str]:
    """Conditions of `data` in the order of legends: the listed ones first, then by name."""
    listed = list(CONDITION_LOOKS)
    rank = {name: number for number, name in enumerate(listed)}
    return sorted(data["condition"].unique(), key=lambda name: (rank.get(name, len(listed)), name))


def condition_look(condition: str, rule: str | None) -> Look:
    """The fixed look of a condition; an unlisted one takes its rule's colour and a line style of its own."""
    if condition in CONDITION_LOOKS:
        return CONDITION_LOOKS[condition]
    family = RULE_LOOKS.get(rule or "", Look(colour=GREY, marker="v"))
    line = (":", "--", "-.")[zlib.crc32(condition.encode()) % 3]
    return Look(colour=family.colour, marker=family.marker, line=line)


def seeds_text(counts: Sequence[int]) -> str:
    """How many seeds stand behind something: `n = 3`, or `n = 2 to 3`."""
    low, high = min(counts), max(counts)
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def condition_label(title: str, counts: Sequence[int]) -> str:
    """A title with its number of seeds."""
    return f"{title} ({seeds_text(counts)})"


def half_width(estimate: Interval) -> float | None:
    """Half-width of an interval, None at n = 1."""
    return None if estimate.high is None else estimate.high - estimate.mean


def side_by_side(half: float, count: int) -> np.ndarray:
    """Distances from a place at which `count` marks lie evenly across, none further than `half`."""
    return np.linspace(-half, half, count) if count > 1 else np.zeros(count)


def seed_points(
    ax: Axes, position: float, values: Sequence[float], look: Look, *, horizontal: bool = False, jitter: float = 0.0
) -> None:
    """Every seed as a dot on top of mean and 95 % t interval; `jitter` spreads the dots evenly across."""
    bar = {"marker": "|" if horizontal else "_", "markersize": 9, "markeredgewidth": 1.6}
    _bar(ax, position, mean_interval(values), horizontal, color=look.colour, **bar)
    across = position + side_by_side(jitter, len(values))
    xs, ys = (values, across) if horizontal else (across, values)
    size = DOT.get(look.marker, 4.4)
    dots = {"color": look.colour, "markersize": size, "markeredgecolor": "white", "markeredgewidth": 0.5}
    ax.plot(xs, ys, look.marker, zorder=4, **dots)


def estimate_point(ax: Axes, position: float, estimate: Interval, look: Look) -> None:
    """A mean with its 95 % interval, without the values behind it; no interval at n = 1."""
    _bar(ax, position, estimate, False, color=look.colour, marker=look.marker, markersize=5)


def _bar(ax: Axes, position: float, estimate: Interval, horizontal: bool, **options: object) -> None:
    half = half_width(estimate)
    error = None if half is None else [[half], [half]]
    x, y = (estimate.mean, position) if horizontal else (position, estimate.mean)
    ends = {"xerr" if horizontal else "yerr": error}
    ax.errorbar(x, y, **ends, elinewidth=1.2, capsize=2.5, zorder=3, **options)


def paper_line(ax: Axes, value: float, label: str) -> None:
    """A value that the paper reports for the whole panel: a dotted black line that ends in an open marker."""
    across = ax.get_yaxis_transform()
    ax.plot([0, 0.97], [value, value], **PAPER_LINE, markevery=[1], transform=across, label=label, zorder=2)


def legend_paper_line(label: str) -> Line2D:
    """A legend entry for paper_line."""
    return Line2D([], [], **PAPER_LINE, label=label)


def paper_point(ax: Axes, x: float, y: float, marker: str) -> None:
    """A value that the paper reports, always an open black marker."""
    ax.plot(x, y, marker, **OPEN, markersize=6.5, linestyle="none", zorder=5)


def legend_on_top(figure: Figure, handles: Sequence[Artist]) -> None:
    """One legend above all panels, in as many columns as the width holds."""
    for columns in range(len(handles) if figure.get_figwidth() > COLUMN else 2, 0, -1):
        legend = figure.legend(handles=list(handles), loc="outside upper center", ncols=columns)
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def legend_dot(label: str, *, size: float = 4.5, open_marker: bool = False) -> Line2D:
    """A legend entry for dots of any colour: grey, or an open black marker for the paper's values."""
    face, edge = ("none", BLACK) if open_marker else (GREY, GREY)
    dot = {"marker": "o", "markersize": size, "markerfacecolor": face, "markeredgecolor": edge}
    return Line2D([], [], linestyle="none", label=label, **dot)


def legend_mean(*, horizontal: bool = False) -> Line2D:
    """A legend entry for the bars of seed_points."""
    marker = "|" if horizontal else "_"
    return Line2D([], [], marker=marker, linestyle="none", color=GREY, label="mean, 95 % interval")


def panel_letter(ax: Axes, letter: str, title: str) -> None:
    """Left-aligned panel title `(a) title`."""
    ax.set_title(f"({letter}) {title}", loc="left")
