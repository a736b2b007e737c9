"""The figures of docs/performance.md, in the look of the project's other figures."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from benchmarks import growth, layer, peers
from moe_replication.figures import style

LOOKS = {
    peers.OURS: style.Look(colour=style.GREEN, marker="D"),
    peers.LOOP: style.Look(colour=style.GREY, marker="v", line="--"),
    peers.PADDED: style.Look(colour=style.ORANGE, marker="s", line="-."),
    peers.HF_EAGER: style.Look(colour=style.BLUE, marker="o", line="--"),
    peers.HF_GROUPED: style.Look(colour=style.SKY, marker="o"),
    peers.DEEPSPEED: style.Look(colour=style.VERMILION, marker="^", line=":"),
    layer.DENSE: style.Look(colour=style.BLACK, marker="P", line=":"),
}
COLUMNS = ("case", "candidate", "seconds", "low", "high")


def draw_layer(rows: list[dict], base: Path) -> None:
    """Share of the matrix-product peak against tokens: balanced loads, a panel a dtype, width and number of experts."""
    timed = [row for row in rows if "seconds" in row and row["fan_out"] == layer.parity.FAN_OUTS[0]]
    if not timed:
        return style.save_empty("no case was timed", COLUMNS, base)
    panels = sorted({(row["dtype"], row["width"], row["experts"]) for row in timed}, key=_panel_order)
    figure, axes = style.grid(len(panels), columns=4, panel_height=1.5, header=0.7, sharex=True, sharey=True)
    for ax, (dtype, width, experts) in zip(axes.flat, panels, strict=False):
        here = [row for row in timed if (row["dtype"], row["width"], row["experts"]) == (dtype, width, experts)]
        _draw_shares(ax, here)
        ax.set_title(f"{dtype}, d {width}, {experts} experts", loc="left", fontsize=7)
    axes[0, 0].set_ylim(bottom=0)
    axes[0, 0].set_xlim(layer.TOKENS[0] / 2, layer.TOKENS[-1] * 2)
    figure.supxlabel("tokens of a pass", fontsize=8)
    figure.supylabel("share of the peak", fontsize=8)
    present = {row["candidate"] for row in timed}
    handles = [_legend(name) for name in LOOKS if name in present]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return style.save(figure, _table(timed), base)


def draw_growth(rows: list[dict], base: Path) -> None:
    """Time above, peak memory below, against the size of every sweep; dotted: proportional to the size."""
    sweeps = [name for name in growth.SWEEPS if any(row["sweep"] == name for row in rows)]
    if not sweeps:
        return style.save_empty("no sweep was measured", COLUMNS, base)
    figure, axes = style.panels(width=style.DOUBLE, height=3.4, rows=2, columns=len(sweeps), sharex="col", sharey="row")
    for column, name in enumerate(sweeps):
        here = [row for row in rows if row["sweep"] == name]
        _draw_growth(axes[0, column], here, "seconds", 1e3)
        _draw_growth(axes[1, column], [row for row in here if row["bytes"]], "bytes", 2**-20)
        axes[0, column].set_title(growth.SWEEPS[name].title, loc="left")
        axes[1, column].set_xlabel(growth.SWEEPS[name].title)
    axes[0, 0].set_ylabel("time of a pass, ms")
    axes[1, 0].set_ylabel("peak memory, MiB")
    return style.save(figure, _table(rows), base)


def write(draw: Callable[[list[dict], Path], None], rows: list[dict], name: str, drafts: Path, images: Path) -> None:
    """Draw into `drafts` (PNG, PDF and the numbers) and publish the PNG."""
    drafts.mkdir(parents=True, exist_ok=True)
    images.mkdir(parents=True, exist_ok=True)
    with style.styled():
        draw(rows, drafts / name)
    shutil.copyfile(drafts / f"{name}.png", images / f"{name}.png")


def _draw_shares(ax: Axes, rows: list[dict]) -> None:
    for name, look in LOOKS.items():
        points = sorted((row["tokens"], row["peak_share"]) for row in rows if row["candidate"] == name)
        if points:
            ax.plot(*zip(*points, strict=True), color=look.colour, marker=look.marker, linestyle=look.line)
    ax.set_xscale("log", base=2)
    ax.set_xticks(layer.TOKENS)
    ax.xaxis.set_major_formatter(FuncFormatter(_short))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))


def _draw_growth(ax: Axes, rows: list[dict], column: str, unit: float) -> None:
    if not rows:
        return style.say(ax, "not known here")
    sizes, values = [row["size"] for row in rows], [unit * row[column] for row in rows]
    if column == "seconds":
        ax.fill_between(sizes, [unit * r["low"] for r in rows], [unit * r["high"] for r in rows], color="#cfe8df")
    ax.plot(sizes, values, color=style.GREEN, marker="D")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.autoscale(False)
    ax.plot(sizes, [values[0] * size / sizes[0] for size in sizes], color=style.GREY, linestyle=":", linewidth=1)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.set_xticks(sizes[:: -(-len(sizes) // 3)])
    ax.xaxis.set_major_formatter(FuncFormatter(_short))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.text(0.04, 0.94, f"exponent {growth.exponent(rows, column):.2f}", transform=ax.transAxes, va="top", fontsize=7)
    return None


def _short(size: float, _: object) -> str:
    return f"{size / 1024:.0f}k" if size >= 1024 else f"{size:.0f}"


def _panel_order(panel: tuple[str, int, int]) -> tuple[int, int, int]:
    dtype, width, experts = panel
    return list(layer.DTYPES).index(dtype), experts, width


def _legend(name: str) -> Line2D:
    look = LOOKS[name]
    return Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.line, label=name)


def _table(rows: list[dict]) -> pl.DataFrame:
    columns = [name for name in (*COLUMNS, "peak_share", "bytes") if any(row.get(name) is not None for row in rows)]
    return pl.DataFrame([{name: row.get(name) for name in columns} for row in rows])
